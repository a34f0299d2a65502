"""What people are told of a retraining: each outcome once."""

import asyncio
from uuid import uuid4

import pytest
from prefect import flow
from prefect.client.schemas.objects import FlowRun
from prefect.states import Failed

from flows import telling
from tests.tasks.run.test_notices import webhook


@flow
def nothing() -> None:
    """Do nothing."""


def failed(run_id: str) -> None:
    """Call the hook as Prefect does when a flow run of this run has failed."""
    run = FlowRun(flow_id=uuid4(), parameters={"run_id": run_id})
    telling.tell_failure(nothing, run, Failed(message="an alarm rang"))


def test_a_promotion_that_is_taken_back_is_told_once_and_a_later_failure_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(telling, "emit_event", lambda **_: None)  # Prefect's client would start a server for it
    with webhook() as (address, received):
        monkeypatch.setenv("KENNEL_NOTIFY", f"json://{address}")
        asyncio.run(telling.tell("dogs", "taken back", "an alarm rang"))
        failed("dogs")
        assert [body["title"] for _, body in received] == ["kennel: endpoint of dogs: taken back"]
        failed("dogs")
        failed("cats")

    assert [body["title"] for _, body in received[1:]] == [
        "kennel: nothing of dogs: Failed",
        "kennel: nothing of cats: Failed",
    ]
