"""Computes an endpoint's scaling: how many instances a rate needs, and how soon an added instance serves.

The functions are pure: they depend on a traffic statement, measurements and rules. All seconds are AWS time; all rates
are in real time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from tasks.scaling import cooldowns
from tasks.scaling.choice import SIGMAS
from tasks.scaling.queueing import round_up
from tasks.scaling.rules import (
    IN_PERIODS,
    IN_THRESHOLD,
    OUT_PERIODS,
    PERIOD_SECONDS,
    Limits,
    ScalingRules,
)
from tasks.scaling.target_tracking import scale_in_step
from tasks.scaling.traffic import Measured, Traffic

REAL_SECONDS = 0.5
"""The real time that starting a process and its health check take, however fast the AWS clock runs."""


@dataclass(frozen=True)
class Span:
    """A duration in seconds of AWS time: the expected value and its range."""

    value: float
    low: float
    high: float

    def __add__(self, other: Span) -> Span:
        """Return this span followed by the other."""
        return Span(self.value + other.value, self.low + other.low, self.high + other.high)


@dataclass(frozen=True)
class EndpointSizing:
    """Computes what the endpoint needs, before quota and budget are applied."""

    traffic: Traffic
    measured: Measured
    rules: ScalingRules

    @property
    def max_rps(self) -> float:
        """The highest rate that one instance carries within the SLO, requests/s."""
        return self.measured.max_rps_per_instance.value

    @property
    def safety(self) -> float:
        """The share of MAX_RPS that an instance is meant to carry.

        The peak's instances have to carry the spike too, because no instance can be added in time for it.
        """
        ratio = self.traffic.peak_rps / self.traffic.spike_rps
        return min(self.rules.safety_factor, ratio) if self.rules.bears_spike else self.rules.safety_factor

    @property
    def safe_rps(self) -> float:
        """The rate that one instance is meant to carry, requests/s."""
        return self.max_rps * self.safety

    @property
    def noise_seconds(self) -> float:
        """The timing error of this machine that does not count as a disturbance, in seconds of AWS time."""
        return self.measured.unnoticed_ms / 1000 * self.measured.time_scale

    @property
    def target(self) -> float:
        """The policy's target value: invocations per instance and minute of AWS time."""
        return self.safe_rps * PERIOD_SECONDS / self.measured.time_scale

    @cached_property
    def metric(self) -> Span:
        """The time from the rise of the load until the first minute above the target is over.

        The minute in which the load rises may already be above the target. How much of that minute must lie after the
        rise is random, and varies more when fewer requests make up the target.
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
        """The time of two further minutes above the target, and of the alarm's evaluation within the next minute."""
        further = (OUT_PERIODS - 1) * PERIOD_SECONDS
        return Span(further + PERIOD_SECONDS / 2, further, further + PERIOD_SECONDS)

    @property
    def startup(self) -> Span:
        """The time from the scaling decision until the instance serves."""
        measured, tolerance = self.measured.instance_startup_seconds.value, self.rules.startup_tolerance
        real = REAL_SECONDS * self.measured.time_scale
        return Span(measured, measured / (1 + tolerance), measured * (1 + tolerance) + real)

    @property
    def lag(self) -> Span:
        """The time from the rise of the load until the first added instance serves."""
        return self.metric + self.decision + self.startup

    @property
    def scale_out_cooldown(self) -> int:
        """The scale-out cooldown in seconds."""
        return cooldowns.scale_out(self.measured.instance_startup_seconds.value)

    @property
    def scale_in_cooldown(self) -> int:
        """The scale-in cooldown in seconds."""
        return cooldowns.scale_in(self.measured.instance_startup_seconds.value, self.decision.high)

    @property
    def hold_seconds(self) -> float:
        """How long the fleet has to manage without the next instance: the first scale-out, or one after a cooldown."""
        return max(self.lag.high, self.scale_out_cooldown + PERIOD_SECONDS + self.startup.high)

    @property
    def ramp_instances(self) -> int:
        """How many instances carry, at MAX_RPS, the load that arrives until the next one is added."""
        growth = self.traffic.ramp_rps_per_second * self.hold_seconds / (self.max_rps - self.safe_rps)
        return round_up(min(growth, round_up(self.traffic.peak_rps / self.max_rps)))  # `growth` is infinite for a step

    @property
    def minimum(self) -> int:
        """The minimum number of instances."""
        ramp = self.ramp_instances if self.rules.absorbs_ramp else 0
        return max(self.rules.fewest_instances, self.for_rate(self.traffic.baseline_rps), ramp)

    @property
    def maximum(self) -> int:
        """The maximum number of instances: enough for the peak at the target and for the spike at MAX_RPS."""
        spike = round_up(self.traffic.spike_rps / self.max_rps)
        return max(self.minimum, self.for_rate(self.traffic.peak_rps), spike)

    def most_instances(self, limits: Limits) -> int | None:
        """Return the most instances that may be planned, by the account's quota and a shared machine; None: no limit.

        More instances than `machine_rps` divided by `safe_rps` would only take processors from each other.
        """
        by_machine = None if limits.machine_rps is None else max(1, math.floor(limits.machine_rps / self.safe_rps))
        return min((each for each in (limits.instances, by_machine) if each is not None), default=None)

    def for_rate(self, rps: float) -> int:
        """Return how many instances target tracking settles on for a rate, before minimum and maximum."""
        return max(1, round_up(rps / self.safe_rps))

    def instances_at(self, rps: float, maximum: int) -> tuple[int, int, int]:
        """Return (expected, low, high) instances at a rate. The range allows for the random count of one minute."""
        mean = rps * PERIOD_SECONDS / self.measured.time_scale
        expected = self.for_rate(rps)
        low = self.for_rate(rps) - (mean - math.sqrt(mean) <= (expected - 1) * self.target)
        high = round_up((mean + 2 * math.sqrt(mean)) / self.target)
        bounds = (self.minimum, maximum)
        return clip(expected, *bounds), clip(low, *bounds), clip(max(expected, high), *bounds)

    def scale_out_steps(self, start: int, rps: float, maximum: int) -> int:
        """Return how many scale-outs it takes from `start` instances to the number for a rate.

        Overloaded instances answer MAX_RPS at most and the metric counts answers only, so one step multiplies the fleet
        by at most 1 / safety.
        """
        count, steps = start, 0
        wanted = clip(self.for_rate(rps), self.minimum, maximum)
        while count < wanted:
            seen = min(rps, count * self.max_rps)
            count, steps = min(maximum, max(count + 1, round_up(seen / self.safe_rps))), steps + 1
        return steps

    def scale_in(self, begin: int, end: int) -> Span:
        """Return how long it takes from the fall of the load until `end` of `begin` instances are left.

        The first step needs 15 minutes below the threshold; a cooldown lies between two steps. AWS says that it scales
        in gradually, so the range goes from a single step to one instance at a time. The 15 minutes may have begun
        before the load falls, when even the spike leaves each of the `begin` instances below the alarm's threshold.
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


def clip(value: int, low: int, high: int) -> int:
    """Return the value limited to its bounds; `high` takes precedence when it is below `low`."""
    return min(high, max(low, value))
