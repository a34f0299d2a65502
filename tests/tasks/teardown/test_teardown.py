"""A teardown against a real localaws of its own: it removes everything of ours, and nothing of anybody else's."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from urllib3.exceptions import ProtocolError

from kennel.commands.unexpected import as_kennel_error
from tasks.account import objects
from tasks.account.bucket import ensure_bucket
from tasks.account.role_policies import RoleSpec
from tasks.account.roles import ensure_role
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import (
    LedgerRefused,
    MalformedAnswer,
    OwnershipRefused,
    RunBusy,
    SettingsRefused,
    StageFailed,
    TeardownIncomplete,
    Unreachable,
    WaitTimedOut,
)
from tasks.run.handle import Run
from tasks.run.ledger_contents import read_ledger
from tasks.run.run_lock import run_lock
from tasks.run.settings import EMBEDDED_AWS, Settings
from tasks.run.waiting import Waiting
from tasks.teardown.all_kinds import KINDS
from tasks.teardown.kinds import Kind, until_gone
from tasks.teardown.plan import Plan, Removal, Resource
from tasks.teardown.teardown import confirm, execute, plan_teardown, tear_down
from tests.conftest import RunningLocalAws
from tests.counting_proxy import Fault, counting_proxy

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
        ],
    }
)
POLICY = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "*"}]}
)


@pytest.fixture
def aws(own_localaws: RunningLocalAws, tmp_path: Path) -> Aws:
    return Aws(Settings(endpoint_url=own_localaws.url, home=tmp_path / "home", runs=tmp_path / "runs"))


def make_run(aws: Aws, run_id: str = "run-1") -> None:
    """Make one of each kind that costs nothing to make, with its ledger."""
    run = Run(aws, run_id)
    bucket = ensure_bucket(run)
    prefix = f"datasets/{'a' * 64}"
    with run.ledger.create("s3-prefix", f"s3://{bucket}/{prefix}/", None):
        objects.put_object(aws, bucket, f"{prefix}/train/shard-00000.tar", b"tar", content_type="application/x-tar")
    with run.ledger.create("s3-prefix", f"s3://{bucket}/runs/{run_id}/code", None):
        objects.put_object(aws, bucket, f"runs/{run_id}/code/train.py", b"code", content_type="text/plain")
    name = naming.resource_name(run_id, "x")
    with run.ledger.create("role", name, None):
        aws.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=TRUST, Tags=naming.tag_list(run_id))
        aws.client("iam").put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=POLICY)
    with run.ledger.create("log-group", f"/aws/lambda/{name}", None):
        aws.client("logs").create_log_group(logGroupName=f"/aws/lambda/{name}", tags=naming.tags(run_id))
    make_function(run, name)


def make_function(run: Run, name: str) -> None:
    aws = run.aws
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("handler.py", "def handler(event, context): return 1")
    with run.ledger.create("function", name, None):
        aws.client("lambda").create_function(
            FunctionName=name,
            Runtime="python3.11",
            Role=f"arn:aws:iam::{aws.account_id}:role/{name}",
            Handler="handler.handler",
            Code={"ZipFile": code.getvalue()},
            Tags=naming.tags(run.id),
        )
    version = aws.client("lambda").publish_version(FunctionName=name)["Version"]
    with run.ledger.create("function-alias", f"{name}:live", None):
        aws.client("lambda").create_alias(FunctionName=name, Name="live", FunctionVersion=version)


def left(aws: Aws) -> list[tuple[str, str]]:
    """Return everything that carries kennel's tags, or lies in its bucket."""
    return sorted(item.key for kind in KINDS.values() for item in kind.find_tagged(aws))


def remove_all(aws: Aws, run_id: str | None = None) -> list[str]:
    lines: list[str] = []
    tear_down(aws, run_id, yes=True, say=lines.append)
    return lines


def test_a_run_is_removed_to_zero_and_again_is_nothing_to_do(aws: Aws) -> None:
    make_run(aws)
    lines = remove_all(aws)
    assert left(aws) == []
    assert "  gone   role kennel-run-1-x" in lines
    assert [line for line in lines if line.startswith("  gone")][-1] == "  gone   role kennel-run-1-x"
    assert {row.state for row in read_ledger(aws.settings.run_dir("run-1"))[1]} == {"removed"}
    assert remove_all(aws) == ["  nothing to remove"]


def test_without_a_ledger_the_tags_are_enough(aws: Aws) -> None:
    make_run(aws)
    shutil.rmtree(aws.settings.runs)
    remove_all(aws)
    assert left(aws) == []


def test_what_is_gone_already_does_not_matter(aws: Aws) -> None:
    make_run(aws)
    aws.client("lambda").delete_function(FunctionName="kennel-run-1-x")
    objects.delete_prefix(aws, aws.bucket, "datasets/")
    remove_all(aws)
    assert left(aws) == []


def test_one_run_leaves_what_another_run_uses(aws: Aws) -> None:
    make_run(aws, "run-1")
    make_run(aws, "run-2")
    remove_all(aws, "run-1")
    kinds = [kind for kind, _ in left(aws)]
    assert kinds == ["bucket", "function", "log-group", "role", "s3-prefix", "s3-prefix"]
    remove_all(aws, "run-2")
    assert left(aws) == []


def test_foreign_resources_with_similar_names_are_never_touched(aws: Aws) -> None:
    make_run(aws)
    iam, logs = aws.client("iam"), aws.client("logs")
    iam.create_role(RoleName="kennel-run-1-y", AssumeRolePolicyDocument=TRUST)
    logs.create_log_group(logGroupName="/aws/lambda/kennel-run-1-theirs")
    Run(aws, "run-1").ledger.record("role", "kennel-run-1-y", "uncertain")
    lines = remove_all(aws)
    assert "  keep   role kennel-run-1-y: it does not carry the tags of these runs" in lines
    assert iam.get_role(RoleName="kennel-run-1-y")
    assert logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/kennel-run-1-theirs")["logGroups"]
    iam.delete_role(RoleName="kennel-run-1-y")
    logs.delete_log_group(logGroupName="/aws/lambda/kennel-run-1-theirs")


def test_a_bucket_with_objects_of_others_is_left_and_said_to_be(aws: Aws) -> None:
    make_run(aws)
    objects.put_object(aws, aws.bucket, "holiday/1.jpg", b"mine", content_type="image/jpeg")
    with pytest.raises(TeardownIncomplete, match=f"bucket {aws.bucket} is still there"):
        remove_all(aws)
    assert objects.read_object(aws, aws.bucket, "holiday/1.jpg") == b"mine"
    assert left(aws) == [("bucket", aws.bucket)]
    objects.delete_prefix(aws, aws.bucket, "holiday/")
    remove_all(aws)
    assert left(aws) == []


def test_a_role_of_another_region_is_another_teardowns(aws: Aws) -> None:
    iam, name = aws.client("iam"), "kennel-run-1-training"
    tags = [*naming.tag_list("run-1"), {"Key": naming.REGION_TAG, "Value": "eu-west-1"}]
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST, Tags=tags)
    assert remove_all(aws) == ["  nothing to remove"]
    with pytest.raises(OwnershipRefused, match="role kennel-run-1-training") as caught:
        ensure_role(Run(aws, "run-1"), RoleSpec(name, "sagemaker.amazonaws.com", (), "test"))
    assert "run run-1 uses it in eu-west-1" in caught.value.why
    iam.delete_role(RoleName=name)


def test_a_bucket_of_another_region_is_another_teardowns(aws: Aws) -> None:
    elsewhere = aws.client("s3")
    name = f"kennel-{aws.account_id}-eu-west-1"
    elsewhere.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    elsewhere.put_bucket_tagging(Bucket=name, Tagging={"TagSet": naming.tag_list("run-1")})
    objects.put_object(aws, name, "datasets/x", b"1", content_type="text/plain")
    assert remove_all(aws) == ["  nothing to remove"]
    assert objects.read_object(aws, name, "datasets/x") == b"1"
    objects.delete_prefix(aws, name, "datasets/")
    elsewhere.delete_bucket(Bucket=name)


def test_the_role_of_an_endpoint_that_will_not_go_stays(aws: Aws) -> None:
    def refuse(*_: object) -> None:
        raise StageFailed("endpoint e", "it will not go", "a test", "none")

    def kind(name: str, remove: Callable[[Aws, str], None]) -> Kind:
        found = Resource(name, "x", naming.tags("run-1"))
        return Kind(lambda *_: found, lambda _: [found], remove)

    removed: list[str] = []
    kinds = {"endpoint": kind("endpoint", refuse), "role": kind("role", lambda _, name: removed.append(name))}
    plan = Plan((Removal("endpoint", "x", "run-1"), Removal("role", "x", "run-1")), (), ())
    with pytest.raises(TeardownIncomplete, match="endpoint x"):
        execute(aws, plan, "run-1", say=lambda _: None, kinds=kinds)
    assert removed == []


@pytest.mark.parametrize(
    "error",
    [
        KeyError("Key"),
        RecursionError("maximum recursion depth exceeded"),
        AssertionError(),
        OSError(28, "No space left on device"),
        ProtocolError("Connection broken"),
        ClientError({"Error": {"Code": "AccessDenied", "Message": "x" * 5000}}, "DeleteThing"),
        LedgerRefused("ledger", "it is damaged", "a test", "none"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_other_resources_are_removed_whatever_one_removal_raises(aws: Aws, error: Exception) -> None:
    removed: list[str] = []

    def remove(_: Aws, name: str) -> None:
        if name in broken:
            raise error
        removed.append(name)

    broken = {f"broken-{number:02d}" for number in range(12)}
    names = sorted(broken | {"a", "z"})
    found = [Resource("log-group", name, naming.tags("run-1")) for name in names]
    kinds = {"log-group": Kind(lambda _, name: None, lambda _: [each for each in found if each.name in broken], remove)}
    plan = Plan(tuple(Removal("log-group", name, "run-1") for name in names), (), ())
    said: list[str] = []
    with pytest.raises(TeardownIncomplete) as caught:
        execute(aws, plan, "run-1", say=said.append, kinds=kinds)
    assert removed == ["a", "z"] and caught.value.exit_code == 10
    assert all(f"log-group {name}: " in caught.value.what for name in broken)
    assert sum("FAILED log-group broken-" in line for line in said) == len(broken)
    assert len(caught.value.what) < 12 * 500


def test_what_could_not_be_removed_is_named_although_the_last_look_fails(aws: Aws) -> None:
    def fail(*_: object) -> None:
        raise KeyError("Key")

    def look(_: Aws) -> list[Resource]:
        raise Unreachable("teardown", "no answer", "a test", "none")

    plan = Plan((Removal("log-group", "g", "run-1"),), (), ())
    with pytest.raises(
        TeardownIncomplete, match="log-group g: KeyError: 'Key'; what else is left is not known: no answer"
    ):
        execute(aws, plan, "run-1", say=lambda _: None, kinds={"log-group": Kind(lambda *_: None, look, fail)})


def test_the_traceback_of_a_defect_in_a_teardown_is_kept(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KENNEL_HOME", str(aws.settings.home))

    def fail(*_: object) -> None:
        raise KeyError("Key")

    plan = Plan((Removal("log-group", "g", "run-1"),), (), ())
    with pytest.raises(TeardownIncomplete) as caught:
        execute(aws, plan, "run-1", say=lambda _: None, kinds={"log-group": Kind(lambda *_: None, lambda _: [], fail)})
    shown = as_kennel_error(caught.value)
    (path,) = (aws.settings.home / "logs").iterdir()
    assert str(path) in shown.why and "KeyError: 'Key'" in path.read_text() and shown.exit_code == 10


def test_a_deletion_that_s3_refuses_without_a_key_is_awss_error(own_localaws: RunningLocalAws, tmp_path: Path) -> None:
    refusal = b"<DeleteResult><Error><Code>AccessDenied</Code></Error></DeleteResult>"
    with counting_proxy(own_localaws.url) as calls:
        aws = Aws(Settings(endpoint_url=calls.url, home=tmp_path, runs=tmp_path / "runs", max_attempts=1))
        ensure_bucket(Run(aws, "run-1"))
        objects.put_object(aws, aws.bucket, "runs/run-1/x", b"x", content_type="text/plain")
        calls.faults.append(Fault(f"POST /{aws.bucket}?delete", instead=(200, refusal), times=9))
        with pytest.raises(MalformedAnswer, match="it lacks Key"):
            objects.delete_prefix(aws, aws.bucket, "runs/run-1/")


def test_a_long_removal_is_not_silent() -> None:
    said: list[str] = []
    times = iter(range(1000))
    with pytest.raises(WaitTimedOut, match="endpoint e"):
        until_gone(
            *(EMBEDDED_AWS, "endpoint e", lambda: None, lambda: True),
            waiting=Waiting(said.append, clock=lambda: float(next(times)), sleep=lambda _: None),
            timeout_seconds=60,
        )
    assert len(said) >= 6


REMOVING = """
import sys; from pathlib import Path
from tasks.run.aws import Aws; from tasks.run.settings import Settings; from tasks.teardown.teardown import tear_down
url, home = sys.argv[1:]
tear_down(Aws(Settings(endpoint_url=url, home=Path(home) / "home", runs=Path(home) / "runs")), None, yes=True)
"""


@pytest.mark.parametrize("moment", ["remove-function:after", "remove-s3-prefix:after", "remove-role:before"])
@pytest.mark.parametrize("has_ledger", [True, False])
def test_a_teardown_that_was_killed_is_finished_by_the_next(
    aws: Aws, tmp_path: Path, moment: str, has_ledger: bool
) -> None:
    make_run(aws)
    if not has_ledger:
        shutil.rmtree(aws.settings.runs)
    command = [sys.executable, "-c", REMOVING, aws.endpoint, str(tmp_path)]
    killed = subprocess.run(command, env={**os.environ, "KENNEL_CRASH_AT": moment}, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert left(aws) != []
    remove_all(aws)
    assert left(aws) == []


def test_without_yes_it_asks_and_refuses_where_there_is_no_terminal(aws: Aws) -> None:
    make_run(aws)
    plan, _ = plan_teardown(aws, None)
    with pytest.raises(SettingsRefused, match="there is no terminal to ask at, and --yes was not given"):
        confirm(plan, yes=False, is_terminal=False)
    with pytest.raises(SettingsRefused, match="the answer was not yes; nothing was removed"):
        confirm(plan, yes=False, is_terminal=True, ask=lambda _: "y")
    confirm(plan, yes=False, is_terminal=True, ask=lambda _: "yes")
    assert len(left(aws)) == 6
    remove_all(aws)


def test_a_run_that_another_process_works_on_is_not_touched(aws: Aws, tmp_path: Path) -> None:
    make_run(aws)
    with run_lock(aws.settings.run_dir("run-1")):
        command = [sys.executable, "-c", REMOVING, aws.endpoint, str(tmp_path)]
        refused = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert RunBusy.__name__ in refused.stderr
    assert len(left(aws)) == 6
    remove_all(aws)
