"""CloudWatch alarms: the state that follows from the data, AWS's tables for missing data, and alarms evaluated live."""

import json
from datetime import datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws.cloudwatch.states import decide
from tests.localaws.scaled_server import ScaledServer, moment
from tests.polling import wait_until

# AWS's own tables: data points, oldest first, and the state for each treatment of missing data.
THREE_OF_THREE = (
    ("0-X-X", "OK OK OK OK"),
    ("0----", "OK OK OK OK"),
    ("-----", "INSUFFICIENT_DATA same ALARM OK"),
    ("0XX-X", "ALARM ALARM ALARM ALARM"),
    ("--X--", "ALARM same ALARM OK"),
)
TWO_OF_THREE = (
    ("0-X-X", "ALARM ALARM ALARM ALARM"),
    ("00X0X", "ALARM ALARM ALARM ALARM"),
    ("0-X--", "OK OK ALARM OK"),
    ("----0", "OK OK ALARM OK"),
    ("---X-", "ALARM same ALARM OK"),
)
TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")


@pytest.fixture(scope="module")
def server(fast_server: ScaledServer) -> ScaledServer:
    return fast_server


@pytest.mark.parametrize(
    ("points", "states", "to_alarm"),
    [(*row, 3) for row in THREE_OF_THREE] + [(*row, 2) for row in TWO_OF_THREE],
)
def test_the_state_is_the_one_of_awss_tables(points: str, states: str, to_alarm: int) -> None:
    read = [{"0": False, "X": True, "-": None}[point] for point in points]
    for missing, state in zip(TREATMENTS, states.split(), strict=True):
        found = decide(read, periods=3, to_alarm=to_alarm, missing=missing, state="same")
        assert found == state, missing


@pytest.mark.parametrize("points", ["----X", "---X-"])
def test_a_young_breach_among_missing_data_does_not_alarm_yet(points: str) -> None:
    read = [{"X": True, "-": None}[point] for point in points]
    for state in ("OK", "INSUFFICIENT_DATA"):
        assert decide(read, periods=3, to_alarm=3, missing="missing", state=state) == state


def put_alarm(server: ScaledServer, name: str, **parameters: Any) -> None:
    server.client("cloudwatch").put_metric_alarm(
        **{
            "AlarmName": name,
            "Namespace": "alarms",
            "MetricName": name,
            **({} if "ExtendedStatistic" in parameters else {"Statistic": "Sum"}),
            "Period": 60,
            "EvaluationPeriods": 2,
            "Threshold": 10.0,
            "ComparisonOperator": "GreaterThanThreshold",
            **parameters,
        }
    )


def fill(server: ScaledServer, name: str, values: dict[int, float]) -> None:
    data = [
        {"MetricName": name, "Timestamp": moment(second), "Value": value, "Unit": "Count"}
        for second, value in values.items()
    ]
    server.client("cloudwatch").put_metric_data(Namespace="alarms", MetricData=data)


def minutes(server: ScaledServer, count: int, value: float) -> dict[int, float]:
    """A value for each of the last minute and the `count` to come."""
    first = int(server.now()) // 60 * 60 - 60
    return {first + 60 * number + 5: value for number in range(count + 1)}


def until_state(server: ScaledServer, name: str, state: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        alarm = server.alarm(name)
        return alarm if alarm["StateValue"] == state else None

    return wait_until(found, what=f"{name} in {state}")


def evaluated_at(alarm: dict[str, Any]) -> float:
    """Return the end of the periods that an alarm's state is of, which no busy machine makes later."""
    return datetime.fromisoformat(json.loads(alarm["StateReasonData"])["queryDate"]).timestamp()


def test_an_alarm_starts_without_data_goes_to_alarm_and_back_with_reasons_and_a_history(server: ScaledServer) -> None:
    put_alarm(server, "cycle")
    before = server.alarm("cycle")
    fill(server, "cycle", minutes(server, 3, 25.0))
    alarmed = until_state(server, "cycle", "ALARM")
    fill(server, "cycle", minutes(server, 8, 1.0))  # sums: what is to come is 26 at first, then 1
    calm = until_state(server, "cycle", "OK")

    assert before["StateValue"] == "INSUFFICIENT_DATA"
    assert before["StateReason"] == "Unchecked: Initial alarm creation"
    assert alarmed["StateReason"].startswith("Threshold Crossed: 2 out of the last 2 datapoints [")
    assert "were greater than the threshold (10.0) (minimum 2 datapoints for OK -> ALARM" in alarmed["StateReason"]
    data = json.loads(alarmed["StateReasonData"])
    assert (data["period"], data["threshold"], len(data["recentDatapoints"])) == (60, 10.0, 2)
    assert " not greater than the threshold (10.0)" in calm["StateReason"]
    assert before["StateUpdatedTimestamp"] < alarmed["StateUpdatedTimestamp"] < calm["StateUpdatedTimestamp"]
    history = server.client("cloudwatch").describe_alarm_history(AlarmName="cycle", ScanBy="TimestampAscending")
    summaries = [item["HistorySummary"] for item in history["AlarmHistoryItems"]]
    assert summaries[0] == 'Alarm "cycle" created'
    assert "Alarm updated from INSUFFICIENT_DATA to OK" in summaries or summaries[1].endswith("to ALARM")
    assert summaries[-1] == "Alarm updated from ALARM to OK"


def test_state_changes_are_at_full_emulated_minutes(server: ScaledServer) -> None:
    fill(server, "minute", minutes(server, 6, 25.0))
    put_alarm(server, "minute")
    assert evaluated_at(until_state(server, "minute", "ALARM")) % 60 == 0


def test_one_of_three_is_enough_for_an_m_out_of_n_alarm(server: ScaledServer) -> None:
    first = int(server.now()) // 60 * 60 - 180
    fill(server, "some", {first + 60 * number: 25.0 if number == 4 else 1.0 for number in range(30)})
    put_alarm(server, "some", EvaluationPeriods=3, DatapointsToAlarm=1)
    assert "1 out of the last 3 datapoints" in until_state(server, "some", "ALARM")["StateReason"]
    until_state(server, "some", "OK")


@pytest.mark.parametrize(
    ("missing", "state"), [("breaching", "ALARM"), ("notBreaching", "OK"), ("missing", "INSUFFICIENT_DATA")]
)
def test_missing_data_are_treated_as_asked(server: ScaledServer, missing: str, state: str) -> None:
    name = f"silent-{missing}"
    put_alarm(server, name, TreatMissingData=missing)
    server.client("cloudwatch").set_alarm_state(
        AlarmName=name, StateValue="OK" if state == "ALARM" else "ALARM", StateReason="by hand"
    )
    alarm = until_state(server, name, state)
    said = {"ALARM": "treated as [Breaching]", "OK": "treated as [NonBreaching]", "INSUFFICIENT_DATA": "were unknown"}
    assert said[state] in alarm["StateReason"]


def test_an_alarm_of_ten_seconds_is_evaluated_within_the_minute(server: ScaledServer) -> None:
    start = int(server.now()) // 10 * 10
    fill(server, "quick", {start + 10 * number: 25.0 for number in range(-3, 200)})
    put_alarm(server, "quick", Period=10)
    created = server.now()
    assert evaluated_at(until_state(server, "quick", "ALARM")) - created < 50  # others take a minute and more


def test_an_update_keeps_the_state(server: ScaledServer) -> None:
    put_alarm(server, "kept", TreatMissingData="ignore")
    server.client("cloudwatch").set_alarm_state(AlarmName="kept", StateValue="ALARM", StateReason="by hand")
    put_alarm(server, "kept", TreatMissingData="ignore", Threshold=20.0)
    alarm = server.alarm("kept")
    assert (alarm["StateValue"], alarm["StateReason"], alarm["Threshold"]) == ("ALARM", "by hand", 20.0)
    assert alarm["AlarmName"] == "kept"
    assert alarm["AlarmArn"] == "arn:aws:cloudwatch:us-east-1:123456789012:alarm:kept"


def test_an_alarm_on_a_percentile_sees_the_slow_ones_that_the_median_hides(server: ScaledServer) -> None:
    first, metric = int(server.now()) // 60 * 60 - 60, "latencies"
    data = [
        {"MetricName": metric, "Timestamp": moment(first + 60 * number), "Values": [100.0, 5000.0], "Counts": [96, 4]}
        for number in range(8)
    ]
    server.client("cloudwatch").put_metric_data(Namespace="alarms", MetricData=data)
    for name in ("p99", "p50"):
        more = {"MetricName": metric, "ExtendedStatistic": name, "Threshold": 1000.0, "EvaluationPeriods": 1}
        put_alarm(server, f"slow-{name}", **more)

    slow, usual = until_state(server, "slow-p99", "ALARM"), until_state(server, "slow-p50", "OK")

    told, calm = json.loads(slow["StateReasonData"]), json.loads(usual["StateReasonData"])
    assert (slow["ExtendedStatistic"], told["statistic"], calm["statistic"]) == ("p99", "p99", "p50")
    assert told["recentDatapoints"] == pytest.approx([5000.0], rel=0.01)
    assert calm["recentDatapoints"] == pytest.approx([100.0], rel=0.01)


def test_an_alarm_on_a_percentile_of_sets_has_no_data_as_on_aws(server: ScaledServer) -> None:
    first = int(server.now()) // 60 * 60 - 60
    values = {"SampleCount": 10.0, "Sum": 9000.0, "Minimum": 1.0, "Maximum": 5000.0}
    data = [
        {"MetricName": "sets", "Timestamp": moment(first + 60 * number), "StatisticValues": values}
        for number in range(8)
    ]
    server.client("cloudwatch").put_metric_data(Namespace="alarms", MetricData=data)
    put_alarm(server, "sets", ExtendedStatistic="p99", EvaluationPeriods=1, TreatMissingData="breaching")
    assert "treated as [Breaching]" in until_state(server, "sets", "ALARM")["StateReason"]


def test_an_action_that_is_no_scaling_policy_says_that_it_is_not_emulated(server: ScaledServer) -> None:
    topic = "arn:aws:sns:us-east-1:123456789012:somebody"
    put_alarm(server, "loud", TreatMissingData="breaching", AlarmActions=[topic])
    until_state(server, "loud", "ALARM")

    def action() -> str | None:
        items = server.client("cloudwatch").describe_alarm_history(AlarmName="loud", HistoryItemType="Action")
        return items["AlarmHistoryItems"][0]["HistorySummary"] if items["AlarmHistoryItems"] else None

    assert wait_until(action) == f"Failed to execute action {topic}: not emulated by localaws"


def test_alarms_that_cannot_be_evaluated_are_refused_by_name(server: ScaledServer) -> None:
    query = {"Id": "m", "Expression": "SELECT 1"}
    for parameters, why in (
        ({"Metrics": [query]}, "Metrics is not supported by localaws"),
        ({"Statistic": "p99"}, "Member must satisfy enum value set"),
        ({"Period": 45}, "Period must be 10, 20, 30 or a multiple of 60"),
        ({"DatapointsToAlarm": 5}, "DatapointsToAlarm must be between 1 and EvaluationPeriods"),
        ({"ComparisonOperator": "GreaterThanUpperThreshold"}, "comparisonOperator"),
        ({"ExtendedStatistic": "p99", "Statistic": "Sum"}, "exactly one of Statistic and ExtendedStatistic"),
        ({"ExtendedStatistic": "tm90"}, "ExtendedStatistic tm90 in a period of 60 s is not supported by localaws"),
        ({"ExtendedStatistic": "p99", "Period": 10}, "ExtendedStatistic p99 in a period of 10 s is not supported"),
    ):
        with pytest.raises(ClientError, match=why):
            put_alarm(server, "refused", **parameters)
