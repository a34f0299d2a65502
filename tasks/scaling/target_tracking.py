"""Models Application Auto Scaling's target tracking for simulations: metric sums go in, desired instances come out.

The rules are the documented ones. There is one sum per minute and instance. Above the target for 3 minutes, the fleet
grows to the number that the last sum requires; below 90 % of it for 15 minutes, it shrinks. Minimum and maximum hold.
Nothing is decided while instances are starting. A cooldown begins when a scaling activity is over; during a scale-out
cooldown the instances just added do not count, so only a larger scale-out passes. AWS says that it scales in "more
gradually" without saying how: this model removes a tenth, at least one instance, as the embedded AWS does. The model
uses no clock and no I/O: times are arguments, in seconds of AWS time.
Source: docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from tasks.scaling.queueing import round_up
from tasks.scaling.rules import IN_PERIODS, IN_THRESHOLD, OUT_PERIODS

SCALE_IN_SHARE = 0.1


@dataclass(frozen=True)
class TrackingPolicy:
    """A target tracking policy and its scalable target; `target` is per instance and minute, cooldowns in seconds."""

    target: float
    minimum: int
    maximum: int
    scale_out_cooldown: float = 300.0
    scale_in_cooldown: float = 300.0

    def wanted(self, instances: int, per_instance: float) -> int:
        """Return the number of instances that a metric value requires, within minimum and maximum."""
        return min(self.maximum, max(self.minimum, round_up(instances * per_instance / self.target)))

    def fewer(self, instances: int, per_instance: float) -> int:
        """Return the number of instances after one scale-in, at least the number that the metric requires."""
        return max(self.wanted(instances, per_instance), instances - scale_in_step(instances))


def scale_in_step(instances: int) -> int:
    """Return how many instances one scale-in removes at most."""
    return max(1, math.floor(instances * SCALE_IN_SHARE))


@dataclass
class TargetTracking:
    """The state of the policy's alarms and cooldowns. `desired` is the last desired number of instances."""

    policy: TrackingPolicy
    desired: int
    _sums: deque[float] = field(default_factory=lambda: deque(maxlen=IN_PERIODS))
    _no_out_before: float = float("-inf")
    _no_in_before: float = float("-inf")
    _before_growth: int = 0

    def observe(self, at: float, per_instance: float, *, serving: int) -> int:
        """Record the sum of the minute that ended `at`, and return the desired number of instances.

        `serving` is the number of instances in service. While it differs from `desired`, an activity is in progress.
        """
        self._sums.append(per_instance)
        if serving == self.desired:
            baseline = serving if at >= self._no_out_before else self._before_growth
            wanted = self.policy.wanted(baseline, per_instance)
            if wanted > serving and self._is_high():
                self._before_growth, self.desired = serving, wanted
            elif self._is_low() and at >= self._no_in_before:
                self.desired = min(serving, self.policy.fewer(serving, per_instance))
        return self.desired

    def completed(self, at: float, *, grew: bool) -> None:
        """Record that an activity is over. Its cooldown begins; a scale-out also ends the scale-in cooldown."""
        if grew:
            self._no_out_before = at + self.policy.scale_out_cooldown
            self._no_in_before = float("-inf")
        else:
            self._no_in_before = at + self.policy.scale_in_cooldown

    def _is_high(self) -> bool:
        latest = list(self._sums)[-OUT_PERIODS:]
        return len(latest) == OUT_PERIODS and min(latest) > self.policy.target

    def _is_low(self) -> bool:
        return len(self._sums) == IN_PERIODS and max(self._sums) < IN_THRESHOLD * self.policy.target
