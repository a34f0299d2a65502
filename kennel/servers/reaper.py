"""Automations on Prefect's server that set a run Crashed whose process died, so that the next one may begin.

A `kill -9` of worker and process leaves the last state, Pending or Running, and its slot is kept. The server sees it by
what does not come: heartbeats, which a thread of the flow run sends whatever its work does, or what follows on Pending.
Only runs with the tag are watched, and what gives a deployment the tag makes its runs send heartbeats.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import AutomationCore

TAG = "kennel-heartbeat"
HEARTBEAT_SECONDS = 30
"""The least that Prefect's flow runs allow; they would send one in 180 s."""

ENVIRONMENT = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS)}
SILENT, PENDING = "kennel: no heartbeat", "kennel: stuck in Pending"
_HEARTBEAT, _RUNNING = "heartbeat", "Running"
_FINAL = {"Completed", "Failed", "Cancelled", "Crashed"}
_BEGINNING = {"Pending", "Submitting", "InfrastructurePending"}
"""All are of the type Pending; a worker gives them one after the other."""


@dataclass(frozen=True)
class Limits:
    """How long a run may be silent, and how long Pending, in seconds.

    Both are shorter than what is left of the lease on the run's slot: when Prefect settles a run after that, it gives
    the slot back a second time, also if another run has it. A process renews the lease to 300 s each 225 s, so 75 s may
    be left when it is killed; the server looks every 5 s, and one heartbeat may be lost. Nobody renews it in Pending.
    """

    silent_seconds: float = 70.0
    pending_seconds: float = 240.0


def put(client: SyncPrefectClient, limits: Limits = Limits()) -> None:
    """Put both automations on the server, or change them.

    One that is as it should be is left alone, because a change forgets the runs that are being watched.
    """
    for wanted in (_silent(limits.silent_seconds), _stuck(limits.pending_seconds)):
        found = client.read_automations_by_name(wanted.name)
        for surplus in found[1:]:
            client.delete_automation(surplus.id)
        if not found:
            client.create_automation(wanted)
        elif _shown(found[0]) != _shown(wanted):
            client.update_automation(found[0].id, wanted)


def _silent(seconds: float) -> AutomationCore:
    """Return what settles a run without heartbeats; Running counts as one, as a process may die before its first."""
    why = f"no heartbeat for {seconds:.0f} s: the process was killed, or the machine slept"
    return _automation(SILENT, {_HEARTBEAT, _RUNNING}, {_HEARTBEAT} | _FINAL, seconds, why)


def _stuck(seconds: float) -> AutomationCore:
    why = f"Pending for {seconds:.0f} s: the worker or the process was killed before it began"
    left = {_HEARTBEAT, _RUNNING, "Cancelling", "Scheduled", "AwaitingRetry"} | _FINAL
    return _automation(PENDING, _BEGINNING, left, seconds, why)


def _automation(name: str, after: set[str], expected: set[str], seconds: float, why: str) -> AutomationCore:
    """Return an automation: a run in which none of the expected events follows on one of the others is Crashed."""
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    trigger = EventTrigger(
        after={f"prefect.flow-run.{each}" for each in after},
        expect={f"prefect.flow-run.{each}" for each in expected},
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        match_related=ResourceSpecification(
            {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}
        ),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(seconds=seconds),
    )
    action = ChangeFlowRunState(name=None, state=StateType.CRASHED, message=why, force=False)
    about = "Sets flow runs of kennel's schedules Crashed whose process is dead, so that the next one begins."
    return AutomationCore(name=name, description=about, trigger=trigger, actions=[action])


def _shown(automation: AutomationCore) -> dict[str, object]:
    """Return what a change would change, without the ids that the server gives."""
    trigger = automation.trigger.model_dump(mode="json", exclude={"id"})
    actions = [each.model_dump(mode="json", exclude_none=True) for each in automation.actions]
    sets = {name: sorted(trigger[name]) for name in ("after", "expect", "for_each")}
    return {"enabled": automation.enabled, "trigger": {**trigger, **sets}, "actions": actions}
