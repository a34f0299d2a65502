"""kennel's own code against AWS whose answers are lost, or whose statuses nobody knows, in one scene after another.

`tests/kennel/commands/test_lost_answers.py` does the same with whole commands; here are the parts that `kennel run`
does not use.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.run.errors import TeardownIncomplete
from tasks.run.handle import Run
from tasks.teardown.all_kinds import KINDS
from tasks.teardown.teardown import tear_down
from tests.conftest import RunningLocalAws, running_localaws
from tests.counting_proxy import Calls, counting_proxy
from tests.lost_answers import Loss, LostAnswers
from tests.malformed_answers import MalformedAnswers
from tests.tasks.lost_answer_scenes import SCENES, account
from tests.unknown_statuses import UnknownStatuses

WAITED_FOR = {
    "serving": {"sagemaker.DescribeEndpoint EndpointStatus"},
    "function": {
        "lambda.GetFunction State",
        "lambda.GetFunction LastUpdateStatus",
        "lambda.GetProvisionedConcurrencyConfig ProvisionedConcurrencyStatusEnum",
    },
    "instances": {"ec2.DescribeInstances InstanceStateName"},
    "notebook": {"sagemaker.DescribeNotebookInstance NotebookInstanceStatus"},
}
"""The statuses that each scene waits for, so that a reply without any is noticed."""


@pytest.fixture(scope="module")
def server() -> Iterator[RunningLocalAws]:
    """A server of this module's own, because each scene ends with a teardown of everything."""
    with running_localaws("--time-scale", "20") as running:
        yield running


def play(scene: str, run_id: str, calls: Calls, folder: Path) -> list[str]:
    """Play a scene and remove everything; return what is left, and each row of the ledger that is not settled."""
    aws = account(calls.url, folder)
    run = Run(aws, run_id)
    SCENES[scene](run)
    unsettled = [f"{row.kind} {row.name} is {row.state}" for row in run.ledger.live() if row.state == "uncertain"]
    try:
        tear_down(aws, None, yes=True, say=lambda _: None)
    except TeardownIncomplete:  # it says that a thing of unknown status is still there; the same again finishes
        tear_down(aws, None, yes=True, say=lambda _: None)
    left = [f"{item.kind} {item.name} is left" for kind in KINDS.values() for item in kind.find_tagged(aws)]
    return unsettled + left


@pytest.mark.parametrize("loss", ["once", "exhausted"])
@pytest.mark.parametrize("scene", ["serving", "function", "instances", "notebook", "registry"])
def test_a_lost_answer_to_every_changing_operation_changes_nothing(
    server: RunningLocalAws, tmp_path: Path, scene: str, loss: Loss
) -> None:
    answers = LostAnswers(loss=loss)
    with counting_proxy(server.url, answers):
        assert play(scene, f"{scene}-{loss}", answers, tmp_path) == []
    assert answers.recorded and set(answers.lost) == answers.recorded


@pytest.mark.parametrize("scene", WAITED_FOR)
def test_a_status_that_nobody_knows_is_not_ready_yet(server: RunningLocalAws, tmp_path: Path, scene: str) -> None:
    replies = UnknownStatuses()
    with counting_proxy(server.url, replies):
        assert play(scene, f"{scene}-unknown", replies, tmp_path) == []
    assert replies.fed >= WAITED_FOR[scene]


@pytest.mark.parametrize("scene", ["storage", "serving", "function", "instances", "notebook", "registry"])
def test_an_answer_that_cannot_be_used_is_asked_for_again(server: RunningLocalAws, tmp_path: Path, scene: str) -> None:
    answers = MalformedAnswers()
    with counting_proxy(server.url, answers):
        assert play(scene, f"{scene}-malformed", answers, tmp_path) == []
    assert answers.recorded and answers.spoilt == answers.recorded
