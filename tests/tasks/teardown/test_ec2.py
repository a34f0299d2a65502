"""A teardown removes all that a run has on EC2, also after kill -9 at any ledger step and while EC2 refuses."""

import os
import signal
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.ec2.access import Access, find_group
from tasks.ec2.launch import launch
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import TeardownIncomplete
from tasks.run.handle import Run
from tasks.run.ledger_contents import read_ledger
from tasks.run.ledger_file import append
from tasks.run.records import InstanceRef
from tasks.teardown.all_kinds import KINDS
from tasks.teardown.teardown import plan_teardown, tear_down
from tests.conftest import ROOT, RunningLocalAws
from tests.counting_proxy import Calls, Fault, ec2_error
from tests.tasks.ec2.instances import account, default_access, living, planned

EC2_KINDS = ("instance", "security-group", "key-pair", "instance-profile", "role")


@pytest.fixture(scope="module")
def aws(counted: Calls, tmp_path_factory: pytest.TempPathFactory) -> Aws:
    """Clients for all tests of this module: run ids keep them apart."""
    return account(counted.url, tmp_path_factory.mktemp("teardown"))


def left(aws: Aws, run_id: str) -> list[tuple[str, str]]:
    """Return what of a run's EC2 side carries its tags."""
    found = [item for kind in EC2_KINDS for item in KINDS[kind].find_tagged(aws)]
    return sorted(item.key for item in found if item.tags.get(naming.RUN_TAG) == run_id)


def remove(aws: Aws, run_id: str) -> list[str]:
    lines: list[str] = []
    tear_down(aws, run_id, yes=True, say=lines.append)
    return lines


def make(aws: Aws, run_id: str) -> InstanceRef:
    run = Run(aws, run_id)
    return launch(run, planned(run))


def test_a_run_leaves_no_instance_group_key_profile_or_role(aws: Aws) -> None:
    ref = make(aws, "gone-1")
    assert [kind for kind, _ in left(aws, "gone-1")] == sorted(EC2_KINDS)
    lines = remove(aws, "gone-1")
    assert left(aws, "gone-1") == []
    gone = [line.split()[1] for line in lines if line.startswith("  gone")]
    assert gone == list(EC2_KINDS)
    assert {row.state for row in read_ledger(aws.settings.run_dir("gone-1"))[1]} == {"removed"}
    assert remove(aws, "gone-1") == ["  nothing to remove"]
    assert not Path(ref.login_key).exists()


def test_private_keys_go_and_the_record_of_the_instance_stays(aws: Aws) -> None:
    make(aws, "gone-2")
    remove(aws, "gone-2")
    assert [path.name for path in (aws.settings.run_dir("gone-2") / "ec2").iterdir()] == ["instance-1.json"]


def test_private_keys_go_too_when_the_key_pair_is_gone_already(aws: Aws) -> None:
    ref = make(aws, "gone-3")
    aws.client("ec2").delete_key_pair(KeyName="kennel-gone-3-login")
    remove(aws, "gone-3")
    assert left(aws, "gone-3") == [] and not Path(ref.login_key).exists()


def test_without_a_ledger_the_tags_are_enough_and_another_run_stays(aws: Aws) -> None:
    make(aws, "gone-4")
    other = make(aws, "gone-4b")
    (aws.settings.run_dir("gone-4") / "ledger.jsonl").unlink()
    remove(aws, "gone-4")
    assert left(aws, "gone-4") == []
    assert [item["InstanceId"] for item in living(aws, "gone-4b")] == [other.instance_id]
    assert Path(other.login_key).exists()
    remove(aws, "gone-4b")


def test_a_terminated_instance_counts_as_gone(aws: Aws) -> None:
    ref = make(aws, "gone-5")
    aws.client("ec2").terminate_instances(InstanceIds=[ref.instance_id])
    KINDS["instance"].remove(aws, next(row.name for row in Run(aws, "gone-5").ledger.rows() if row.kind == "instance"))
    plan, _ = plan_teardown(aws, "gone-5")
    assert "instance" not in {item.kind for item in plan.removals}
    assert "instance" in {claim.kind for claim in plan.gone}
    remove(aws, "gone-5")
    assert left(aws, "gone-5") == []


def test_a_group_that_is_still_in_use_is_tried_until_it_is_gone(aws: Aws, calls: Calls) -> None:
    make(aws, "gone-6")
    held = ec2_error("DependencyViolation", "resource sg has a dependent object")
    calls.faults.append(Fault("DeleteSecurityGroup", instead=held, times=3))
    remove(aws, "gone-6")
    assert calls.seen.count("DeleteSecurityGroup") == 4
    assert left(aws, "gone-6") == []


def test_an_instance_that_will_not_end_keeps_what_it_needs_and_nobody_waits_for_its_group(
    aws: Aws, calls: Calls
) -> None:
    ref = make(aws, "gone-7")
    protected = ec2_error("OperationNotPermitted", "Modify its 'disableApiTermination' attribute and try again.")
    calls.faults.append(Fault("TerminateInstances", instead=protected))
    with pytest.raises(TeardownIncomplete, match="instance kennel-gone-7-ec2-1"):
        remove(aws, "gone-7")
    assert "DeleteSecurityGroup" not in calls.seen
    assert [kind for kind, _ in left(aws, "gone-7")] == sorted(EC2_KINDS)
    assert Path(ref.login_key).exists()
    remove(aws, "gone-7")
    assert left(aws, "gone-7") == []


def test_what_carries_our_names_and_not_our_tags_is_never_touched(aws: Aws, localaws: RunningLocalAws) -> None:
    make(aws, "gone-8")
    (ours,) = living(aws, "gone-8")
    name = next(tag["Value"] for tag in ours["Tags"] if tag["Key"] == "Name")
    ec2 = localaws.client("ec2")
    theirs = ec2.run_instances(
        ImageId=ours["ImageId"],
        InstanceType="c5.xlarge",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": name}]}],
    )["Instances"][0]["InstanceId"]
    vpc = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    group = ec2.create_security_group(GroupName="kennel-gone-8-ssh", Description="theirs", VpcId=vpc)["GroupId"]
    remove(aws, "gone-8")
    found = ec2.describe_instances(InstanceIds=[theirs])["Reservations"][0]["Instances"][0]
    assert found["State"]["Name"] in {"pending", "running"}
    assert find_group(aws, "kennel-gone-8-ssh") is not None
    assert left(aws, "gone-8") == []
    ec2.terminate_instances(InstanceIds=[theirs])
    ec2.delete_security_group(GroupId=group)


def test_a_group_of_which_the_answer_was_lost_for_good_is_found_by_its_tags(aws: Aws, calls: Calls) -> None:
    run = Run(aws, "gone-9")
    calls.faults.append(Fault("CreateSecurityGroup", instead=ec2_error("InternalError", "x", 500), times=1))
    access: Access = default_access(run)  # botocore asks again
    assert access.group_id
    run.ledger.path.unlink()
    remove(aws, "gone-9")
    assert left(aws, "gone-9") == []


# --- kill -9 ----------------------------------------------------------------------------------------------------------

KILLING = """
import os, sys; from pathlib import Path
from instances import account, planned
from tasks.ec2.launch import launch; from tasks.run.handle import Run; from tasks.teardown.teardown import tear_down
url, folder, *runs = sys.argv[1:]
aws = account(url, Path(folder))
for service in ("ec2", "iam", "ssm", "s3", "logs", "lambda", "sagemaker", "application-autoscaling"):
    aws.client(service)  # made once for all children, without a connection yet
for name, moment in (each.split("=") for each in runs):
    child = os.fork()
    if child == 0:
        os.environ["KENNEL_CRASH_AT"] = moment
        if moment.startswith("remove"):
            tear_down(aws, name, yes=True, say=lambda _: None)
        run = Run(aws, name)
        launch(run, planned(run, spot=True))
        os._exit(0)
    print(os.WTERMSIG(os.waitpid(child, 0)[1]))
"""
MOMENTS = [f"{kind}:{when}" for kind in (*EC2_KINDS[1:], "instance") for when in ("before", "after")]
LAUNCHES = {f"kill-{number}": moment for number, moment in enumerate(MOMENTS)}
AGAIN = {"again-1": "security-group:after", "again-2": "instance:before", "again-3": "instance:after"}
REMOVALS = {
    "down-1": "remove-instance:before",
    "down-2": "remove-security-group:after",
    "down-3": "remove-key-pair:after",
}


@pytest.fixture(scope="module")
def killed(aws: Aws) -> None:
    """Launch, or tear down, each of the runs in a process of its own that is killed at its moment."""
    for run_id in REMOVALS:
        make(aws, run_id)
    runs = [f"{run_id}={moment}" for run_id, moment in (LAUNCHES | AGAIN | REMOVALS).items()]
    command = [sys.executable, "-c", KILLING, aws.endpoint, str(aws.settings.runs.parent), *runs]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests' / 'tasks' / 'ec2'}:{ROOT}"}
    ended = subprocess.run(command, env=environment, cwd=ROOT, check=True, timeout=120, capture_output=True, text=True)
    assert ended.stdout.split() == [str(signal.SIGKILL.value)] * len(runs), ended.stderr


@pytest.mark.parametrize("run_id", LAUNCHES)
def test_a_launch_that_was_killed_leaves_nothing_after_a_teardown(aws: Aws, killed: None, run_id: str) -> None:
    remove(aws, run_id)
    assert left(aws, run_id) == [] and living(aws, run_id) == []
    assert list((aws.settings.run_dir(run_id) / "ec2").glob("*_key*")) == []


@pytest.mark.parametrize("run_id", AGAIN)
def test_a_launch_that_was_killed_goes_on_with_what_it_made(aws: Aws, killed: None, run_id: str) -> None:
    run = Run(aws, run_id)
    launch(run, planned(run, spot=True))
    assert [kind for kind, _ in left(aws, run_id)] == sorted(EC2_KINDS)
    assert {row.state for row in run.ledger.rows()} == {"created"}
    remove(aws, run_id)


@pytest.mark.parametrize("run_id", REMOVALS)
def test_a_teardown_that_was_killed_is_finished_by_the_next(aws: Aws, killed: None, run_id: str) -> None:
    remove(aws, run_id)
    assert left(aws, run_id) == []
    assert list((aws.settings.run_dir(run_id) / "ec2").glob("*_key*")) == []


def test_an_instance_that_ec2_may_not_show_yet_stays_in_the_ledger(aws: Aws) -> None:
    run = Run(aws, "gone-10")
    run.ledger.record("instance", "kennel-gone-10-ec2-1-1-00000000", "intended")
    lines = remove(aws, "gone-10")
    assert "  unsure instance kennel-gone-10-ec2-1-1-00000000: EC2 may not show it yet;" in lines[-1]
    assert [row.state for row in run.ledger.rows()] == ["intended"]
    old = (datetime.now(UTC) - timedelta(minutes=2)).isoformat()
    append(run.ledger.path, {**asdict(run.ledger.rows()[0]), "at": old})
    remove(aws, "gone-10")
    assert [row.state for row in run.ledger.rows()] == ["removed"]
