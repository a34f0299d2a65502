"""The CloudWatch backend: exact statistics in the emulated time, over moto's state.

moto adds up every metric whose dimensions include those asked for, starts periods at the first data point and never
evaluates an alarm again. Here the data points are the server's own (`localaws/metrics.py`), a metric is identified by
all of its dimensions, periods start at multiples of their length, and alarms are evaluated periodically. Percentiles,
metric math and Metrics Insights are not emulated and are refused by name.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import moto.cloudwatch.models as moto_models
from moto.cloudwatch.exceptions import InvalidParameterValue, ValidationError

from localaws.cloudwatch.alarms import Alarm, Alarms, naive
from localaws.cloudwatch.latency import given_until
from localaws.core import Core
from localaws.metrics import MetricName, Metrics, Statistics

STATISTICS = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
SUB_MINUTE_PERIODS = (1, 5, 10, 20, 30)


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
            metric = _metric(namespace, datum["MetricName"], datum.get("Dimensions", ()))
            stamp = datum.get("Timestamp")
            second = self.metrics.second() if stamp is None else int(_unix(stamp))
            self.metrics.series(metric, datum.get("Unit") or "None").merge(_statistics(datum), second)

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
        _check_period(period)
        wanted = _metric(namespace, metric_name, dimensions)
        periods = self._by_period(wanted, start, end, period, unit)
        units = [series.unit for series in self.metrics.of(wanted, unit) if len(series)] or [unit or "None"]
        return [_datapoint(begin, periods[begin], units[0], stats) for begin in sorted(periods)]

    def get_metric_data(
        self,
        queries: list[dict[str, Any]],
        start_time: datetime,
        end_time: datetime,
        scan_by: str = "TimestampAscending",
    ) -> list[dict[str, Any]]:
        """Return the results of the queries, each for exactly the metric that it names.

        Raises:
            ValidationError: the time is empty, or a query is an expression or asks for a percentile.
        """
        start, end = _unix(start_time), _unix(end_time)
        if start > end:
            raise ValidationError("The parameter EndTime must be greater than StartTime.")
        if start == end:
            raise ValidationError("The parameter StartTime must not equal parameter EndTime.")
        found = [self._query(query, start, end, newest_first=scan_by == "TimestampDescending") for query in queries]
        return [result for query, result in zip(queries, found, strict=True) if query.get("ReturnData", True)]

    def _query(self, query: dict[str, Any], start: float, end: float, *, newest_first: bool) -> dict[str, Any]:
        if "MetricStat" not in query:
            raise ValidationError(f"Expression {query.get('Expression')!r} is not supported by localaws.")
        asked = query["MetricStat"]
        statistic, period = asked["Stat"], int(asked["Period"])
        _check_period(period)
        if statistic not in STATISTICS:
            raise ValidationError(f"Stat {statistic} is not supported by localaws, only {', '.join(STATISTICS)}.")
        name = asked["Metric"]
        metric = _metric(name["Namespace"], name["MetricName"], name.get("Dimensions", ()))
        periods = self._by_period(metric, start, end, period, asked.get("Unit"))
        begins = sorted(periods, reverse=newest_first)
        return {
            "id": query["Id"],
            "label": query.get("Label") or name["MetricName"],
            "values": [periods[begin].value(statistic) for begin in begins],
            "timestamps": [naive(begin) for begin in begins],
            "status_code": "Complete",
        }

    def _by_period(
        self, metric: MetricName, start: float, end: float, period: int, unit: str | None
    ) -> dict[int, Statistics]:
        begin = start // period * period
        until = given_until(metric, self.core.clock.now(), self.core.strictness)
        periods: dict[int, Statistics] = {}
        for series in self.metrics.of(metric, unit):
            for moment, statistics in series.by_period(begin, end, period, until=until).items():
                periods.setdefault(moment, Statistics()).merge(statistics)
        for datum in self.aws_metric_data if metric.namespace == "AWS/S3" else ():  # moto makes these when asked
            moment = int(_unix(datum.timestamp)) // period * period
            if _metric(datum.namespace, datum.name, _rows(datum)) == metric and begin <= moment < end:
                periods.setdefault(moment, Statistics()).add(datum.value)  # type: ignore[attr-defined]
        return periods

    def get_filtered_metrics(self, metric_name: str, namespace: str, dimensions: list[dict[str, str]]) -> list[Any]:
        """Return each metric that has data points once."""
        found = [
            *self.metrics.listed(),
            *{_metric(each.namespace, each.name, _rows(each)) for each in self.aws_metric_data},
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


def _metric(namespace: str, name: str, dimensions: Any) -> MetricName:
    return MetricName(namespace, name, frozenset((each["Name"], each.get("Value", "")) for each in dimensions))


def _rows(datum: Any) -> list[dict[str, str]]:
    return [{"Name": each.name, "Value": each.value} for each in datum.dimensions]


def _has(metric: MetricName, wanted: dict[str, str]) -> bool:
    return any(name == wanted["Name"] and wanted.get("Value") in (None, value) for name, value in metric.dimensions)


def _statistics(datum: dict[str, Any]) -> Statistics:
    given = datum.get("StatisticValues")
    if given:
        return Statistics(
            float(given["SampleCount"]), float(given["Sum"]), float(given["Minimum"]), float(given["Maximum"])
        )
    statistics = Statistics()
    values = datum.get("Values") or [datum.get("Value", 0)]
    for value, count in zip(values, datum.get("Counts") or [1] * len(values), strict=True):
        number, times = float(value), float(count)
        statistics.merge(Statistics(times, number * times, number, number))
    return statistics


def _datapoint(begin: int, statistics: Statistics, unit: str, wanted: list[str]) -> Datapoint:
    values = [statistics.value(name) if name in wanted else None for name in STATISTICS]
    return Datapoint(naive(begin), unit, *values)


def _check_period(period: int) -> None:
    if period not in SUB_MINUTE_PERIODS and (period < 60 or period % 60):
        raise InvalidParameterValue(
            f"The parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60; it is {period}."
        )


def _unix(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
