"""Computes the state of an alarm from the data points of its evaluation range.

Source, with the two tables that the tests check:
docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
"""

import operator
from collections.abc import Callable, Sequence

OK, ALARM, INSUFFICIENT = "OK", "ALARM", "INSUFFICIENT_DATA"
FURTHER_BACK = 2  # periods that are looked at beyond the evaluation periods, as in AWS's examples
MISSING, IGNORE, BREACHING, NOT_BREACHING = "missing", "ignore", "breaching", "notBreaching"

OPERATORS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "LessThanThreshold": (operator.lt, "less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
}


def decide(points: Sequence[bool | None], *, periods: int, to_alarm: int, missing: str, state: str) -> str:
    """Return the state that follows from the data points: M (`to_alarm`) breaching ones of N (`periods`).

    `points`: the evaluation range, oldest first; True is breaching, None is missing. `missing`: how those are treated.
    `state`: the present one, which is kept where the data decide nothing.
    """
    real = [point for point in points if point is not None]
    if len(real) >= periods:
        return ALARM if sum(real[-periods:]) >= to_alarm else OK
    if missing == BREACHING:
        return ALARM if sum(real) + periods - len(real) >= to_alarm else OK
    if missing == NOT_BREACHING or sum(real) >= to_alarm:
        return ALARM if sum(real) >= to_alarm else OK
    if not real:
        return INSUFFICIENT if missing == MISSING else state
    if not all(real):
        return OK
    oldest_breaching = len(points) - list(points).index(True)
    return ALARM if missing == MISSING and oldest_breaching >= to_alarm else state


def counted(points: Sequence[float | None], periods: int) -> list[float]:
    """Return the data points that an evaluation counts: the last N real ones of the range, oldest first."""
    return [point for point in points if point is not None][-periods:]
