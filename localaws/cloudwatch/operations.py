"""CloudWatch on the wire: adds DescribeAlarmHistory, which moto lacks, and refuses what moto would ignore."""

from typing import Any

from moto.cloudwatch.exceptions import InvalidParameterCombination, ValidationError
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.responses import ActionResult

from localaws.cloudwatch.queries import is_percentile
from localaws.cloudwatch.states import OPERATORS
from localaws.paging import page_of
from localaws.violations import not_a_member

HISTORY_PAGE = 100
ALARM_STATISTICS = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
MISSING_DATA = ("breaching", "notBreaching", "ignore", "missing")
REFUSED_IN_ALARMS = ("Metrics", "ThresholdMetricId", "EvaluationCriteria")
_of_moto = {name: getattr(CloudWatchResponse, name) for name in ("put_metric_alarm", "get_metric_statistics")}


def put_metric_alarm(self: Any) -> Any:
    """PutMetricAlarm of a static threshold on one metric."""
    _check_alarm(self._get_params())
    return _of_moto["put_metric_alarm"](self)


def get_metric_statistics(self: Any) -> Any:
    """GetMetricStatistics, with percentiles, which moto leaves out."""
    extended = self._get_param("ExtendedStatistics") or []
    for each in extended:
        if not is_percentile(each):
            raise InvalidParameterCombination(f"ExtendedStatistics {each} is not supported by localaws.")
    self.params = {**self.params, "Statistics": [*self._get_param("Statistics", []), *extended]}
    return _of_moto["get_metric_statistics"](self)


def describe_alarm_history(self: Any) -> Any:
    """DescribeAlarmHistory: newest first unless ScanBy says otherwise."""
    asked = self._get_params()
    name, kind = asked.get("AlarmName"), asked.get("HistoryItemType")
    alarms = self.cloudwatch_backend.describe_alarms()
    items = [item for alarm in list(alarms) if name in (None, alarm.name) for item in list(alarm.items)]
    items = [item for item in items if kind in (None, item.history_item_type) and _is_within(item.timestamp, asked)]
    items.sort(key=lambda item: item.timestamp, reverse=asked.get("ScanBy") != "TimestampAscending")
    page, token = page_of(items, asked.get("NextToken"), asked.get("MaxRecords") or HISTORY_PAGE, service="monitoring")
    return ActionResult({"AlarmHistoryItems": page, "NextToken": token})


def install_operations() -> None:
    """Have moto dispatch to these."""
    for operation in (put_metric_alarm, get_metric_statistics, describe_alarm_history):
        setattr(CloudWatchResponse, operation.__name__, operation)


def _is_within(stamp: Any, asked: dict[str, Any]) -> bool:
    start, end = (_naive(asked.get(name)) for name in ("StartDate", "EndDate"))
    return (start is None or start <= stamp) and (end is None or stamp < end)


def _naive(moment: Any) -> Any:
    return None if moment is None else moment.replace(tzinfo=None)


def _check_alarm(asked: dict[str, Any]) -> None:
    for name in REFUSED_IN_ALARMS:
        if asked.get(name):
            raise ValidationError(f"PutMetricAlarm: {name} is not supported by localaws, only one metric's statistic.")
    for name in ("MetricName", "Namespace", "Period", "Threshold", "EvaluationPeriods"):
        if asked.get(name) is None:
            raise ValidationError(f"PutMetricAlarm: {name} is required for an alarm on one metric.")
    _check_member("comparisonOperator", asked.get("ComparisonOperator"), tuple(OPERATORS))
    _check_statistic(asked)
    _check_member("treatMissingData", asked.get("TreatMissingData") or "missing", MISSING_DATA)
    period, periods = int(asked["Period"]), int(asked["EvaluationPeriods"])
    if period not in (10, 20, 30) and (period < 60 or period % 60):
        raise ValidationError(f"Period must be 10, 20, 30 or a multiple of 60, it is {period}.")
    if not 1 <= int(asked.get("DatapointsToAlarm") or periods) <= periods:
        raise ValidationError("DatapointsToAlarm must be between 1 and EvaluationPeriods.")


def _check_statistic(asked: dict[str, Any]) -> None:
    plain, extended = asked.get("Statistic"), asked.get("ExtendedStatistic")
    if bool(plain) == bool(extended):
        raise ValidationError("PutMetricAlarm: exactly one of Statistic and ExtendedStatistic is required.")
    if plain:
        _check_member("statistic", plain, ALARM_STATISTICS)
    elif not is_percentile(str(extended)) or int(asked["Period"]) < 60:
        raise ValidationError(
            f"PutMetricAlarm: ExtendedStatistic {extended} in a period of {asked['Period']} s is not supported by "
            "localaws, only percentiles (p50, p99.9) in periods of 60 s and more."
        )


def _check_member(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValidationError(not_a_member(value, name, allowed))
