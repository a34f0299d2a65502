"""The commands that mend findings, held against the parser of the aws CLI: it takes them whatever the names are."""

import shlex
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import pytest
from awscli.clidriver import create_clidriver

from tasks.audit.account import Credentials, FunctionPolicy, Policy, Profile
from tasks.audit.findings import Finding
from tasks.run.command_line import aws_command, path_argument
from tests.tasks.audit.accounts import arn, days_ago, found, identity, role
from tests.tasks.audit.planted import OWN, allow, document, service, trust

NAMES = ("-r", "--role-name", "-", "-r=x,y@z+.", "plain")
FUNCTION = f"arn:aws:lambda:us-east-1:{OWN}:function:-f"


def findings(name: str) -> Iterator[Finding]:
    """Yield findings of every kind that has commands, about things of this name."""
    everything = allow("*", Sid="s")
    managed = Policy(name, arn("policy", name), document(everything))
    admin = role(name, policies=(managed, Policy(name, None, document(everything))), trusts=(service("ecs-tasks"),))
    yield from found(admin)
    profiles = (Profile(name, arn("instance-profile", name), (name,)),)
    yield from found(role(name, trusts=(service("ec2"),), age=400, profiles=(name,)), profiles=profiles)
    yield from found(role(name, trusts=(trust("*"),)))
    owner = identity("user", name, allow(["s3:GetObject", "sqs:SendMessage"]), age=400)
    yield from found(owner, last_accessed={owner.arn: {"s3": days_ago(1), "sqs": None}})
    keys = {"AKIA0000000000000001": days_ago(100), "AKIA0000000000000002": days_ago(2)}
    yield from found(credentials=(Credentials(name, arn("user", name), True, False, keys),))
    for principal in ("*", {"Service": "s3.amazonaws.com"}):
        policy = document({**allow("lambda:InvokeFunction", FUNCTION, Sid="s"), "Principal": principal})
        yield from found(functions=(FunctionPolicy(name, FUNCTION, name, policy, "us-east-1"),))


def refusal(command: str) -> str:
    """Return what the parser of the aws CLI says against a command, "" if it takes it; nothing is sent."""
    said = StringIO()
    with redirect_stdout(StringIO()), redirect_stderr(said):
        try:
            code = create_clidriver().main([*shlex.split(command)[1:], "--generate-cli-skeleton", "output"])
        except SystemExit as ended:
            code = ended.code
    return said.getvalue() or f"exit code {code}" if code else ""


@pytest.mark.parametrize("name", NAMES)
def test_the_aws_cli_takes_every_command_whatever_the_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    commands = {command for each in findings(name) for command in each.commands}
    assert len({command.split()[2] for command in commands}) >= 10, "a kind of command is not tried"
    assert [(command, why) for command in commands if (why := refusal(command))] == []


def test_a_name_that_begins_with_a_hyphen_would_be_refused_behind_a_blank() -> None:
    assert refusal("aws iam delete-role --role-name -r")


def test_a_list_is_one_argument_and_a_path_is_never_an_option() -> None:
    command = f"aws {aws_command('ec2 create-vpc-endpoint', vpc_id='vpc-1', route_table_ids=['rtb-1', '-2'])}"
    assert shlex.split(command)[-1] == '--route-table-ids=["rtb-1", "-2"]'
    assert [path_argument(path) for path in ("-rf", "/a b", "runs/x")] == ["./-rf", "'/a b'", "runs/x"]
