"""Tests of a run's notebook instance against localaws: its settings, adoption, refusals, and teardown."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tasks.account.prices import choose_notebook_instance
from tasks.account.roles import ensure_role
from tasks.notebook.instance import (
    ensure_notebook,
    list_notebooks,
    presigned_url,
    start_notebook,
    stop_notebook,
)
from tasks.notebook.lifecycle import lifecycle_name
from tasks.notebook.records import NotebookPlan, NotebookRef
from tasks.notebook.role import LOG_GROUP, notebook_name, notebook_role
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import AwsFailed, OwnershipRefused, SettingsRefused, WaitTimedOut
from tasks.run.handle import Run
from tasks.run.ledger_contents import read_ledger
from tasks.run.records import DatasetRef
from tasks.run.settings import Settings
from tasks.teardown.all_kinds import KINDS
from tasks.teardown.teardown import tear_down
from tests.conftest import RunningLocalAws, running_localaws
from tests.counting_proxy import Fault, counting_proxy

ARN = "arn:aws:sagemaker:us-east-1:123456789012:notebook-instance/kennel-r-notebook"
ROLE = "arn:aws:iam::123456789012:role/kennel-r-notebook"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningLocalAws]:
    """A server of this module's own, whose instances take a twentieth of a second to start or stop."""
    with running_localaws("--time-scale", "20") as running:
        yield running


@pytest.fixture(scope="module")
def url(server: RunningLocalAws) -> str:
    return server.url


@pytest.fixture
def aws(url: str, tmp_path: Path) -> Aws:
    return aws_at(url, tmp_path)


def aws_at(url: str, folder: Path) -> Aws:
    return Aws(Settings(endpoint_url=url, home=folder / "home", runs=folder / "runs", region="us-east-1"))


def create(aws: Aws, run_id: str, *, instance_type: str | None = None, idle_minutes: int = 60) -> NotebookRef:
    run = Run(aws, run_id)
    role_arn = ensure_role(run, notebook_role(aws, run_id, None))
    plan = NotebookPlan(run_id, role_arn, choose_notebook_instance("us-east-1", instance_type), idle_minutes)
    return ensure_notebook(run, plan)


def left(aws: Aws, run_id: str) -> list[tuple[str, str]]:
    """Return all resources with a run's tags."""
    found = [item for kind in KINDS.values() for item in kind.find_tagged(aws)]
    return sorted(item.key for item in found if item.tags.get(naming.RUN_TAG) == run_id)


def remove(aws: Aws, run_id: str) -> None:
    tear_down(aws, run_id, yes=True, say=lambda _: None)


# --- choice and role --------------------------------------------------------------------------------------------------


def test_the_cheapest_type_with_enough_memory_is_chosen_and_the_reason_has_the_numbers() -> None:
    choice = choose_notebook_instance("us-east-1")
    assert choice.instance_type == "ml.t3.medium"
    assert "the smallest of 4 notebook types with at least 4 GiB of memory" in choice.reason
    assert choice.usd_per_hour == 0.05
    assert choose_notebook_instance("us-east-1", memory_gib=16).instance_type == "ml.t3.xlarge"
    with pytest.raises(ValueError, match="memory_gib=17"):
        choose_notebook_instance("us-east-1", memory_gib=17)


@pytest.mark.parametrize(
    ("action", "resource", "decision"),
    [
        ("s3:GetObject", "arn:aws:s3:::kennel-123456789012-us-east-1/runs/r/output/model.tar.gz", "allowed"),
        ("s3:GetObject", "arn:aws:s3:::kennel-123456789012-us-east-1/runs/r2/output/model.tar.gz", "implicitDeny"),
        ("s3:GetObject", "arn:aws:s3:::b/datasets/d/train/shard-00000.tar", "allowed"),
        ("s3:PutObject", "arn:aws:s3:::kennel-123456789012-us-east-1/runs/r/output/model.tar.gz", "implicitDeny"),
        ("sagemaker:StopNotebookInstance", ARN, "allowed"),
        ("sagemaker:StopNotebookInstance", f"{ARN}-2", "implicitDeny"),
        ("sagemaker:StartNotebookInstance", ARN, "implicitDeny"),
        ("iam:PassRole", ROLE, "implicitDeny"),
        (
            "logs:PutLogEvents",
            f"arn:aws:logs:us-east-1:123456789012:log-group:{LOG_GROUP}:log-stream:x/a",
            "implicitDeny",
        ),
    ],
)
def test_the_role_reads_its_run_and_stops_itself_and_can_do_no_more(
    server: RunningLocalAws, aws: Aws, action: str, resource: str, decision: str
) -> None:
    dataset = DatasetRef("b", "datasets/d", "d", "dogs", ("x",), {"train": {"x": 1}}, 10, 0, "sample")
    arn = ensure_role(Run(aws, "r"), notebook_role(aws, "r", dataset))
    simulated = server.client("iam").simulate_principal_policy(
        PolicySourceArn=arn, ActionNames=[action], ResourceArns=[resource]
    )
    assert [row["EvalDecision"] for row in simulated["EvaluationResults"]] == [decision]


# --- the instance -----------------------------------------------------------------------------------------------------


def test_an_instance_has_no_root_no_old_metadata_a_lifecycle_script_and_our_tags(aws: Aws) -> None:
    made = create(aws, "made")
    found = aws.client("sagemaker").describe_notebook_instance(NotebookInstanceName="kennel-made-notebook")
    assert (made.state.status, made.state.usd_per_hour) == ("InService", 0.05)
    assert found["RootAccess"] == "Disabled"
    assert found["InstanceMetadataServiceConfiguration"] == {"MinimumInstanceMetadataServiceVersion": "2"}
    assert found["DirectInternetAccess"] == "Enabled"
    assert found["NotebookInstanceLifecycleConfigName"] == lifecycle_name("made")
    assert ("notebook-lifecycle", lifecycle_name("made")) in left(aws, "made")
    rows = [(row.kind, row.state) for row in read_ledger(aws.settings.run_dir("made"))[1]]
    assert rows == [("role", "created"), ("notebook-lifecycle", "created"), ("notebook-instance", "created")]
    remove(aws, "made")


def test_the_same_again_adopts_and_changes_nothing(url: str, tmp_path: Path) -> None:
    with counting_proxy(url) as calls:
        aws = aws_at(calls.url, tmp_path)
        first = create(aws, "again")
        calls.seen.clear()
        again = create(aws, "again")
        assert calls.seen != []
        assert calls.mutating() == []
        assert again.state == first.state
        remove(aws, "again")


def test_one_that_is_stopped_is_adopted_as_it_is_and_started_when_asked(aws: Aws) -> None:
    create(aws, "stopped")
    assert stop_notebook(aws, "stopped").status == "Stopped"
    assert stop_notebook(aws, "stopped").status == "Stopped"
    assert create(aws, "stopped").state.status == "Stopped"
    assert start_notebook(aws, "stopped").status == "InService"
    assert start_notebook(aws, "stopped").status == "InService"
    remove(aws, "stopped")


def test_another_type_is_refused_while_it_runs_and_given_when_it_is_stopped(aws: Aws) -> None:
    create(aws, "typed")
    with pytest.raises(SettingsRefused, match=r"InstanceType=ml\.t3\.medium, not ml\.t3\.large") as caught:
        create(aws, "typed", instance_type="ml.t3.large")
    assert caught.value.next_command == "kennel notebook stop typed, then the same command again"
    stop_notebook(aws, "typed")
    changed = create(aws, "typed", instance_type="ml.t3.large")
    assert (changed.state.instance_type, changed.state.status) == ("ml.t3.large", "Stopped")
    remove(aws, "typed")


def test_a_role_that_sagemaker_cannot_assume_yet_does_not_end_a_change(url: str, tmp_path: Path) -> None:
    message = f"Could not assume role {ROLE}. Please ensure that the role exists."
    refusal = json.dumps({"__type": "ValidationException", "message": message}).encode()
    with counting_proxy(url) as calls:
        aws = aws_at(calls.url, tmp_path)
        create(aws, "late-role")
        stop_notebook(aws, "late-role")
        calls.faults.append(Fault("SageMaker.UpdateNotebookInstance", instead=(400, refusal), times=1))
        changed = create(aws, "late-role", instance_type="ml.t3.large")
        assert changed.state.instance_type == "ml.t3.large"
        assert calls.seen.count("SageMaker.UpdateNotebookInstance") == 2
        remove(aws, "late-role")


def test_another_idle_time_changes_the_script_and_makes_no_second_one(aws: Aws) -> None:
    name = lifecycle_name("times")

    def script() -> Any:
        found = aws.client("sagemaker").describe_notebook_instance_lifecycle_config(
            NotebookInstanceLifecycleConfigName=name
        )
        return found["OnStart"]

    create(aws, "times")
    first = script()
    create(aws, "times", idle_minutes=90)
    assert script() != first
    assert [key for key in left(aws, "times") if key[0] == "notebook-lifecycle"] == [("notebook-lifecycle", name)]
    remove(aws, "times")


def test_an_instance_of_that_name_that_is_not_ours_is_left_alone(aws: Aws) -> None:
    sagemaker, name = aws.client("sagemaker"), notebook_name("theirs")
    arn = ensure_role(Run(aws, "theirs"), notebook_role(aws, "theirs", None))
    sagemaker.create_notebook_instance(NotebookInstanceName=name, InstanceType="ml.t3.medium", RoleArn=arn)
    for act in (lambda: create(aws, "theirs"), lambda: stop_notebook(aws, "theirs")):
        with pytest.raises(OwnershipRefused, match="does not carry the tags of run theirs"):
            act()
    remove(aws, "theirs")
    assert sagemaker.describe_notebook_instance(NotebookInstanceName=name)["NotebookInstanceStatus"] == "InService"
    assert list_notebooks(aws, "theirs") == ()


def test_a_lifecycle_configuration_of_that_name_that_is_not_ours_is_left_alone(aws: Aws) -> None:
    sagemaker, field = aws.client("sagemaker"), {"NotebookInstanceLifecycleConfigName": lifecycle_name("script")}
    sagemaker.create_notebook_instance_lifecycle_config(**field, OnStart=[{"Content": "dHJ1ZQ=="}])
    with pytest.raises(OwnershipRefused, match="does not carry the tags of run script"):
        create(aws, "script")
    assert sagemaker.describe_notebook_instance_lifecycle_config(**field)["OnStart"] == [{"Content": "dHJ1ZQ=="}]
    assert list_notebooks(aws, "script") == ()
    remove(aws, "script")


def test_the_list_has_the_runs_own_and_a_run_without_one_is_told_how_to_get_one(aws: Aws) -> None:
    create(aws, "one")
    create(aws, "two")
    assert [state.run_id for state in list_notebooks(aws)] == ["one", "two"]
    assert [state.name for state in list_notebooks(aws, "two")] == ["kennel-two-notebook"]
    with pytest.raises(SettingsRefused, match="run three has no notebook instance") as caught:
        stop_notebook(aws, "three")
    assert caught.value.next_command == "kennel notebook create three"
    remove(aws, "one")
    remove(aws, "two")


def test_localaws_refuses_the_address_of_a_jupyter_that_it_does_not_have(aws: Aws) -> None:
    create(aws, "address")
    with pytest.raises(AwsFailed, match="CreatePresignedNotebookInstanceUrl"):
        presigned_url(aws, "address")
    remove(aws, "address")


# --- teardown ---------------------------------------------------------------------------------------------------------


def test_a_running_instance_is_stopped_and_everything_of_it_removed(server: RunningLocalAws, aws: Aws) -> None:
    create(aws, "gone")
    logs = server.client("logs")
    for name in (f"{notebook_name('gone')}/jupyter.log", f"{notebook_name('gone')}-2/jupyter.log"):
        try:
            logs.create_log_group(logGroupName=LOG_GROUP)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ResourceAlreadyExistsException"
        logs.create_log_stream(logGroupName=LOG_GROUP, logStreamName=name)
    lines: list[str] = []
    tear_down(aws, "gone", yes=True, say=lines.append)
    assert left(aws, "gone") == []
    assert [line.split()[1] for line in lines if "gone   " in line] == [
        "notebook-instance",
        "notebook-lifecycle",
        "role",
    ]
    streams = logs.describe_log_streams(logGroupName=LOG_GROUP)["logStreams"]
    assert [stream["logStreamName"] for stream in streams] == [f"{notebook_name('gone')}-2/jupyter.log"]


def test_an_instance_that_is_still_starting_is_waited_for_and_removed(url: str, tmp_path: Path) -> None:
    def starting(times: int) -> Fault:  # for certain, however late the server is looked at
        operation = "SageMaker.DescribeNotebookInstance"
        return Fault(operation, change=lambda body: body.replace(b'"InService"', b'"Pending"'), times=times)

    with counting_proxy(url) as calls:
        aws = aws_at(calls.url, tmp_path)
        run = Run(aws, "pending")
        role_arn = ensure_role(run, notebook_role(aws, "pending", None))
        plan = NotebookPlan("pending", role_arn, choose_notebook_instance("us-east-1"), 60, deadline_seconds=0.0)
        calls.faults.append(starting(times=1000))
        with pytest.raises(WaitTimedOut):
            ensure_notebook(run, plan)
        assert ("notebook-instance", notebook_name("pending")) in left(aws, "pending")
        calls.faults[:] = [starting(times=2)]
        remove(aws, "pending")
        assert left(aws, "pending") == [] and calls.faults[0].times == 0


CREATING = """
import sys; from pathlib import Path
from tasks.run.aws import Aws; from tasks.run.handle import Run
from tasks.notebook.instance import ensure_notebook; from tasks.notebook.records import NotebookPlan
from tasks.notebook.role import notebook_role; from tasks.account.prices import choose_notebook_instance
from tasks.account.roles import ensure_role; from tasks.run.settings import Settings
url, runs = sys.argv[1:]
aws = Aws(Settings(endpoint_url=url, runs=Path(runs), region="us-east-1"))
run = Run(aws, "killed")
role_arn = ensure_role(run, notebook_role(aws, "killed", None))
ensure_notebook(run, NotebookPlan("killed", role_arn, choose_notebook_instance("us-east-1"), 60))
"""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("kind", ["role", "notebook-lifecycle", "notebook-instance"])
def test_killed_at_any_step_of_the_ledger_the_teardown_leaves_nothing(aws: Aws, kind: str, moment: str) -> None:
    command = [sys.executable, "-c", CREATING, aws.endpoint, str(aws.settings.runs)]
    environment = {**os.environ, "KENNEL_CRASH_AT": f"{kind}:{moment}"}
    killed = subprocess.run(command, env=environment, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    rows = {(row.kind, row.state) for row in read_ledger(aws.settings.run_dir("killed"))[1]}
    assert (kind, "intended") in rows
    assert [key for key in left(aws, "killed") if key[0] == kind] == ([] if moment == "before" else [(kind, AT[kind])])
    remove(aws, "killed")
    assert left(aws, "killed") == []


AT = {
    "role": "kennel-killed-notebook",
    "notebook-lifecycle": "kennel-killed-idle-stop",
    "notebook-instance": "kennel-killed-notebook",
}


def test_killed_after_the_instance_was_made_the_same_command_adopts_it(aws: Aws) -> None:
    command = [sys.executable, "-c", CREATING, aws.endpoint, str(aws.settings.runs)]
    killed = subprocess.run(
        command, env={**os.environ, "KENNEL_CRASH_AT": "notebook-instance:after"}, check=False, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL
    adopted = create(aws, "killed")
    assert adopted.state.status == "InService"
    assert len(list_notebooks(aws, "killed")) == 1
    remove(aws, "killed")
