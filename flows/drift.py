"""Looks whether the photos that an endpoint is asked about, or its answers, have changed; deletes kept photos in time.

prefect deployment run 'drift/drift' -p run_id=dogs-1a2b3c4d -p hours=24
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.harmless import harmless_errors
from flows.reported import reported
from flows.run_name import named, named_run
from flows.step import step
from tasks.account.objects import bucket_and_key
from tasks.drift.captured import delete_captured
from tasks.drift.look import capturing_endpoint, look_for_drift
from tasks.drift.report import DriftReport, drift_markdown
from tasks.run.artifacts import publish_markdown
from tasks.run.handle import Run
from tasks.run.naming import RunId
from tasks.teardown.rebuild import working_on

STAGE = "drift"
Hours = Annotated[int, Field(ge=1, le=8784)]
Level = Annotated[float, Field(gt=0, lt=0.5)]

look = step("look for drift")(look_for_drift)


@step("delete old photos")
def delete_old(run: Run, now: datetime) -> int:
    """Delete what the run's endpoint kept longer than it was to be kept, and return the number of objects.

    Raises:
        SettingsRefused: the endpoint keeps nothing.
        AwsFailed: S3 refused, or did not answer.
    """
    endpoint = capturing_endpoint(run)
    before = now - timedelta(days=endpoint.capture_days)
    return delete_captured(run.aws, bucket_and_key(endpoint.model_uri)[0], run.id, before=before)


@flow(name=STAGE, flow_run_name=named(STAGE, named_run))
@harmless_errors
async def drift(run_id: RunId, hours: Hours = 24, level: Level = 0.05) -> DriftReport:
    """Compare the photos and answers of the last hours with the test split, and delete what was kept long enough.

    Args:
        run_id: The run whose endpoint keeps requests, because it was deployed with `capture`.
        hours: How far back to look.
        level: The chance of finding a change where there is none, over all tests together.

    Raises:
        SettingsRefused: the endpoint keeps no requests, or the run lacks what they are compared with.
        StageFailed: too few distinct photos were kept, or model or predictions are damaged.
        WaitTimedOut: the photos were not embedded in time.
        AwsFailed: S3 refused, or did not answer.
    """
    run = Run.load(run_id)
    with working_on(run, STAGE), reported(run):
        now = datetime.now(UTC)
        deleted = await delete_old(run, now)
        report = replace(await look(run, until=now, hours=hours, level=level), deleted=deleted)
        run.keep(report)
        await publish_markdown(STAGE, run_id, drift_markdown(report))
    return report
