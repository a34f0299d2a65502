"""The arithmetic of an endpoint's scaling: how many instances for which rate, and how late an added one serves.

Pure functions of a traffic statement, measurements and rules; all seconds are AWS's, all rates are real.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from tasks.scaling.choice import SIGMAS
from tasks.scaling.queueing import whole
from tasks.scaling.rules import (
    IN_PERIODS,
    IN_THRESHOLD,
    LONGEST_COOLDOWN_SECONDS,
    OUT_PERIODS,
    PERIOD_SECONDS,
    Limits,
    ScalingRules,
)
from tasks.scaling.target_tracking import scale_in_step
from tasks.scaling.traffic import Measured, Traffic

REAL_SECONDS = 0.5
"""What starting a process and asking for its health take in real time, however fast AWS's clock runs."""


@dataclass(frozen=True)
class Span:
    """A duration in AWS's seconds: expected, and the range."""

    value: float
    low: float
    high: float

    def __add__(self, other: Span) -> Span:
        """Return this span followed by the other."""
        return Span(self.value + other.value, self.low + other.low, self.high + other.high)


@dataclass(frozen=True)
class EndpointSizing:
    """What the endpoint needs by arithmetic, before anybody's quota or budget."""

    traffic: Traffic
    measured: Measured
    rules: ScalingRules

    @property
    def max_rps(self) -> float:
        """What one instance carries within the SLO, requests/s."""
        return self.measured.max_rps_per_instance.value

    @property
    def safety(self) -> float:
        """The share of MAX_RPS that is aimed at: the instances of the peak have to carry the spike, which nothing
        can be added for in time."""
        ratio = self.traffic.peak_rps / self.traffic.spike_rps
        return min(self.rules.safety_factor, ratio) if self.rules.bears_spike else self.rules.safety_factor

    @property
    def safe_rps(self) -> float:
        """What one instance is meant to carry, requests/s."""
        return self.max_rps * self.safety

    @property
    def noise_seconds(self) -> float:
        """By how much the machine's own lateness may move a moment unnoticed, in AWS's seconds."""
        return self.measured.unnoticed_ms / 1000 * self.measured.time_scale

    @property
    def target(self) -> float:
        """Invocations per instance and minute of AWS's."""
        return self.safe_rps * PERIOD_SECONDS / self.measured.time_scale

    @cached_property
    def metric(self) -> Span:
        """From the rise of the load until a minute above the target is over; the minute of the rise may count.

        How much of it must lie after the rise is random, the more so the fewer requests make the target.
        """
        rise = self.traffic.peak_rps - self.traffic.baseline_rps
        safe = self.for_rate(self.traffic.baseline_rps) * self.safe_rps
        is_step = rise > 0 and self.traffic.ramp_seconds == 0
        share = min(1.0, max(0.0, (safe - self.traffic.baseline_rps) / rise)) if is_step else 1.0
        a_minute = PERIOD_SECONDS / self.measured.time_scale
        chance = SIGMAS * math.sqrt(safe * a_minute) / (rise * a_minute) if is_step else 0.0
        low, high = max(0.0, share - chance), 1.0 + min(1.0, share + chance)
        return Span((0.5 + share) * PERIOD_SECONDS, low * PERIOD_SECONDS, high * PERIOD_SECONDS)

    @property
    def decision(self) -> Span:
        """Two further minutes above the target, then the alarm is judged, within a minute."""
        further = (OUT_PERIODS - 1) * PERIOD_SECONDS
        return Span(further + PERIOD_SECONDS / 2, further, further + PERIOD_SECONDS)

    @property
    def startup(self) -> Span:
        """From the decision until the instance serves."""
        measured, tolerance = self.measured.instance_startup_seconds.value, self.rules.startup_tolerance
        real = REAL_SECONDS * self.measured.time_scale
        return Span(measured, measured / (1 + tolerance), measured * (1 + tolerance) + real)

    @property
    def lag(self) -> Span:
        """From the rise of the load until the first added instance serves."""
        return self.metric + self.decision + self.startup

    @property
    def scale_out_cooldown(self) -> int:
        """Until what was started has served for a whole minute, in whole minutes: then the metric tells its effect."""
        return minutes(self.measured.instance_startup_seconds.value + PERIOD_SECONDS)

    @property
    def scale_in_cooldown(self) -> int:
        """As long as a scale-out takes at most, in whole minutes: a wrong scale-in is undone before the next one."""
        return minutes(2 * PERIOD_SECONDS + self.decision.high + self.measured.instance_startup_seconds.value)

    @property
    def hold_seconds(self) -> float:
        """How long a fleet has to do without the next instance: a first scale-out, or one after a cooldown."""
        return max(self.lag.high, self.scale_out_cooldown + PERIOD_SECONDS + self.startup.high)

    @property
    def ramp_instances(self) -> int:
        """How many instances carry, at MAX_RPS, what comes until the next one is added."""
        growth = self.traffic.ramp_rps_per_second * self.hold_seconds / (self.max_rps - self.safe_rps)
        return whole(min(growth, whole(self.traffic.peak_rps / self.max_rps)))  # infinite for a step, and nearly so

    @property
    def minimum(self) -> int:
        """The fewest instances."""
        ramp = self.ramp_instances if self.rules.absorbs_ramp else 0
        return max(self.rules.fewest_instances, self.for_rate(self.traffic.baseline_rps), ramp)

    @property
    def maximum(self) -> int:
        """The most instances: the peak at the target, the spike at MAX_RPS."""
        spike = whole(self.traffic.spike_rps / self.max_rps)
        return max(self.minimum, self.for_rate(self.traffic.peak_rps), spike)

    def most_instances(self, limits: Limits) -> int | None:
        """Return the most instances that may be planned: the account's quota, or what a shared machine carries.

        More instances than `machine_rps` feeds at the rate that each is aimed at would only take processors from each
        other. None: nothing is known that limits them.
        """
        by_machine = None if limits.machine_rps is None else max(1, math.floor(limits.machine_rps / self.safe_rps))
        return min((each for each in (limits.instances, by_machine) if each is not None), default=None)

    def for_rate(self, rps: float) -> int:
        """Return how many instances target tracking settles on for a rate, before minimum and maximum."""
        return max(1, whole(rps / self.safe_rps))

    def instances_at(self, rps: float, maximum: int) -> tuple[int, int, int]:
        """Return (expected, low, high) instances at a rate; a minute's count is random, the shorter the more so."""
        mean = rps * PERIOD_SECONDS / self.measured.time_scale
        expected = self.for_rate(rps)
        low = self.for_rate(rps) - (mean - math.sqrt(mean) <= (expected - 1) * self.target)
        high = whole((mean + 2 * math.sqrt(mean)) / self.target)
        bounds = (self.minimum, maximum)
        return clip(expected, *bounds), clip(low, *bounds), clip(max(expected, high), *bounds)

    def scale_out_steps(self, start: int, rps: float, maximum: int) -> int:
        """Return how many scale-outs it takes from `start` instances to those for a rate.

        Overloaded instances answer no more than MAX_RPS, and a metric of what was answered says no more: one step then
        multiplies the fleet by 1 / safety.
        """
        count, steps = start, 0
        wanted = clip(self.for_rate(rps), self.minimum, maximum)
        while count < wanted:
            seen = min(rps, count * self.max_rps)
            count, steps = min(maximum, max(count + 1, whole(seen / self.safe_rps))), steps + 1
        return steps

    def scale_in(self, begin: int, end: int) -> Span:
        """Return how long it takes from the fall of the load until `end` instances of `begin` are left.

        15 minutes below the target, then one cooldown between any two steps. AWS says that it scales in gradually: the
        range is from a single step to one instance at a time. Those minutes have begun, or are over, before the load
        falls where even the spike leaves each of the `begin` instances below the alarm's threshold.
        """
        if begin <= end:
            return Span(0.0, 0.0, 0.0)
        judged, expected, count = IN_PERIODS * PERIOD_SECONDS, 0, begin
        while count > end:
            count, expected = max(end, count - scale_in_step(count)), expected + 1
        between = self.scale_in_cooldown + PERIOD_SECONDS / 2
        longest = (begin - end - 1) * (self.scale_in_cooldown + 2 * PERIOD_SECONDS)
        is_low_before = self.traffic.spike_rps / begin < IN_THRESHOLD * self.safe_rps
        return Span(
            judged + PERIOD_SECONDS / 2 + (expected - 1) * between,
            0.0 if is_low_before else judged - PERIOD_SECONDS,
            judged + 2 * PERIOD_SECONDS + longest,
        )

    def mean_instances(self, maximum: int) -> float:
        """Return the month's average number of instances."""
        at_baseline = self.instances_at(self.traffic.baseline_rps, maximum)[0]
        at_peak = self.instances_at(self.traffic.peak_rps, maximum)[0]
        return at_baseline * (1 - self.traffic.peak_share) + at_peak * self.traffic.peak_share


def minutes(seconds: float) -> int:
    """Return a cooldown of at least so many seconds: whole minutes, because the metric has no shorter steps."""
    return min(LONGEST_COOLDOWN_SECONDS, whole(seconds / PERIOD_SECONDS) * PERIOD_SECONDS)


def clip(value: int, low: int, high: int) -> int:
    """Return the value within its bounds; `high` wins where they cross."""
    return min(high, max(low, value))
