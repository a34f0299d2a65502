"""Changes what an endpoint serves under the watch of alarms, and says which of them rang."""

from __future__ import annotations

from dataclasses import replace

from tasks.promotion.guards import (
    Guard,
    Limits,
    ensure_guards,
    guards_of,
    remove_guards,
    ringing,
    wait_until_calm,
)
from tasks.promotion.probes import probing
from tasks.promotion.promote import Promotion, release, releases_of
from tasks.promotion.rollout import Rollout, rollout_of
from tasks.run.errors import SettingsRefused, StageFailed
from tasks.run.handle import Run
from tasks.run.options import PromotionOptions
from tasks.run.waiting import say
from tasks.serving.releases import Release


def promote_watched(run: Run, wanted: Release, options: PromotionOptions) -> Promotion:
    """Put a release onto the run's endpoint: one instance first where there are several, each step watched by alarms.

    Photos of the test split are sent meanwhile, so that the alarms have something to judge when nobody else asks.

    Raises:
        StageFailed: an alarm rang, or the release failed; AWS took it back, and the former one serves.
        WaitTimedOut: the alarms had no data, or rang before the change; or AWS did not finish in time.
        OwnershipRefused: an alarm of that name is not the run's.
        AwsFailed: AWS refused.
    """
    bake_seconds = round(60 * options.bake_minutes)
    limits = Limits(options.most_errors, options.slower)
    with probing(run):
        try:
            guards = guards_of(run, limits)
            ensure_guards(run, guards)
            wait_until_calm(run, guards)
            steps = rollout_of(run, bake_seconds, [guard.name for guard in guards])
            return _released(run, wanted, steps, guards)
        finally:
            remove_guards(run)


def _released(run: Run, wanted: Release, steps: Rollout, guards: tuple[Guard, ...]) -> Promotion:
    try:
        return release(run, wanted, steps)
    except StageFailed as error:
        rung = ringing(run, guards)
        say(f"promote: taken back: {rung or error.why}")
        raise


def roll_back(run: Run, why: str) -> Promotion:
    """Go back to the release before the present one, on all instances at once.

    Raises:
        SettingsRefused: the endpoint has served no other release.
        StageFailed: the former release failed to start; the present one serves.
        WaitTimedOut, AwsFailed: as `release`.
    """
    former = releases_of(run).before
    if former is None:
        none = "the endpoint has served no other model"
        raise SettingsRefused("rollback", f"run {run.id}", none, f"kennel models {run.id}, which lists the versions")
    return release(run, replace(former, why=why), rollout_of(run, 0, ()), is_rollback=True)
