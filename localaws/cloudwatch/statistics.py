"""The CloudWatch backend: exact statistics in the emulated time, over moto's state.

moto adds up every metric whose dimensions include those asked for, starts periods at the first data point and never
evaluates an alarm again. Here the data points are the server's own (`localaws/metrics.py`), a metric is identified by
all of its dimensions, periods start at multiples of their length, and alarms are evaluated periodically. Metrics
Insights is not emulated and is refused by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import moto.cloudwatch.models as moto_models
from moto.cloudwatch.exceptions import InvalidParameterValue, ValidationError

from localaws.cloudwatch.alarms import Alarm, Alarms, naive
from localaws.cloudwatch.latency import given_until
from localaws.cloudwatch.metric_math import Series
from localaws.cloudwatch.queries import STATISTICS, Wanted, answer, check_period, is_percentile, name_of, series_of
from localaws.core import Core
from localaws.histograms import Histogram
from localaws.metrics import MetricName, Metrics, Statistics


@dataclass(frozen=True)
class Datapoint:
    """What GetMetricStatistics gives for one period; the statistics that were not asked for are None."""

    timestamp: datetime
    unit: str
    sample_count: float | None
    average: float | None
    sum: float | None
    minimum: float | None
    maximum: float | None
    extended_statistics: dict[str, float] | None


@dataclass(frozen=True)
class ListedMetric:
    """What ListMetrics gives."""

    namespace: str
    metric_name: str
    dimensions: list[dict[str, str]]


class ExactCloudWatch(moto_models.CloudWatchBackend):
    """CloudWatch of one account and region."""

    __module__ = moto_models.__name__
    core: ClassVar[Core]  # set by install; moto makes the instances
    alarms: dict[str, Alarm]  # type: ignore[assignment]  # moto's own kind is its base

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        core, settings = ExactCloudWatch.core, ExactCloudWatch.core.settings
        is_servers = (region_name, account_id) == (settings.region, settings.account_id)
        self.metrics = core.metrics if is_servers else Metrics(core.clock.now)
        self.evaluator = Alarms(self.metrics, core.clock)

    def reset(self) -> None:
        """Forget everything."""
        self.metrics.clear()
        super().reset()

    # Metrics

    def put_metric_data(self, namespace: str, metric_data: list[dict[str, Any]]) -> None:
        """Take data points; those without a time stamp are of now, in emulated time."""
        for number, datum in enumerate(metric_data, start=1):
            self._validate_parameters_put_metric_data(datum, number)
        for datum in metric_data:
            metric = name_of(namespace, datum["MetricName"], datum.get("Dimensions", ()))
            stamp = datum.get("Timestamp")
            second = self.metrics.second() if stamp is None else int(_unix(stamp))
            series = self.metrics.series(metric, datum.get("Unit") or "None")
            for statistics in _statistics(datum):
                series.merge(statistics, second)

    def get_metric_statistics(
        self,
        namespace: str,
        metric_name: str,
        start_time: datetime,
        end_time: datetime,
        period: int,
        stats: list[str],
        dimensions: list[dict[str, str]],
        unit: str | None = None,
    ) -> list[Any]:
        """Return one metric's statistics by the period; periods begin at multiples of their length.

        Raises:
            InvalidParameterValue: the time is empty, or the period is none of CloudWatch's.
        """
        start, end = _unix(start_time), _unix(end_time)
        if start >= end:
            raise InvalidParameterValue("The parameter StartTime must be less than the parameter EndTime.")
        check_period(period)
        wanted = name_of(namespace, metric_name, dimensions)
        periods = self.by_period(wanted, start, end, period, unit)
        units = [series.unit for series in self.metrics.of(wanted, unit) if len(series)] or [unit or "None"]
        percentiles = {
            name: series_of(self, Wanted(wanted, name, period, unit), start, end)
            for name in stats
            if is_percentile(name)
        }
        return [_datapoint(begin, periods[begin], units[0], stats, percentiles) for begin in sorted(periods)]

    def get_metric_data(
        self,
        queries: list[dict[str, Any]],
        start_time: datetime,
        end_time: datetime,
        scan_by: str = "TimestampAscending",
    ) -> list[dict[str, Any]]:
        """Return the results of the queries, each for exactly the metric that it names.

        Raises:
            ValidationError: the time is empty, or a query cannot be answered.
        """
        start, end = _unix(start_time), _unix(end_time)
        if start > end:
            raise ValidationError("The parameter EndTime must be greater than StartTime.")
        if start == end:
            raise ValidationError("The parameter StartTime must not equal parameter EndTime.")
        return answer(self, queries, start, end, newest_first=scan_by == "TimestampDescending")

    def histograms(
        self, metric: MetricName, start: float, end: float, period: int, unit: str | None
    ) -> dict[int, Histogram]:
        """Return a metric's histograms by the begin of their period, which is a multiple of a minute."""
        found: dict[int, Histogram] = {}
        for series in self.metrics.of(metric, unit):
            for moment, histogram in series.histograms(start // period * period, end, period).items():
                found.setdefault(moment, Histogram()).merge(histogram)
        return found

    def by_period(
        self, metric: MetricName, start: float, end: float, period: int, unit: str | None
    ) -> dict[int, Statistics]:
        """Return a metric's sets by the begin of their period."""
        begin = start // period * period
        until = given_until(metric, self.core.clock.now(), self.core.strictness)
        periods: dict[int, Statistics] = {}
        for series in self.metrics.of(metric, unit):
            for moment, statistics in series.by_period(begin, end, period, until=until).items():
                periods.setdefault(moment, Statistics()).merge(statistics)
        for datum in self.aws_metric_data if metric.namespace == "AWS/S3" else ():  # moto makes these when asked
            moment = int(_unix(datum.timestamp)) // period * period
            if name_of(datum.namespace, datum.name, _rows(datum)) == metric and begin <= moment < end:
                periods.setdefault(moment, Statistics()).add(datum.value)  # type: ignore[attr-defined]
        return periods

    def get_filtered_metrics(self, metric_name: str, namespace: str, dimensions: list[dict[str, str]]) -> list[Any]:
        """Return each metric that has data points once."""
        found = [
            *self.metrics.listed(),
            *{name_of(each.namespace, each.name, _rows(each)) for each in self.aws_metric_data},
        ]
        return [
            ListedMetric(each.namespace, each.name, [{"Name": k, "Value": v} for k, v in sorted(each.dimensions)])
            for each in found
            if namespace in (None, "", each.namespace)
            and metric_name in (None, "", each.name)
            and all(_has(each, wanted) for wanted in dimensions)
        ]

    # Alarms

    def put_metric_alarm(self, **fields: Any) -> Alarm:  # type: ignore[override]  # moto names thirty parameters
        """Make an alarm, or change one, which keeps its state."""
        tags = fields.pop("tags", None)
        alarm = Alarm(
            former=self.alarms.get(fields["name"]),
            now=self.core.clock.now(),
            account_id=self.account_id,
            region_name=self.region_name,
            **fields,
        )
        self.alarms[alarm.name] = alarm
        if tags:
            self.tagger.tag_resource(alarm.alarm_arn, tags)
        self.evaluator.watch(self.alarms, self.core.periodic)
        return alarm

    def set_alarm_state(self, alarm_name: str, reason: str, reason_data: str, state_value: str) -> None:
        """Set a state until the alarm is evaluated the next time."""
        super().set_alarm_state(alarm_name, reason, reason_data, state_value)
        self.alarms[alarm_name].stamp(self.core.clock.now())


def _rows(datum: Any) -> list[dict[str, str]]:
    return [{"Name": each.name, "Value": each.value} for each in datum.dimensions]


def _has(metric: MetricName, wanted: dict[str, str]) -> bool:
    return any(name == wanted["Name"] and wanted.get("Value") in (None, value) for name, value in metric.dimensions)


def _statistics(datum: dict[str, Any]) -> list[Statistics]:
    """Return a datum's observations: a set for each value, or the one set that it is."""
    given = datum.get("StatisticValues")
    if given:
        return [
            Statistics(
                float(given["SampleCount"]), float(given["Sum"]), float(given["Minimum"]), float(given["Maximum"])
            )
        ]
    values = [float(each) for each in datum.get("Values") or [datum.get("Value", 0)]]
    counts = [float(each) for each in datum.get("Counts") or [1] * len(values)]
    return [Statistics(n, value * n, value, value) for value, n in zip(values, counts, strict=True)]


def _datapoint(
    begin: int, statistics: Statistics, unit: str, wanted: list[str], percentiles: Mapping[str, Series]
) -> Datapoint:
    count, average, total, least, most = (statistics.value(name) if name in wanted else None for name in STATISTICS)
    extended = {name: series[begin] for name, series in percentiles.items() if begin in series}
    return Datapoint(naive(begin), unit, count, average, total, least, most, extended or None)


def _unix(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
