"""Puts a version of the registry onto a run's endpoint step by step, watched by alarms; or goes back to the one before.

prefect deployment run 'promote/promote' -p run_id=dogs-1a2b3c4d -p version=3
"""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import StringConstraints

from flows.harmless import harmless_errors
from flows.reported import reported
from flows.run_name import named, named_run
from flows.step import step
from tasks.promotion import change
from tasks.promotion import promote as promotions
from tasks.promotion.promote import Promotion
from tasks.run.artifacts import publish_record
from tasks.run.handle import Run
from tasks.run.naming import RunId
from tasks.run.options import PromotionOptions
from tasks.run.waiting import say
from tasks.teardown.rebuild import working_on

STAGE = "promote"
BY_HAND = "promoted by a person"
Version = Annotated[str, StringConstraints(min_length=1, max_length=256)]

settle_earlier = step("earlier promotion")(change.settle_earlier)
find_release = step("version")(promotions.find_release)
promote_watched = step("promotion")(change.promote_watched)
go_back = step("rollback")(change.roll_back)


@flow(name=STAGE, flow_run_name=named(STAGE, named_run))
@harmless_errors
async def promote(
    run_id: RunId, version: Version | None = None, promotion: PromotionOptions = PromotionOptions(), why: str = BY_HAND
) -> Promotion:
    """Put a version of the registry onto the run's endpoint, or go back to what it served before.

    Args:
        run_id: The run whose endpoint serves.
        version: Its number, its ARN, or the run that trained it; without one, the endpoint goes back.
        promotion: How it goes live, and what takes it back.
        why: What the registry is told as the reason.

    Raises:
        SettingsRefused: there is no such version, or nothing to go back to.
        StageFailed: an alarm rang, or the version failed; the former one serves.
        WaitTimedOut: AWS did not finish in time.
        AwsFailed: AWS refused.
    """
    run = Run.load(run_id)
    with working_on(run, STAGE), reported(run):
        await settle_earlier(run)
        if version is None:
            done = await go_back(run, why)
        else:
            wanted = await find_release(run, version, why)
            if promotions.releases_of(run).serving.package == wanted.package:
                say(f"promote: {wanted.label} serves already")
                return run.need(Promotion)
            done = await promote_watched(run, wanted, promotion)
        await publish_record(STAGE, run_id, done)
    return done
