"""Which training jobs are stopped early, and when a tuning job has found enough."""

import math
import statistics
from collections.abc import Sequence

from localaws.sagemaker.tuning.requests import Objective

LEAST_IMPROVEMENT = 0.01  # "failed to improve model performance by 1% or greater": BestObjectiveNotImproving


def is_hopeless(curve: Sequence[float], others: Sequence[Sequence[float]], objective: Objective) -> bool:
    """Return whether a job's last value is worse than the median of the earlier jobs' running averages up to there.

    Source: https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-early-stopping.html
    """
    if not curve:
        return False
    averages = [statistics.fmean(other[: len(curve)]) for other in others if other]
    costs = [objective.cost(each) for each in averages if math.isfinite(each)]
    return bool(costs) and objective.cost(curve[-1]) > statistics.median(costs)


def not_improving(values: Sequence[float], objective: Objective) -> int:
    """Return how many of the last values, in the order in which they came, did not improve on the best by 1 %."""
    best: float | None = None
    count = 0
    for value in values:
        cost = objective.cost(value)
        is_improvement = best is None or (best - cost >= LEAST_IMPROVEMENT * abs(best) and cost < best)
        count = 0 if is_improvement else count + 1
        best = cost if best is None else min(best, cost)
    return count


def reaches(value: float, target: float, objective: Objective) -> bool:
    """Return whether a value is as good as the target."""
    return objective.cost(value) <= objective.cost(target)
