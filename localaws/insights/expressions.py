"""Evaluates the expressions of a query for one record, and its statistics for many."""

import functools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from localaws.insights.language import AGGREGATES, Expression, malformed
from localaws.insights.records import Record
from localaws.timed_regex import SECONDS, BadPattern, TimedRegex, TooSlow

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}
_COMPUTED: dict[str, Callable[[float, float], float | None]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right if right else None,
    "%": lambda left, right: math.fmod(left, right) if right else None,
}
_NUMERIC: dict[str, Callable[[float], float]] = {"abs": abs, "ceil": math.ceil, "floor": math.floor}
_TEXTUAL: dict[str, Callable[[str], Any]] = {
    "tolower": str.lower,
    "toupper": str.upper,
    "trim": str.strip,
    "strlen": len,
}


def evaluate(tree: Expression, record: Record) -> Any:
    """Return the value of an expression for a record, None where a field is missing or no number where one is needed.

    Raises: AwsError MalformedQueryException for a function with other arguments than it takes, or out of its place.
    """
    kind = tree.kind
    if kind == "field":
        return record.get(tree.text)
    if kind == "number":
        return float(tree.text)
    if kind == "string":
        return tree.text
    if kind == "call":
        return _called(tree, record)
    if kind in ("and", "or", "not"):
        truths = (bool(evaluate(each, record)) for each in tree.parts)
        return all(truths) if kind == "and" else any(truths) if kind == "or" else not next(truths)
    if kind == "in":
        value = evaluate(tree.parts[0], record)
        return any(_are_equal(value, evaluate(each, record)) for each in tree.parts[1].parts)
    if kind == "like":
        return _is_like(evaluate(tree.parts[0], record), tree.parts[1])
    left, right = (evaluate(each, record) for each in tree.parts)
    if kind in ("=", "!="):
        return _are_equal(left, right) is (kind == "=")
    return _combined(kind, left, right)


def aggregate(tree: Expression, records: Sequence[Record]) -> Any:
    """Return the value of a statistic, or of arithmetic with statistics, over records.

    Raises: AwsError MalformedQueryException for what is no statistic.
    """
    if tree.kind in _COMPUTED:
        return _combined(tree.kind, *(aggregate(each, records) for each in tree.parts))
    if tree.kind == "number":
        return float(tree.text)
    if tree.kind != "call":
        raise malformed("stats needs functions such as count(*), avg(field) or pct(field, 95)")
    if tree.text not in AGGREGATES:
        raise malformed(f"{tree.text} is no statistic")
    if tree.text == "count" and (not tree.parts or tree.parts[0].text == "*"):
        return len(records)
    if not tree.parts:
        raise malformed(f"{tree.text} needs a field")
    return _statistic(tree, records)


def number(value: Any) -> float | None:
    """Return a number, also of a text that is one; None for what is not."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def _statistic(tree: Expression, records: Sequence[Record]) -> Any:
    given = [value for each in records if (value := evaluate(tree.parts[0], each)) is not None]
    if tree.text == "count":
        return len(given)
    if tree.text == "count_distinct":
        return len({str(each) for each in given})
    if tree.text in ("earliest", "latest"):
        ordered = sorted((each for each in records if tree.parts[0].text in each), key=lambda each: each["@timestamp"])
        return evaluate(tree.parts[0], ordered[0 if tree.text == "earliest" else -1]) if ordered else None
    values = sorted(value for each in given if (value := number(each)) is not None)
    if not values:
        return None
    if tree.text in ("pct", "median"):
        return percentile(values, float(tree.parts[1].text) if tree.text == "pct" and len(tree.parts) > 1 else 50.0)
    mean = sum(values) / len(values)
    return {
        "sum": sum(values),
        "avg": mean,
        "min": values[0],
        "max": values[-1],
        "stddev": math.sqrt(sum((each - mean) ** 2 for each in values) / len(values)),
    }[tree.text]


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return a percentile of ordered values, between the two next to it."""
    place = (len(ordered) - 1) * min(max(percent, 0.0), 100.0) / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def _called(tree: Expression, record: Record) -> Any:
    if tree.text == "bin":
        return _bin(tree, record)
    if tree.text == "ispresent":
        return evaluate(tree.parts[0], record) is not None
    if tree.text == "coalesce":
        return next((value for each in tree.parts if (value := evaluate(each, record)) is not None), None)
    if tree.text == "concat":
        return "".join(str(evaluate(each, record) or "") for each in tree.parts)
    if tree.text in _NUMERIC and len(tree.parts) == 1:
        value = number(evaluate(tree.parts[0], record))
        return None if value is None else _NUMERIC[tree.text](value)
    if tree.text in _TEXTUAL and len(tree.parts) == 1:
        text = evaluate(tree.parts[0], record)
        return None if text is None else _TEXTUAL[tree.text](str(text))
    raise malformed(f"{tree.text} is not to be used here, or with other arguments")


def _bin(tree: Expression, record: Record) -> int:
    if len(tree.parts) != 1 or not (match := re.fullmatch(r"(\d+)(\w+)", tree.parts[0].text)):
        raise malformed("bin needs a period such as 5m")
    period = int(match[1]) * _UNITS_MS.get(match[2], 0)
    if period == 0:
        raise malformed(f"bin({match[0]}): a period is a number with ms, s, m, h, d or w")
    return int(record["@timestamp"]) // period * period


def _are_equal(left: Any, right: Any) -> bool:
    if left is None or right is None:
        return left is right
    numbers = number(left), number(right)
    return numbers[0] == numbers[1] if None not in numbers else str(left) == str(right)


def _is_like(value: Any, wanted: Expression) -> bool:
    if value is None:
        return False
    if wanted.kind == "regex":
        return _is_found(wanted.text, str(value))
    return wanted.text in str(value)


def _combined(kind: str, left: Any, right: Any) -> Any:
    first, second = number(left), number(right)
    if first is None or second is None:
        is_ordered = kind in _COMPARED and left is not None and right is not None
        return _COMPARED[kind](str(left), str(right)) if is_ordered else None
    return _COMPARED[kind](first, second) if kind in _COMPARED else _COMPUTED[kind](first, second)


@functools.lru_cache(maxsize=256)
def _pattern(text: str) -> TimedRegex:
    ignores_case = text.endswith("/i")
    try:
        return TimedRegex(text[1:-2] if ignores_case else text[1:-1], ignores_case=ignores_case)
    except BadPattern as error:
        raise malformed(f"invalid regular expression {text}: {error}") from error


def _is_found(text: str, value: str) -> bool:
    try:
        return _pattern(text).is_in(value)
    except TooSlow:
        raise malformed(f"the regular expression {text} takes more than {SECONDS:g} s for one message") from None
