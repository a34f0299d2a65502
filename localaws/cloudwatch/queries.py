"""The queries of GetMetricData: metrics with a statistic or a percentile, and metric math over them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from moto.cloudwatch.exceptions import InvalidParameterValue, ValidationError

from localaws.cloudwatch.alarms import naive
from localaws.cloudwatch.metric_math import Calculator, Series
from localaws.histograms import Histogram
from localaws.metrics import MetricName, Statistics

STATISTICS = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
SUB_MINUTE_PERIODS = (1, 5, 10, 20, 30)
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,10})?|100)")


class Source(Protocol):
    """Where data points are."""

    def by_period(
        self, metric: MetricName, start: float, end: float, period: int, unit: str | None
    ) -> dict[int, Statistics]:
        """Return a metric's sets by the begin of their period."""

    def histograms(
        self, metric: MetricName, start: float, end: float, period: int, unit: str | None
    ) -> dict[int, Histogram]:
        """Return a metric's histograms by the begin of their period."""


@dataclass(frozen=True)
class Wanted:
    """A metric's statistic by the period, from one second to another."""

    metric: MetricName
    statistic: str
    period: int
    unit: str | None = None


def is_percentile(statistic: str) -> bool:
    """Return whether a statistic is a percentile (p50, p99.9)."""
    return _PERCENTILE.fullmatch(statistic) is not None


def series_of(source: Source, wanted: Wanted, start: float, end: float) -> Series:
    """Return the values by the begin of their period.

    Raises:
        InvalidParameterValue: the period is none of CloudWatch's.
        ValidationError: localaws does not tell the statistic.
    """
    check_period(wanted.period)
    where = (wanted.metric, start, end, wanted.period, wanted.unit)
    sets = source.by_period(*where)
    if wanted.statistic in STATISTICS:
        return {begin: sets[begin].value(wanted.statistic) for begin in sorted(sets)}
    match = _PERCENTILE.fullmatch(wanted.statistic)
    if match is None:
        told = f"{', '.join(STATISTICS)} and percentiles (p50, p99.9)"
        raise ValidationError(f"Stat {wanted.statistic} is not supported by localaws, only {told}.")
    if wanted.period < 60:
        raise ValidationError(
            f"Percentiles in periods of {wanted.period} s are not supported by localaws, only from 60 s on."
        )
    shapes = source.histograms(*where)
    values = {
        begin: shapes[begin].percentile(float(match[1]), sets[begin].minimum, sets[begin].maximum)
        for begin in sorted(sets)
        if begin in shapes
    }
    return {begin: value for begin, value in values.items() if value is not None}


def answer(
    source: Source, queries: Sequence[Mapping[str, Any]], start: float, end: float, *, newest_first: bool
) -> list[dict[str, Any]]:
    """Return the results of GetMetricData's queries, metrics first since expressions name them.

    Raises:
        ValidationError: a query cannot be answered.
    """
    metrics = {each["Id"]: each["MetricStat"] for each in queries if each.get("MetricStat")}
    periods = {name: int(asked["Period"]) for name, asked in metrics.items()}
    found: dict[str, Series] = {name: series_of(source, _wanted(asked), start, end) for name, asked in metrics.items()}
    step = min(periods.values(), default=60)
    span = range(int(start // step * step), int(end), step)
    for each in queries:
        if each["Id"] not in found:
            found[each["Id"]] = Calculator(found, periods, span).series(each.get("Expression") or "")
    return [
        _result(each, metrics, found[each["Id"]], newest_first=newest_first)
        for each in queries
        if each.get("ReturnData", True)
    ]


def check_period(period: int) -> None:
    """Refuse a period that CloudWatch does not have.

    Raises:
        InvalidParameterValue: it is none.
    """
    if period not in SUB_MINUTE_PERIODS and (period < 60 or period % 60):
        raise InvalidParameterValue(
            f"The parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60; it is {period}."
        )


def name_of(namespace: str, name: str, dimensions: Any) -> MetricName:
    """Return the metric that a request names."""
    return MetricName(namespace, name, frozenset((each["Name"], each.get("Value", "")) for each in dimensions))


def _wanted(asked: Mapping[str, Any]) -> Wanted:
    named = asked["Metric"]
    metric = name_of(named["Namespace"], named["MetricName"], named.get("Dimensions", ()))
    return Wanted(metric, asked["Stat"], int(asked["Period"]), asked.get("Unit"))


def _result(
    query: Mapping[str, Any], metrics: Mapping[str, Any], series: Series, *, newest_first: bool
) -> dict[str, Any]:
    own = metrics.get(query["Id"])
    begins = sorted(series, reverse=newest_first)
    return {
        "id": query["Id"],
        "label": query.get("Label") or (own["Metric"]["MetricName"] if own else query["Id"]),
        "values": [series[begin] for begin in begins],
        "timestamps": [naive(begin) for begin in begins],
        "status_code": "Complete",
    }
