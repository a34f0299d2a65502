"""Charts on the emulated time axis, of CloudWatch's data points, as the browser's script draws them.

The same values stand in a table beside each chart, for who has no scripts.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from localaws.console.account import Account
from localaws.histograms import merged
from localaws.metrics import MetricName, Statistics

PERIODS = (10, 60, 300, 3600)  # emulated seconds
MOST_POINTS = 180
LONGEST_SECONDS = 3 * 3600
TABLE_ROWS = 12


@dataclass(frozen=True)
class Line:
    """One line. `statistic`: of CloudWatch's, `Rate` (the sum by the second), or `Counted` (data points each ten s).

    `scale`: what values are multiplied by. A gap is drawn as zero if `is_zero_filled`:
    a count has no data points while nothing happens.
    """

    label: str
    metric: MetricName
    statistic: str
    scale: float = 1.0
    is_zero_filled: bool = False


@dataclass(frozen=True)
class Span:
    """The time that a chart shows, in emulated Unix seconds."""

    start: float
    end: float
    period: int

    @property
    def moments(self) -> list[int]:
        """When the periods begin that are over: what is still counted would look like a fall."""
        first = int(self.start // self.period) * self.period
        return list(range(first, int(self.end) - self.period + 1, self.period))


@dataclass(frozen=True)
class Chart:
    """One chart: its title and unit, its lines, and levels and moments that are marked in it."""

    title: str
    unit: str
    lines: Sequence[Line]
    levels: Sequence[tuple[str, float]] = ()
    marks: Sequence[float] = field(default_factory=tuple)


def span_since(account: Account, created: float) -> Span:
    """Return the time since something was made (a Unix time by the real clock), three emulated hours at most."""
    clock = account.core.clock
    end = clock.now()
    start = max(clock.origin + (created - clock.origin) * clock.scale, end - LONGEST_SECONDS)
    period = next((each for each in PERIODS if (end - start) / each <= MOST_POINTS), PERIODS[-1])
    return Span(start, end, period)


def drawn(account: Account, chart: Chart, span: Span) -> dict[str, Any]:
    """Return a chart with its values: what the script draws, and the newest rows of the table."""
    columns = [_values(account, line, span) for line in chart.lines]
    columns += [[level] * len(span.moments) for _, level in chart.levels]
    labels = [*(line.label for line in chart.lines), *(label for label, _ in chart.levels)]
    return {
        "title": chart.title,
        "unit": chart.unit,
        "data": {
            "x": span.moments,
            "series": [{"label": label, "values": each} for label, each in zip(labels, columns, strict=True)],
            "levels": len(chart.levels),
            "marks": [mark for mark in chart.marks if span.start <= mark <= span.end],
            "unit": chart.unit,
        },
        "labels": labels,
        "rows": list(zip(span.moments, *columns, strict=True))[-TABLE_ROWS:][::-1],
        "period": span.period,
    }


def percentile(account: Account, metric: MetricName, percents: Iterable[float], window: float) -> list[float | None]:
    """Return percentiles of a metric over the last emulated seconds."""
    end = account.core.clock.now()
    found = account.metrics.window(metric, end - window, end)
    series = account.metrics.of(metric)
    if found is None or not series:
        return [None for _ in percents]
    minutes = [each for of_unit in series for each in of_unit.histograms((end - window) // 60 * 60, end, 60).values()]
    histogram = merged(minutes)
    return [histogram.percentile(each, found.minimum, found.maximum) for each in percents]


def _values(account: Account, line: Line, span: Span) -> list[float | None]:
    found: dict[int, Statistics] = {}
    for series in account.metrics.of(line.metric):
        for begin, statistics in series.by_period(span.start - span.period, span.end, span.period).items():
            found.setdefault(begin, Statistics()).merge(statistics)
    empty = 0.0 if line.is_zero_filled else None
    return [_value(found[begin], line, span.period) if begin in found else empty for begin in span.moments]


def _value(statistics: Statistics, line: Line, period: int) -> float | None:
    if line.statistic == "Rate":
        value = statistics.total / period
    elif line.statistic == "Counted":  # how many told something each ten seconds
        value = statistics.count / (period / 10)
    else:
        value = statistics.value(line.statistic)
    return round(value * line.scale, 3) if math.isfinite(value) else None
