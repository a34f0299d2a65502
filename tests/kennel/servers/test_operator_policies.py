"""A server that another release of kennel started: its operator gets what this release needs, and that is said."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from tasks.run.sealed import unseal
from tests.kennel.shell import Terminal, exported, prefer_own_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

STAGE, AUDIT = "kennel-stage", "kennel-audit"
OLD = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sts:GetCallerIdentity", "Resource": "*"}],
}


def arn(name: str) -> str:
    return f"arn:aws:iam::123456789012:policy/{name}"


def root(home: Path, url: str) -> Any:
    record = unseal((home / "localaws" / "server.json").read_bytes())
    keys = {f"aws_{name}": record[name] for name in ("access_key_id", "secret_access_key")}
    return boto3.client("iam", endpoint_url=url, region_name="us-east-1", **keys)


def test_an_operator_of_another_release_gets_the_policies_of_this_one(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs")
    prefer_own_port(terminal.home)
    try:
        iam = root(terminal.home, exported(terminal.kennel("up").out)["AWS_ENDPOINT_URL"])
        file = terminal.home / "localaws" / "operator.json"
        current = json.loads(file.read_text())
        iam.create_policy_version(PolicyArn=arn(STAGE), PolicyDocument=json.dumps(OLD), SetAsDefault=True)
        iam.detach_user_policy(UserName="operator", PolicyArn=arn(AUDIT))
        iam.delete_policy(PolicyArn=arn(AUDIT))
        file.write_text(json.dumps({name: each for name, each in {**current, STAGE: OLD}.items() if name != AUDIT}))

        done = terminal.kennel("up")

        assert done.code == 0 and "had the policies of another release of kennel" in done.err, done.err
        version = iam.get_policy(PolicyArn=arn(STAGE))["Policy"]["DefaultVersionId"]
        found = iam.get_policy_version(PolicyArn=arn(STAGE), VersionId=version)["PolicyVersion"]["Document"]
        attached = iam.list_attached_user_policies(UserName="operator")["AttachedPolicies"]
        assert found == current[STAGE]
        assert {each["PolicyName"] for each in attached} == {name for name in current if not name.endswith("boundary")}
        assert json.loads(file.read_text()) == current
        assert "another release" not in terminal.kennel("up").err
        of_bucket(terminal)
    finally:
        terminal.take_down()


def of_bucket(terminal: Terminal) -> None:
    """A command with another bucket says so, and blames no release."""
    said = "the operator of the embedded AWS had the policies for "
    for bucket, text in (
        ("mine-1", f"{said}no bucket of yours (KENNEL_BUCKET is mine-1)"),
        ("mine-2", f"{said}bucket mine-1 (KENNEL_BUCKET is mine-2)"),
        ("", f"{said}bucket mine-2 (KENNEL_BUCKET is not set)"),
    ):
        done = terminal.kennel("up", more={"KENNEL_BUCKET": bucket})
        assert done.code == 0 and text in " ".join(done.err.split()), done.err
        assert "another release" not in done.err
