"""Looks whether the photos that an endpoint is asked about, or its answers, have changed; deletes kept photos in time.

prefect deployment run 'drift/drift' -p run_id=dogs-1a2b3c4d -p hours=24

If it finds drift, it tells people, and trains a model anew if that is asked for and the source has other photos than
before: the same data, code and options would make the same model.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.harmless import harmless_errors
from flows.reported import reported
from flows.retrain import retrain
from flows.run_name import named, named_run
from flows.step import step
from flows.telling import tell
from tasks.account.objects import bucket_and_key
from tasks.drift.captured import delete_captured
from tasks.drift.look import capturing_endpoint, look_for_drift
from tasks.drift.report import DriftReport, drift_markdown
from tasks.promotion.promote import Promotion
from tasks.retraining.record import Retraining
from tasks.run.artifacts import publish_markdown
from tasks.run.handle import Run, RunFolder
from tasks.run.naming import RunId
from tasks.run.options import BudgetUsd
from tasks.run.waiting import say
from tasks.serving.releases import promoted_release
from tasks.teardown.rebuild import working_on

STAGE = "drift"
Hours = Annotated[int, Field(ge=1, le=8784)]
Level = Annotated[float, Field(gt=0, lt=0.5)]

look = step("look for drift")(look_for_drift)


@dataclass(frozen=True)
class DriftLook:
    """What a look found, and what came of the retraining that it led to; None if it led to none."""

    report: DriftReport
    retraining: Retraining | None


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
async def drift(
    run_id: RunId,
    hours: Hours = 24,
    level: Level = 0.05,
    retrains: bool = False,
    data: str | None = None,
    promotes: bool = True,
    budget_usd: BudgetUsd | None = None,
) -> DriftLook:
    """Compare the photos and answers of the last hours with the test split, and delete what was kept long enough.

    Args:
        run_id: The run whose endpoint keeps requests, because it was deployed with `capture`.
        hours: How far back to look, at most to the endpoint's latest change of models.
        level: The chance of finding a change where there is none, over all tests together.
        retrains: Train the endpoint's model anew if there is drift.
        data: Of a retraining: a URL, an archive, a folder, s3://BUCKET/PREFIX/, or `sample`; else the run's source.
        promotes: Of a retraining: promote a model that may be; otherwise it is only registered.
        budget_usd: Of a retraining: the training does not begin if it may cost more.

    Raises:
        SettingsRefused: the endpoint keeps no requests, or the run lacks what they are compared with.
        StageFailed: too few distinct photos were kept, or model or predictions are damaged.
        WaitTimedOut: the photos were not embedded in time.
        AwsFailed: S3 refused, or did not answer.
        KennelError: the kind that flows/retrain.py names.
    """
    run = Run.load(run_id)
    with working_on(run, STAGE), reported(run):
        now = datetime.now(UTC)
        deleted = await delete_old(run, now)
        model_of, since = _served(run, now - timedelta(hours=hours))
        report = replace(await look(run, model_of, since=since, until=now, level=level), deleted=deleted)
        run.keep(report)
        await publish_markdown(STAGE, run_id, drift_markdown(report))
    say(f"drift: {' and '.join(report.changed) or 'nothing'} changed")
    if not report.changed:
        return DriftLook(report, None)
    await tell(run_id, STAGE, report.summary)
    if not retrains:
        return DriftLook(report, None)
    because = f"drift: {report.summary}"
    done = await retrain(run_id, data, promotes=promotes, budget_usd=budget_usd, because=because)
    return DriftLook(report, done)


def _served(run: Run, since: datetime) -> tuple[RunFolder, datetime]:
    """Return the run that trained what the endpoint serves, and from when on it served it: `since`, or later."""
    release, change = promoted_release(run), run.find(Promotion)
    model_of = run if release is None else RunFolder(run.settings.run_dir(release.trained_by))
    return model_of, since if change is None else max(since, datetime.fromisoformat(change.at))
