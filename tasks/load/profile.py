"""Makes the load profile that checks a plan: baseline, rise to the peak, spike and return, as stages of one run.

The length of each stage follows from the plan's predictions: the rise lasts until the peak's instances should serve at
the latest, and the return until the fleet should be back at the baseline's. Durations in AWS time are converted to
whole real seconds, so that every second belongs to one stage. `profile_for` is pure.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.load.generator import GeneratorOptions, LoadStage, run_load_test
from tasks.load.rungs import SAMPLES
from tasks.run.aws import Aws
from tasks.run.clock import MINUTE_SECONDS, AwsClock
from tasks.run.errors import StageFailed
from tasks.run.record_store import load_record
from tasks.run.records import EndpointRef, FunctionRef, LoadReport
from tasks.run.waiting import Say, say
from tasks.scaling.choice import ScalingPlan

PERIODS_OUT = 3
SHARE_SAMPLES = 64
"""This many requests keep a share's sampling error below `MAX_SAMPLING_ERROR`, with a reserve."""
MOST_RAMP_STEPS = 60


@dataclass(frozen=True)
class Profile:
    """The stages baseline, ramp, peak, spike and return, in real seconds. The ramp may have many steps."""

    stages: tuple[LoadStage, ...]

    @property
    def seconds(self) -> float:
        """The duration of the profile in seconds."""
        return sum(stage.seconds for stage in self.stages)

    def span(self, name: str) -> tuple[float, float]:
        """Return when the stages of a name begin and end, in seconds from the start of the profile.

        Raises:
            KeyError: the profile has no such stage.
        """
        begin, found = 0.0, list[tuple[float, float]]()
        for stage in self.stages:
            if stage.name == name:
                found.append((begin, begin + stage.seconds))
            begin += stage.seconds
        if not found:
            raise KeyError(name)
        return found[0][0], found[-1][1]

    def until(self, name: str) -> Profile:
        """Return the profile up to the end of a stage.

        Raises:
            KeyError: the profile has no such stage.
        """
        end = self.span(name)[1]
        return Profile(tuple(each for each, begin in zip(self.stages, self._begins(), strict=True) if begin < end))

    def _begins(self) -> list[float]:
        return [0.0, *itertools.accumulate(stage.seconds for stage in self.stages[:-1])]

    def rises_above(self, rps: float) -> float | None:
        """Return when the rate first exceeds `rps`, or None if it never does."""
        begin = 0.0
        for stage in self.stages:
            if stage.rate_per_second > rps:
                return begin
            begin += stage.seconds
        return None


def profile_for(plan: ScalingPlan) -> Profile:
    """Return the profile that shows whether a plan's predictions hold."""
    traffic, clock = plan.traffic, AwsClock(plan.measured.time_scale)
    to_peak = plan.predictions["seconds_to_peak_instances"][1].high
    back = plan.predictions["seconds_to_baseline_instances"][1].high
    periods = clock.wall_seconds(PERIODS_OUT * MINUTE_SECONDS)
    settle = clock.wall_seconds(max(to_peak - traffic.ramp_seconds, MINUTE_SECONDS))

    def stage(name: str, rps: float, *seconds: float) -> LoadStage:
        return LoadStage(rps, float(math.ceil(max(1.0, *seconds))), name)

    return Profile(
        (
            stage("baseline", traffic.baseline_rps, periods, SHARE_SAMPLES / traffic.baseline_rps),
            *_ramp(plan, clock.wall_seconds(traffic.ramp_seconds)),
            stage("ramp", traffic.peak_rps, settle),
            stage("peak", traffic.peak_rps, periods, SAMPLES / traffic.peak_rps),
            stage("spike", traffic.spike_rps, periods, SAMPLES / traffic.spike_rps),
            stage("return", traffic.baseline_rps, clock.wall_seconds(back + MINUTE_SECONDS), periods),
        )
    )


def _ramp(plan: ScalingPlan, seconds: float) -> tuple[LoadStage, ...]:
    traffic = plan.traffic
    rise = traffic.peak_rps - traffic.baseline_rps
    if seconds <= 0 or rise <= 0:
        return ()
    length = math.ceil(seconds / MOST_RAMP_STEPS)
    count = max(1, round(seconds / length))
    rates = (traffic.baseline_rps + rise * (step + 0.5) / count for step in range(count))
    return tuple(LoadStage(rate, float(length), "ramp") for rate in rates)


def run_profile(
    aws: Aws,
    folder: Path,
    *,
    target: EndpointRef | FunctionRef,
    images: Sequence[Path],
    profile: Profile,
    options: GeneratorOptions | None = None,
    say: Say = say,
    sleep: Callable[[float], None] = time.sleep,
) -> LoadReport:
    """Run the profile as one load test, started with a new minute of AWS time so that no earlier request is counted.

    The report of a run whose target failed is returned too, because the verdicts judge it.

    Raises:
        StageFailed: the generator left no result.
        WaitTimedOut: the generator did not end in time.
        SettingsRefused: a rate or duration is out of bounds.
    """
    clock, first = AwsClock.from_settings(aws.settings), profile.stages[0]
    sleep(max(0.0, clock.next_minute() - time.time()))
    chosen = replace(
        options or GeneratorOptions(),
        first_name=first.name,
        further_stages=profile.stages[1:],
        time_scale=aws.settings.time_scale,
    )
    try:
        return run_load_test(
            aws.settings,
            folder,
            target=target,
            images=list(images),
            rate_per_second=first.rate_per_second,
            seconds=first.seconds,
            options=chosen,
            say=say,
        )
    except StageFailed:
        report = load_record(folder, LoadReport)
        if report is None:
            raise
        return report
