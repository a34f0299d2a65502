"""GetMetricData and GetMetricStatistics: percentiles, metric math, and what is refused by name."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws.histograms import Histogram
from tests.conftest import RunningLocalAws

NOW = datetime.now(UTC)
PERIOD = {"StartTime": NOW - timedelta(minutes=5), "EndTime": NOW + timedelta(minutes=5)}
Ask = Callable[..., dict[str, list[float]]]


@pytest.fixture(scope="module")
def namespace(localaws: RunningLocalAws) -> str:
    """Return a namespace whose metric M has the values 1 to 100 in one minute."""
    name = f"Tests/{uuid.uuid4().hex}"
    data = [{"MetricName": "M", "Value": value, "Timestamp": NOW} for value in range(1, 101)]
    localaws.client("cloudwatch").put_metric_data(Namespace=name, MetricData=data)
    return name


@pytest.fixture
def ask(localaws: RunningLocalAws, namespace: str) -> Ask:
    def answer(statistics: dict[str, str], **expressions: str) -> dict[str, list[float]]:
        metric = {"Namespace": namespace, "MetricName": "M"}
        queries: list[dict[str, Any]] = [
            {"Id": name, "MetricStat": {"Metric": metric, "Period": 60, "Stat": statistic}}
            for name, statistic in statistics.items()
        ]
        queries += [{"Id": name, "Expression": text} for name, text in expressions.items()]
        found = localaws.client("cloudwatch").get_metric_data(MetricDataQueries=queries, **PERIOD)
        return {each["Id"]: each["Values"] for each in found["MetricDataResults"]}

    return answer


def test_percentiles_are_told_to_within_one_percent(ask: Ask, localaws: RunningLocalAws, namespace: str) -> None:
    found = ask({f"p{number}": f"p{number}" for number in (50, 90, 99, 100)})
    assert {name: values[0] for name, values in found.items()} == {
        "p50": pytest.approx(50, rel=0.011),
        "p90": pytest.approx(90, rel=0.011),
        "p99": pytest.approx(99, rel=0.011),
        "p100": 100.0,
    }
    (point,) = localaws.client("cloudwatch").get_metric_statistics(
        Namespace=namespace, MetricName="M", Period=60, Statistics=["Sum"], ExtendedStatistics=["p99"], **PERIOD
    )["Datapoints"]
    assert point["Sum"] == 5050 and point["ExtendedStatistics"] == {"p99": found["p99"][0]}


def test_a_set_of_several_values_has_no_percentiles(localaws: RunningLocalAws) -> None:
    name = f"Tests/{uuid.uuid4().hex}"
    values = {"SampleCount": 2, "Sum": 3, "Minimum": 1, "Maximum": 2}
    cloudwatch = localaws.client("cloudwatch")
    cloudwatch.put_metric_data(
        Namespace=name, MetricData=[{"MetricName": "M", "StatisticValues": values, "Timestamp": NOW}]
    )
    query = {"Metric": {"Namespace": name, "MetricName": "M"}, "Period": 60, "Stat": "p50"}
    found = cloudwatch.get_metric_data(MetricDataQueries=[{"Id": "a", "MetricStat": query}], **PERIOD)
    assert found["MetricDataResults"][0]["Values"] == []


def test_metric_math_calculates_with_metrics_and_numbers(ask: Ask) -> None:
    found = ask(
        {"total": "Sum", "n": "SampleCount"}, mean="total / n", rate="total / PERIOD(total)", both="SUM(METRICS())"
    )
    assert (found["mean"], found["both"]) == ([50.5], [5150.0]) and found["rate"] == [pytest.approx(5050 / 60)]
    filled = ask({"total": "Sum"}, filled="FILL(total, 0) * 2 ^ 2")["filled"]
    assert sorted(filled)[-1] == 20200 and sum(value == 0 for value in filled) >= 9


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("other / 2", "undefined id other"),
        ("RATE(total)", "does not calculate RATE"),
        ("3", "no time series"),
        ("total /", "cannot be read"),
        ("total if 1 else 2", "does not calculate"),
    ],
)
def test_other_expressions_are_refused_by_name(ask: Ask, expression: str, text: str) -> None:
    with pytest.raises(ClientError, match=text):
        ask({"total": "Sum"}, wanted=expression)


def test_a_period_that_is_empty_is_refused(localaws: RunningLocalAws, namespace: str) -> None:
    query = {"Metric": {"Namespace": namespace, "MetricName": "M"}, "Period": 60, "Stat": "Sum"}
    with pytest.raises(ClientError, match="The parameter StartTime must not equal parameter EndTime"):
        localaws.client("cloudwatch").get_metric_data(
            StartTime=NOW, EndTime=NOW, MetricDataQueries=[{"Id": "a", "MetricStat": query}]
        )


def test_a_histogram_tells_values_of_both_signs_in_order() -> None:
    histogram = Histogram()
    for value in (-100.0, -1.0, 0.0, 1.0, 100.0):
        histogram.add(value)
    found = [histogram.percentile(percent, -100.0, 100.0) for percent in (20, 40, 60, 80, 100)]
    assert found == [pytest.approx(each, rel=0.011) for each in (-100.0, -1.0, 0.0, 1.0, 100.0)]
