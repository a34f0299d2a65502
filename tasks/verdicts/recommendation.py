"""Recommends a value for a number of the plan whose prediction failed. The functions are pure.

A number that was set by hand returns to the value of its formula; any other number changes by what was observed. There
is no recommendation where another number or another instance type has to change instead.
"""

from __future__ import annotations

import math

from tasks.scaling.choice import Choice, Prediction
from tasks.scaling.rules import LONGEST_COOLDOWN_SECONDS, PERIOD_SECONDS

LARGEST_MEMORY_MB = 10_240
LEAST_TARGET_SHARE = 0.5
BY_HAND = "set by hand"


def recommend(choice: Choice, predicted: Prediction, observed: float | None) -> float | None:
    """Return a value for `choice` after its prediction failed; None where changing this number would not help.

    `observed` is None when nothing was observed.
    """
    if choice.formula == BY_HAND:
        return choice.inputs[0].value
    if observed is None:
        return None
    match choice.name:
        case "min_instances" if predicted.name == "instances_at_baseline":
            return max(1.0, observed)
        case "target_value":
            return _target(choice.value, predicted, observed)
        case "scale_out_cooldown" if predicted.name == "lag_startup":
            return _whole_minutes(observed + PERIOD_SECONDS)
        case "function_memory":
            return float(min(LARGEST_MEMORY_MB, 2 * choice.value))
        case "reserved_concurrency" | "provisioned_concurrency" if choice.value and observed > predicted.high:
            return _executions(choice.value, predicted, observed)
    return None


def _target(value: float, predicted: Prediction, observed: float) -> float:
    """Return a target value. Instances are inversely proportional to it; a slow or failing peak needs more of them."""
    if predicted.unit == "instances":
        return round(value * max(1.0, observed) / predicted.value, 3)
    share = predicted.high / observed if predicted.unit == "ms" else LEAST_TARGET_SHARE
    return round(value * max(LEAST_TARGET_SHARE, share), 3)


def _executions(value: float, predicted: Prediction, observed: float) -> float:
    """Return enough executions for the requests that were throttled, spilled over or in flight beyond the bound."""
    if predicted.unit == "share":
        return float(math.ceil(value / max(1e-3, 1.0 - observed + predicted.high)) + 1)
    return float(math.ceil(value * observed / predicted.high))


def _whole_minutes(seconds: float) -> float:
    return float(min(LONGEST_COOLDOWN_SECONDS, math.ceil(seconds / PERIOD_SECONDS) * PERIOD_SECONDS))
