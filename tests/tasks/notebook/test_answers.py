"""What AWS may answer about a notebook instance: starts that failed, changes that meet, an address that is secret."""

from pathlib import Path
from typing import Any

import pytest

from tasks.account.prices import choose_notebook_instance
from tasks.notebook.instance import (
    ensure_notebook,
    presigned_url,
    start_notebook,
    stop_notebook,
)
from tasks.notebook.lifecycle import lifecycle_name
from tasks.notebook.records import NotebookPlan
from tasks.run import naming
from tasks.run.errors import StageFailed, WaitTimedOut
from tests.scripted import Scripted, refuses

ARN = "arn:aws:sagemaker:us-east-1:123456789012:notebook-instance/kennel-r-notebook"
ROLE = "arn:aws:iam::123456789012:role/kennel-r-notebook"


def scripted(*statuses: str, **more: Any) -> Scripted:
    """An account in which the instance of run "r" has these statuses, one a look, the last for ever."""
    left_over = list(statuses)

    def describe(**_: Any) -> dict[str, Any]:
        status = left_over.pop(0) if len(left_over) > 1 else left_over[0]
        instance = {"NotebookInstanceName": "kennel-r-notebook", "NotebookInstanceArn": ARN}
        reason = {"FailureReason": "the script ended with 1"} if status == "Failed" else {}
        return {**instance, "InstanceType": "ml.t3.medium", "NotebookInstanceStatus": status, **reason}

    lifecycle = {"NotebookInstanceLifecycleConfigName": lifecycle_name("r"), "NotebookInstanceLifecycleConfigArn": "l"}
    operations = {
        "describe_notebook_instance": describe,
        "describe_notebook_instance_lifecycle_config": lambda **_: lifecycle,
        "update_notebook_instance_lifecycle_config": lambda **_: {},
        "list_tags": lambda **_: {"Tags": naming.tag_list("r")},
        "start_notebook_instance": lambda **_: {},
        "stop_notebook_instance": lambda **_: {},
        **more,
    }
    return Scripted(sagemaker=operations)


def test_a_start_that_failed_is_told_with_awss_reason_whatever_was_waited_for() -> None:
    with pytest.raises(StageFailed, match="it is Failed") as caught:
        start_notebook(scripted("Stopped", "Stopped", "Failed").aws, "r")
    assert caught.value.why == "the script ended with 1"


def test_a_failed_instance_is_not_adopted_and_not_replaced_for_its_volume_has_somebodys_work(tmp_path: Path) -> None:
    account = scripted("Failed")
    plan = NotebookPlan("r", ROLE, choose_notebook_instance("us-east-1"), 60)
    with pytest.raises(StageFailed, match="it is Failed"):
        ensure_notebook(account.run(tmp_path), plan)
    assert {call for call in account.calls if "delete" in call or "create" in call} == set()


def test_an_instance_that_never_settles_ends_the_wait_at_its_deadline() -> None:
    with pytest.raises(WaitTimedOut, match="notebook kennel-r-notebook") as caught:
        stop_notebook(scripted("Pending").aws, "r", deadline_seconds=0.0)
    assert "it was still Pending" in caught.value.why


def test_one_that_stops_itself_at_the_same_moment_is_no_failure() -> None:
    message = "Status (Stopping) not in ([InService]). Unable to transition to (Stopping) for Notebook Instance"
    refusal = refuses("StopNotebookInstance", "ValidationException", message)
    account = scripted("InService", "InService", "Stopped", stop_notebook_instance=refusal)
    assert stop_notebook(account.aws, "r").status == "Stopped"


def test_an_address_is_a_secret() -> None:
    answer = {"AuthorizedUrl": "https://kennel-r-notebook.notebook.us-east-1.sagemaker.aws?authToken=abc"}
    account = scripted("InService", create_presigned_notebook_instance_url=lambda **_: answer)
    address = presigned_url(account.aws, "r")
    assert "authToken" not in f"{address!r} {address}"
    assert address.get_secret_value() == answer["AuthorizedUrl"]
