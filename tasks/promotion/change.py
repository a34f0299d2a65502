"""Changes what an endpoint serves under the watch of alarms, and says which of them rang."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tasks.promotion import promote
from tasks.promotion.agreement import require_agreement
from tasks.promotion.canary import settle_canary
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
from tasks.promotion.promote import Promotion, is_changing, release, releases_of
from tasks.promotion.rollout import Rollout, rollout_of
from tasks.promotion.shadow import settle_shadow
from tasks.run.errors import SettingsRefused, StageFailed
from tasks.run.handle import Run
from tasks.run.options import PromotionOptions
from tasks.run.waiting import say
from tasks.serving.releases import Release


def promote_watched(run: Run, wanted: Release, options: PromotionOptions) -> Promotion:
    """Put a release onto the run's endpoint: one instance first where there are several, each step watched by alarms.

    Before that it gets copies of the requests, and has to agree with what serves. Photos of the test split are sent
    meanwhile, so that there is something to judge when nobody else asks.

    Raises:
        StageFailed: the release disagrees, an alarm rang, or the release failed; the former one serves.
        WaitTimedOut: too few requests or no data of the alarms came, they rang before the change, or AWS took too long.
        OwnershipRefused: an alarm of that name is not the run's.
        AwsFailed: AWS refused.
    """
    bake_seconds = round(60 * options.bake_minutes)
    limits = Limits(options.most_errors, options.slower)
    with probing(run):
        if options.shadow_minutes:
            require_agreement(run, wanted, options)
        with _removed_when_over(run):
            guards = guards_of(run, limits)
            ensure_guards(run, guards)
            wait_until_calm(run, guards)
            steps = rollout_of(run, bake_seconds, [guard.name for guard in guards])
            return _released(run, wanted, steps, guards)


def _released(run: Run, wanted: Release, steps: Rollout, guards: tuple[Guard, ...]) -> Promotion:
    try:
        return release(run, wanted, steps)
    except StageFailed as error:
        rung = ringing(run, guards)
        say(f"promote: taken back: {rung or error.why}")
        raise


@contextmanager
def _removed_when_over(run: Run) -> Iterator[None]:
    """Delete the alarms at the end of the block, unless AWS still changes the endpoint: they watch it to its end."""
    try:
        yield
    finally:
        if is_changing(run):
            say("promote: the alarms stay while AWS changes the endpoint; the next command removes them")
        else:
            remove_guards(run)


def settle_earlier(run: Run) -> Promotion | None:
    """End what a command that was killed had begun: copies, a function's canary, or a promotion; None without the last.

    Raises:
        StageFailed: the endpoint failed while it was given its own configuration again.
        WaitTimedOut: the endpoint is still being changed.
        AwsFailed: AWS refused.
    """
    settle_shadow(run)
    settle_canary(run)
    settled = promote.settle_earlier(run)
    if settled is not None:
        remove_guards(run)
    return settled


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
