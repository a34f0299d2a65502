"""Tells what became of a retraining: an event that Prefect's automations may wait for, and a notice to people."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import Flow, State
from prefect.client.schemas.objects import FlowRun
from prefect.events import emit_event

from tasks.run.notices import notify
from tasks.run.settings import Settings

EVENT = "kennel.retraining"
NOTICED = frozenset({"promoted", "refused", "taken back", "failed", "drift"})
ENDS_THE_FLOW = "taken back"
"""The outcome after which the flow run fails, so that people are told twice unless its failure is left out."""

_told: set[str] = set()
"""The runs whose flow run is about to fail with an outcome that people were told."""


async def tell(run_id: str, outcome: str, why: str) -> None:
    """Emit the event `kennel.retraining.<outcome>` of a run, and notify the people that KENNEL_NOTIFY names."""
    what = outcome.replace(" ", "-")
    resource = {"prefect.resource.id": f"kennel.run.{run_id}", "prefect.resource.name": run_id}
    emit_event(event=f"{EVENT}.{what}", resource=resource, payload={"run_id": run_id, "why": why})
    if outcome == ENDS_THE_FLOW:
        _told.add(run_id)
    if outcome in NOTICED:
        await asyncio.to_thread(notify, f"kennel: endpoint of {run_id}: {outcome}", why, Settings.load())


def tell_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Notify of a flow run that failed, or whose process ended, unless people know its outcome already."""
    run_id = str(flow_run.parameters.get("run_id"))
    if run_id in _told:
        _told.discard(run_id)
        return
    notify(f"kennel: {flow.name} of {run_id}: {state.name}", state.message or "", Settings.load())
