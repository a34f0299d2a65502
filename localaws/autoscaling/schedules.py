"""Computes when scheduled actions run: `at(…)`, `rate(…)` and `cron(…)` of Application Auto Scaling, in emulated time.

Source: docs.aws.amazon.com/autoscaling/application/userguide/scheduled-scaling-using-cron-expressions.html. The cron
characters `L`, `W` and `#` are not emulated and are refused by name.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from localaws.errors import AwsError

EXPRESSION = re.compile(r"(at|rate|cron)\((.*)\)")
UNIT_SECONDS = {"minute": 60, "hour": 3600, "day": 86_400}
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
FIELDS: tuple[tuple[int, int, Sequence[str]], ...] = (
    (0, 59, ()),
    (0, 23, ()),
    (1, 31, ()),
    (1, 12, MONTHS),
    (1, 7, DAYS),
    (1970, 2199, ()),
)

IsDue = Callable[[int, int], bool]  # whether it runs after the one and not after the other emulated Unix time


@dataclass(frozen=True)
class Schedule:
    """An expression that was understood. `start`, `end`: outside of them it does not run; emulated Unix times."""

    expression: str
    is_due_between: IsDue
    start: float | None
    end: float | None

    def is_due(self, before: int, now: int) -> bool:
        """Return whether it runs after `before` and not after `now`."""
        is_active = (self.start is None or now >= self.start) and (self.end is None or now <= self.end)
        return is_active and self.is_due_between(before, now)


def parse(expression: str, *, timezone: str | None, start: float | None, end: float | None, created: float) -> Schedule:
    """Return the schedule of an expression.

    Raises:
        AwsError: it is none that AWS has, or has a part that localaws lacks.
    """
    found = EXPRESSION.fullmatch(expression.strip())
    if found is None:
        raise _unsupported(expression)
    zone = ZoneInfo(timezone) if timezone else ZoneInfo("UTC")
    try:
        if found[1] == "at":
            is_due = _at(found[2], zone)
        elif found[1] == "rate":
            is_due = _rate(found[2], created if start is None else start)
        else:
            is_due = _cron(found[2], zone)
    except (ValueError, KeyError) as error:
        raise _unsupported(expression, str(error)) from error
    return Schedule(expression, is_due, start, end)


def _at(text: str, zone: ZoneInfo) -> IsDue:
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=zone).timestamp()
    return lambda before, now: before < moment <= now


def _rate(text: str, first: float) -> IsDue:
    number, unit = text.split()
    seconds = int(number) * UNIT_SECONDS[unit.removesuffix("s")]
    if seconds < 1:
        raise ValueError("the rate must be positive")
    return lambda before, now: (now - first) // seconds > max(0, (before - first) // seconds)


def _cron(text: str, zone: ZoneInfo) -> IsDue:
    parts = text.split()
    if len(parts) != len(FIELDS):
        raise ValueError("cron has six fields: minutes hours day-of-month month day-of-week year")
    allowed = [_field(part, *field) for part, field in zip(parts, FIELDS, strict=True)]

    def is_due(before: int, now: int) -> bool:
        minutes = range(before // 60 * 60 + 60, now + 1, 60)
        return any(_matches(datetime.fromtimestamp(minute, UTC).astimezone(zone), allowed) for minute in minutes)

    return is_due


def _matches(moment: datetime, allowed: list[frozenset[int]]) -> bool:
    day_of_week = moment.isoweekday() % 7 + 1  # Sunday is 1
    values = (moment.minute, moment.hour, moment.day, moment.month, day_of_week, moment.year)
    return all(value in field for value, field in zip(values, allowed, strict=True))


def _field(text: str, low: int, high: int, names: Sequence[str]) -> frozenset[int]:
    allowed: set[int] = set()
    for part in text.split(","):
        span, _, every = part.partition("/")
        first, _, last = span.partition("-")
        if span in ("*", "?"):
            begin, end = low, high
        else:
            begin = _number(first, low, names)
            end = _number(last, low, names) if last else (high if every else begin)
        if not low <= begin <= end <= high:
            raise ValueError(f"{part!r} is not within {low} to {high}")
        allowed.update(range(begin, end + 1, int(every or 1)))
    return frozenset(allowed)


def _number(text: str, low: int, names: Sequence[str]) -> int:
    return names.index(text.upper()) + low if text.upper() in names else int(text)


def _unsupported(expression: str, why: str = "") -> AwsError:
    return AwsError("ValidationException", f"Schedule {expression!r} is not supported by localaws. {why}".rstrip())
