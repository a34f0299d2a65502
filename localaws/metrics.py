"""CloudWatch's data points by metric: one statistic set for each emulated second.

A metric is identified by its namespace, its name and all of its dimensions. Adding an observation takes about a
microsecond. As in CloudWatch, seconds become minutes after 3 hours and minutes are gone after 15 days, in emulated
time, so that a server's memory is bounded however long it runs: at most 32,400 sets of 100 bytes for a metric.
Source: docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html#metrics-retention
"""

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SECONDS_KEPT = 3 * 3600
MINUTES_KEPT = 15 * 86_400
TIDY_EVERY = 1_000  # new data points of a metric between two looks at its oldest ones


@dataclass(slots=True)
class Statistics:
    """A statistic set: what is kept of the observations of one second, and what is given for a period."""

    count: float = 0
    total: float = 0.0
    minimum: float = float("inf")
    maximum: float = float("-inf")

    def add(self, value: float) -> None:
        """Add one observation."""
        self.count += 1
        self.total += value
        if value < self.minimum:
            self.minimum = value
        if value > self.maximum:
            self.maximum = value

    def merge(self, other: "Statistics") -> None:
        """Add the observations of another set."""
        self.count += other.count
        self.total += other.total
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)

    def value(self, statistic: str) -> float:
        """Return `Sum`, `Average`, `Minimum`, `Maximum` or `SampleCount`."""
        return {
            "Sum": self.total,
            "Average": self.total / self.count if self.count else 0.0,
            "Minimum": self.minimum,
            "Maximum": self.maximum,
            "SampleCount": self.count,
        }[statistic]


@dataclass(frozen=True)
class MetricName:
    """A metric: namespace, name and all of its dimensions."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]] = frozenset()

    @classmethod
    def of(cls, namespace: str, name: str, dimensions: Mapping[str, str]) -> "MetricName":
        """Return the metric with these dimensions."""
        return cls(namespace, name, frozenset(dimensions.items()))


class Series:
    """The data points of one metric in one unit. Thread-safe."""

    def __init__(self, metric: MetricName, unit: str) -> None:
        self.metric = metric
        self.unit = unit
        self._points: dict[int, Statistics] = {}
        self._lock = threading.Lock()
        self._until_tidy = TIDY_EVERY

    def add(self, value: float, second: int) -> None:
        """Add one observation at an emulated Unix time."""
        with self._lock:
            self._at(second).add(value)

    def merge(self, statistics: Statistics, second: int) -> None:
        """Add a whole statistic set at an emulated Unix time."""
        with self._lock:
            self._at(second).merge(statistics)

    def window(self, start: float, end: float) -> Statistics | None:
        """Return what was observed from `start` to before `end`, None if nothing was."""
        found = Statistics()
        with self._lock:
            for _, statistics in self._between(start, end):
                found.merge(statistics)
        return found if found.count else None

    def by_period(self, start: float, end: float, period: int, *, until: float = math.inf) -> dict[int, Statistics]:
        """Return a set for each period that begins from `start` to before `end`; periods begin at their multiples.

        What was observed at `until` or later is left out.
        """
        periods: dict[int, Statistics] = {}
        with self._lock:
            for second, statistics in self._between(start, min(end + period, until)):
                begin = second // period * period
                if start <= begin < end:
                    periods.setdefault(begin, Statistics()).merge(statistics)
        return periods

    def clear(self) -> None:
        """Forget every data point."""
        with self._lock:
            self._points.clear()

    def __len__(self) -> int:
        return len(self._points)

    def _between(self, start: float, end: float) -> list[tuple[int, Statistics]]:
        if end - start > len(self._points):
            return [(second, statistics) for second, statistics in self._points.items() if start <= second < end]
        seconds = range(math.ceil(start), math.ceil(end))
        return [(second, self._points[second]) for second in seconds if second in self._points]

    def _at(self, second: int) -> Statistics:
        statistics = self._points.get(second)
        if statistics is None:
            statistics = self._points[second] = Statistics()
            self._until_tidy -= 1
            if self._until_tidy == 0:
                self._until_tidy = TIDY_EVERY
                self._tidy(second)
        return statistics

    def _tidy(self, now: int) -> None:
        points, self._points = self._points, {}
        for second, statistics in points.items():
            if second < now - MINUTES_KEPT:
                continue
            kept = second - second % 60 if second < now - SECONDS_KEPT else second
            if kept in self._points:
                self._points[kept].merge(statistics)
            else:
                self._points[kept] = statistics


class Metrics:
    """The data points of one account and region. `now`: the emulated time, in Unix seconds. Thread-safe."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._series: dict[MetricName, dict[str, Series]] = {}
        self._found: dict[tuple[str, str, tuple[tuple[str, str], ...], str], Series] = {}

    def put(
        self,
        namespace: str,
        name: str,
        value: float,
        dimensions: Mapping[str, str],
        *,
        unit: str = "None",
        timestamp: float | None = None,
    ) -> None:
        """Add one observation. `timestamp`: emulated Unix time in seconds, default now; kept to the second."""
        key = (namespace, name, tuple(dimensions.items()), unit)
        series = self._found.get(key)
        if series is None:
            series = self._found[key] = self.series(MetricName.of(namespace, name, dimensions), unit)
        series.add(value, int(self._now() if timestamp is None else timestamp))

    def series(self, metric: MetricName, unit: str = "None") -> Series:
        """Return the data points of a metric in a unit, to be added to; there may be none yet."""
        with self._lock:
            return self._series.setdefault(metric, {}).setdefault(unit, Series(metric, unit))

    def second(self) -> int:
        """Return the emulated second that an observation made now belongs to."""
        return int(self._now())

    def of(self, metric: MetricName, unit: str | None = None) -> list[Series]:
        """Return what there is of a metric: one series a unit, or the one of `unit`."""
        with self._lock:
            series = list(self._series.get(metric, {}).values())
        return [each for each in series if unit in (None, each.unit)]

    def window(self, metric: MetricName, start: float, end: float, unit: str | None = None) -> Statistics | None:
        """Return what was observed of a metric from `start` to before `end`, None if nothing was."""
        found = Statistics()
        for series in self.of(metric, unit):
            statistics = series.window(start, end)
            if statistics is not None:
                found.merge(statistics)
        return found if found.count else None

    def listed(self) -> list[MetricName]:
        """Return the metrics that have data points."""
        with self._lock:
            return [metric for metric, units in self._series.items() if any(len(series) for series in units.values())]

    def clear(self) -> None:
        """Forget every data point; series that are held stay valid."""
        with self._lock:
            series = [each for units in self._series.values() for each in units.values()]
        for each in series:
            each.clear()
