"""Computes how much capacity a policy asks for, from numbers alone.

Sources: docs.aws.amazon.com/autoscaling/application/userguide/target-tracking-scaling-policy-overview.html and
step-scaling-policy-overview.html. AWS does not say how fast target tracking scales in, only that it is more gradual
than scaling out. Here it removes a tenth of the capacity at a time, and at least one.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

SCALE_IN_SHARE = 0.1
ROUNDING = 1e-9  # 3 × 0.7 / 0.7 must not become 4 by the last bit


def track_out(baseline: int, value: float, target_value: float) -> int:
    """Return the capacity at which the metric would be at its target, rounded up.

    `baseline`: the capacity, without what a scale-out whose cooldown still runs has added.
    """
    return math.ceil(baseline * value / target_value - ROUNDING)


def track_in(current: int, value: float, target_value: float) -> int:
    """Return the next lower capacity: not below the proportional one, and at most a tenth, or one, less than now."""
    proportional = math.ceil(current * value / target_value - ROUNDING)
    step = max(1, math.floor(current * SCALE_IN_SHARE))
    return max(proportional, current - step)


def step(configuration: Mapping[str, Any], baseline: int, difference: float) -> int | None:
    """Return the capacity that a step scaling policy asks for, None if none of its steps covers the difference.

    `difference`: the metric less the alarm's threshold.
    """
    adjustment = _adjustment(configuration.get("StepAdjustments") or (), difference)
    if adjustment is None:
        return None
    kind = configuration.get("AdjustmentType")
    if kind == "ExactCapacity":
        return adjustment
    if kind == "ChangeInCapacity":
        return baseline + adjustment
    change = round_change(baseline * adjustment / 100)
    least = int(configuration.get("MinAdjustmentMagnitude") or 0)
    if change and abs(change) < least:
        change = int(math.copysign(least, change))
    return baseline + change


def round_change(change: float) -> int:
    """Round a change in per cent as AWS does: towards zero, but never to zero."""
    if 0 < abs(change) < 1:
        return int(math.copysign(1, change))
    return int(change)


def _adjustment(steps: Sequence[Mapping[str, Any]], difference: float) -> int | None:
    """Return the adjustment of the step that the difference is in; a bound belongs to the step further out."""
    for each in steps:
        lower = float(each.get("MetricIntervalLowerBound", -math.inf))
        upper = float(each.get("MetricIntervalUpperBound", math.inf))
        is_within = lower <= difference < upper if difference >= 0 else lower < difference <= upper
        if is_within:
            return int(each["ScalingAdjustment"])
    return None
