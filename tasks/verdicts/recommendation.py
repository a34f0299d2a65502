"""Which value of a plan's number an observation speaks for, after the number's prediction did not hold. Pure.

A number that was set by hand goes back to its formula's; otherwise it moves by what was seen. None where another
number, or another instance type, has to change instead.
"""

from __future__ import annotations

import math

from tasks.scaling.choice import Choice, Prediction
from tasks.scaling.rules import LONGEST_COOLDOWN_SECONDS, PERIOD_SECONDS

LARGEST_MEMORY_MB = 10_240
LEAST_TARGET_SHARE = 0.5
BY_HAND = "set by hand"


def recommend(choice: Choice, predicted: Prediction, observed: float | None) -> float | None:
    """Return the value for `choice` after its prediction did not hold; `observed` is None when it was not observed."""
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
        case "reserved_concurrency" | "provisioned_concurrency" if observed > predicted.high:
            return _executions(choice.value, predicted, observed)
    return None


def _target(value: float, predicted: Prediction, observed: float) -> float:
    """Instances are inversely proportional to the target; a late or failing peak needs more of them."""
    if predicted.unit == "instances":
        return round(value * max(1.0, observed) / predicted.value, 3)
    share = predicted.high / observed if predicted.unit == "ms" else LEAST_TARGET_SHARE
    return round(value * max(LEAST_TARGET_SHARE, share), 3)


def _executions(value: float, predicted: Prediction, observed: float) -> float:
    """What was throttled or spilled over beyond what may be needs executions too; so does what is in flight."""
    if predicted.unit == "share":
        return float(math.ceil(value / max(1e-3, 1.0 - observed + predicted.high)) + 1)
    return float(math.ceil(value * observed / predicted.high))


def _whole_minutes(seconds: float) -> float:
    return float(min(LONGEST_COOLDOWN_SECONDS, math.ceil(seconds / PERIOD_SECONDS) * PERIOD_SECONDS))
