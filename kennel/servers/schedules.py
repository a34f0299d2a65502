"""The schedules of retrainings and of looks for drift on Prefect's server: for each endpoint a deployment of the flow.

A deployment runs one retraining at a time, and one that is due meanwhile is cancelled. Prefect has no setting against
catching up: at least three runs are made ahead, and a worker that slept starts those that are late one after the other.
All but the first find nothing to do. A run whose process was killed is settled by the server (`reaper`). The flow is
named by its module, so a worker may be started in any folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from kennel.servers import reaper, work_pool

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

FLOW = "retrain"
DRIFT = "drift"
ENTRYPOINTS = {FLOW: "flows.retrain.retrain", DRIFT: "flows.drift.drift"}
DESCRIPTIONS = {
    FLOW: "Trains the model of run {} anew when there is a reason, and promotes a better one.",
    DRIFT: "Looks whether the photos that the endpoint of run {} is asked about, or its answers, have changed.",
}
SHOWN = 3
TAG = "kennel"


@dataclass(frozen=True)
class Schedule:
    """An endpoint's schedule of a flow: a cron expression in a time zone, and the next times, UTC in ISO 8601.

    `parameters` are those of the flow. `latest` is the state of the latest run and its time, "" without one.
    """

    run_id: str
    cron: str
    timezone: str
    is_paused: bool
    parameters: Mapping[str, Any]
    next_times: tuple[str, ...]
    latest: str
    flow: str = FLOW


def put(run_id: str, cron: str, timezone: str, parameters: Mapping[str, Any], *, flow_name: str = FLOW) -> Schedule:
    """Make the schedule of a flow for a run's endpoint, or change it; one that was paused goes on.

    Raises:
        pydantic.ValidationError: the cron expression or the time zone is none.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.utilities.callables import parameter_schema

    flow = resolve_name(ENTRYPOINTS[flow_name])
    schedule = DeploymentScheduleCreate(schedule=CronSchedule(cron=cron, timezone=timezone), active=True)
    with get_client(sync_client=True) as client:
        reaper.put(client)
        client.create_deployment(
            flow_id=client.create_flow(flow),
            name=run_id,
            description=DESCRIPTIONS[flow_name].format(run_id),
            entrypoint=ENTRYPOINTS[flow_name],
            work_pool_name=work_pool.NAME,
            schedules=[schedule],
            concurrency_limit=1,
            concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
            parameters={"run_id": run_id, **parameters},
            parameter_openapi_schema=parameter_schema(flow).model_dump_for_openapi(),
            enforce_parameter_schema=True,
            paused=False,
            job_variables={"env": reaper.ENVIRONMENT},
            tags=[TAG, reaper.TAG],
        )
        return _shown(client, client.read_deployment_by_name(f"{flow_name}/{run_id}"), flow_name)


def pause(run_id: str, *, is_paused: bool, flow_name: str = FLOW) -> Schedule | None:
    """Pause the schedule of a flow for a run's endpoint, or let it go on; None if it has none."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            found = client.read_deployment_by_name(f"{flow_name}/{run_id}")
        except ObjectNotFound:
            return None
        (client.pause_deployment if is_paused else client.resume_deployment)(found.id)
        return _shown(client, client.read_deployment(found.id), flow_name)


def find() -> list[Schedule]:
    """Return the schedules of all endpoints: of retrainings, then of looks for drift."""
    return [each for flow_name in ENTRYPOINTS for each in _of_flow(flow_name)]


def _of_flow(flow_name: str) -> list[Schedule]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    with get_client(sync_client=True) as client:
        deployments = client.read_deployments(flow_filter=FlowFilter(name=FlowFilterName(any_=[flow_name])))
        return [_shown(client, each, flow_name) for each in deployments if each.schedules]


def _shown(client: SyncPrefectClient, deployment: DeploymentResponse, flow_name: str) -> Schedule:
    schedule: Any = deployment.schedules[0].schedule
    times = () if deployment.paused else _next_times(schedule.cron, schedule.timezone or "UTC")
    return Schedule(
        run_id=deployment.name,
        cron=schedule.cron,
        timezone=schedule.timezone or "UTC",
        is_paused=bool(deployment.paused),
        parameters=deployment.parameters,
        next_times=times,
        latest=_latest(client, deployment),
        flow=flow_name,
    )


def _next_times(cron: str, timezone: str) -> tuple[str, ...]:
    """Return the next times as Prefect's server computes them, so that a change of the clocks is in them."""
    import asyncio

    from prefect.server.schemas.schedules import CronSchedule

    found = asyncio.run(CronSchedule(cron=cron, timezone=timezone).get_dates(SHOWN, start=datetime.now(UTC)))
    return tuple(each.astimezone(UTC).isoformat(timespec="minutes") for each in found)


def _latest(client: SyncPrefectClient, deployment: DeploymentResponse) -> str:
    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterId,
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateName,
    )
    from prefect.client.schemas.sorting import FlowRunSort

    begun = FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(not_any_=["Scheduled"])))
    runs = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
        flow_run_filter=begun,
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=1,
    )
    if not runs:
        return ""
    at = runs[0].start_time or runs[0].expected_start_time
    when = "" if at is None else f" {at.astimezone(UTC).isoformat(timespec='minutes')}"
    return f"{runs[0].state_name}{when}"
