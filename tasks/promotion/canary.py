"""Gives a new version of a function a share of the calls, and all of them if no alarm rings; else none any more.

What is begun is written down before the alias is changed. A command that was killed leaves the share as it is; the next
one takes it back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from tasks.account.lookup import none_if_missing
from tasks.promotion.canary_watch import Photos, canary_guards, canary_prefix, counted_calls, version_subject
from tasks.promotion.guards import (
    SETTLE_SECONDS,
    Guard,
    Limits,
    ensure_guards,
    not_calm,
    remove_guards,
    ringing,
    usual_p99,
)
from tasks.promotion.promote import now_text
from tasks.run.clock import AwsClock
from tasks.run.errors import KennelError, StageFailed, aws_boundary
from tasks.run.handle import Run
from tasks.run.options import DeployOptions
from tasks.run.record_store import Count, Record, Share
from tasks.run.waiting import say, wait_for
from tasks.serving.function import ALIAS, Shift, at_once, other_versions, point_alias

BEGUN, LIVE, TAKEN_BACK = "begun", "live", "taken back"
USUAL_LIMITS = Limits()
LEAST_CALLS = 30
"""Of our photos, that each version has to answer."""
BOUND = 0.999
POLL_SECONDS, LEAST_POLL_SECONDS = 10.0, 0.2
LEAST_DEADLINE_SECONDS = 60.0
"""Of this machine, because environments start in its time and not in AWS's."""
_Probe = Callable[[], tuple[bool | None, str]]


@dataclass(frozen=True)
class Canary(Record, file="canary.json", called="canary of a function", made_by="deploy"):
    """The latest new `version` of a function that got a share of the calls, beside the `former` one.

    Of our photos `sent` were answered, `touched` of them by the new version and `failed` of those badly; with this
    weight it is at most `most` with a probability of 99.9 %. `calls` and `errors` are CloudWatch's of the new version:
    everybody's calls, and those in which it raised. `outcome` is "begun" until it is "live" or "taken back".
    """

    function: str
    former: str
    version: str
    weight: Share
    sent: Count
    touched: Count
    failed: Count
    most: Count
    calls: Count
    errors: Count
    outcome: str
    why: str
    at: str

    @property
    def text(self) -> str:
        """Who was touched, in words."""
        return (
            f"version {self.version} answered {self.touched} of {self.sent} photos of ours (at a weight of "
            f"{self.weight:.0%} at most {self.most}), {self.failed} of them badly, and {self.calls} calls in all, of "
            f"which it raised in {self.errors}"
        )


def shift_by_weight(run: Run, shift: Shift, options: DeployOptions, limits: Limits = USUAL_LIMITS) -> None:
    """Move the alias to a new version: a share of the calls first, under the watch of alarms, then all.

    Raises:
        StageFailed: an alarm rang; the former version has all calls again.
        WaitTimedOut: too few calls or no data of the alarms came in time; the former version has all calls again.
        SettingsRefused: the run has no staged dataset, whose photos are sent.
        OwnershipRefused: an alarm of that name is not the run's.
        AwsFailed: AWS refused.
    """
    if not options.canary or shift.former == shift.function.version:
        with aws_boundary(f"function {shift.function.name}"):
            at_once(run, shift)
        return
    name, version = shift.function.name, shift.function.version
    watch = _Watch(run, shift, options, limits)
    say(f"function {name}: version {version} gets {options.canary:.0%} of the calls, version {shift.former} the others")
    run.keep(watch.record(BEGUN, "", is_counted=False))
    with watch.photos.sending():
        _shift(run, shift, watch, options.canary)
    ended = watch.record(LIVE, "no alarm rang")
    run.keep(ended)
    say(f"function {name}: version {version} gets all calls: {ended.text}")


def _shift(run: Run, shift: Shift, watch: _Watch, weight: float) -> None:
    """Give the new version the weight, and all calls when it was judged; whatever ends that takes it back."""
    name, version = shift.function.name, shift.function.version
    try:
        with aws_boundary(f"function {name}"):
            point_alias(run.aws, name, shift.former, others={version: weight})
            watch.until_judged()
            watch.photos.is_counting = False
            point_alias(run.aws, name, version)
    except BaseException as error:
        _take_back(run, shift, watch, error)
        raise
    finally:
        remove_guards(run, canary_prefix(run.id))


def _take_back(run: Run, shift: Shift, watch: _Watch, error: BaseException) -> None:
    name = shift.function.name
    watch.photos.is_counting = False
    with aws_boundary(f"function {name}"):
        point_alias(run.aws, name, shift.former)
    why = f"{error.what}: {error.why}" if isinstance(error, KennelError) else f"interrupted by {type(error).__name__}"
    ended = watch.record(TAKEN_BACK, why)
    run.keep(ended)
    say(f"function {name}: taken back, version {shift.former} gets all calls: {why}: {ended.text}")


class _Watch:
    """One canary's photos, alarms and clock."""

    def __init__(self, run: Run, shift: Shift, options: DeployOptions, limits: Limits) -> None:
        self._run, self._shift, self._options, self._limits = run, shift, options, limits
        self._clock = AwsClock.from_settings(run.settings)
        self._begun = self._clock.now()
        self.photos = Photos(run, shift, options.canary)

    def record(self, outcome: str, why: str, *, is_counted: bool = True) -> Canary:
        """Return what there is to tell by now; not counted, nothing is asked of CloudWatch."""
        from scipy.stats import binom

        photos, run, shift, weight = self.photos, self._run, self._shift, self._options.canary
        calls, errors = (
            counted_calls(run, shift, each, self._begun) if is_counted else 0 for each in ("Invocations", "Errors")
        )
        return Canary(
            function=shift.function.name,
            former=shift.former,
            version=shift.function.version,
            weight=weight,
            sent=photos.sent,
            touched=photos.touched,
            failed=photos.failed,
            most=int(binom.ppf(BOUND, photos.sent, weight)),
            calls=calls,
            errors=errors,
            outcome=outcome,
            why=why,
            at=now_text(),
        )

    def until_judged(self) -> None:
        """Make the alarms once there are data of both versions, and watch them for the minutes that were asked for.

        Raises:
            StageFailed: an alarm rang.
            WaitTimedOut: it was not decided after thrice the minutes, or there were no data after ten.
        """
        self._wait(self._data, SETTLE_SECONDS)
        guards = canary_guards(self._run, self._shift, self._limits)
        ensure_guards(self._run, guards)
        ends = self._clock.now() + timedelta(minutes=self._options.canary_minutes)
        self._wait(lambda: self._verdict(guards, ends), 3 * 60 * self._options.canary_minutes)

    def _wait(self, probe: _Probe, aws_seconds: float) -> None:
        name, version = self._shift.function.name, self._shift.function.version
        wait_for(
            self._run.aws.target,
            f"version {version} of function {name}",
            probe,
            deadline_seconds=max(LEAST_DEADLINE_SECONDS, self._clock.wall_seconds(aws_seconds)),
            poll_seconds=max(LEAST_POLL_SECONDS, self._clock.wall_seconds(POLL_SECONDS)),
            next_command=f"kennel logs {self._run.id} --source function",
        )

    def _data(self) -> tuple[bool | None, str]:
        """Tell whether there is something to compare: of the former version, and by now of the new one."""
        former = self.photos.sent - self.photos.touched
        state = f"{former} photos answered by the former version, {self.photos.touched} by the new one"
        usual = usual_p99(self._run.aws, version_subject(self._shift, self._shift.former), "Duration")
        is_shown = counted_calls(self._run, self._shift, "Invocations", self._begun) > 0
        is_enough = former >= LEAST_CALLS and self.photos.touched > 0 and usual is not None and is_shown
        return (True if is_enough else None), state

    def _verdict(self, guards: tuple[Guard, ...], ends: datetime) -> tuple[bool | None, str]:
        rung, name, version = ringing(self._run, guards), self._shift.function.name, self._shift.function.version
        if rung:
            what = f"version {version} was taken back, and version {self._shift.former} gets all calls"
            raise StageFailed(f"function {name}", what, rung, f"kennel logs {self._run.id} --source function")
        waiting = not_calm(self._run, guards)
        is_over = self._clock.now() >= ends and self.photos.touched >= LEAST_CALLS and not waiting
        return (
            True if is_over else None
        ), f"{self.photos.touched} photos answered by it; {waiting or 'no alarm rings'}"


def settle_canary(run: Run) -> Canary | None:
    """End what a command that was killed had begun: the new version gets no calls any more; None without one.

    Raises:
        AwsFailed: AWS refused.
    """
    begun = run.find(Canary)
    if begun is None or begun.outcome != BEGUN:
        return None
    client, name = run.aws.client("lambda"), begun.function
    with aws_boundary(f"function {name}"):
        alias = none_if_missing(lambda: client.get_alias(FunctionName=name, Name=ALIAS))
        is_live = alias is not None and alias["FunctionVersion"] == begun.version and not other_versions(alias)
        if alias is not None and other_versions(alias):
            point_alias(run.aws, name, str(alias["FunctionVersion"]))
    remove_guards(run, canary_prefix(run.id))
    why = "its command ended when no alarm had rung" if is_live else "its command ended before it was judged"
    ended = replace(begun, outcome=LIVE if is_live else TAKEN_BACK, why=why)
    run.keep(ended)
    say(f"function {name}: an earlier command had begun with version {begun.version}: {ended.outcome}")
    return ended
