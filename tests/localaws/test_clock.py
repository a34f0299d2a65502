"""The emulated clock, the periodic work it drives, and data points that are kept within bounds."""

import json
import threading
import time
from datetime import datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws.clock import Clock
from localaws.metrics import MINUTES_KEPT, SECONDS_KEPT, MetricName, Metrics, Series
from localaws.periodic import ACT, EVALUATE, MEASURE, PeriodicWork
from tests.localaws.scaled_server import SCALE, ScaledServer, moment
from tests.polling import wait_until


@pytest.fixture(scope="module")
def server(fast_server: ScaledServer) -> ScaledServer:
    return fast_server


def test_at_scale_one_it_is_the_wall_clock_and_at_sixty_a_second_is_a_minute() -> None:
    walls = iter([1000.0, 1002.0, 1002.0])
    assert Clock(60, wall=lambda: next(walls)).now() == 1000.0 + 2 * 60
    before, now, after = time.time(), Clock(1.0).now(), time.time()
    assert before <= now <= after


def test_a_sleep_lasts_its_emulated_seconds() -> None:
    clock, before = Clock(100), time.perf_counter()
    clock.sleep(5)
    assert 0.05 <= time.perf_counter() - before < 4, "five seconds of the wall clock"


def test_a_client_learns_the_time_by_a_route_and_from_the_record(server: ScaledServer) -> None:
    record = json.loads((server.localaws.home / "server.json").read_text())
    before, clock, after = time.time(), server.clock(), time.time()

    assert clock["scale"] == SCALE == record["time_scale"]
    assert clock["origin"] == record["started"]
    earliest, latest = (clock["origin"] + (wall - clock["origin"]) * SCALE for wall in (before, after))
    assert earliest <= clock["now"] <= latest


def test_periodic_work_comes_every_ten_emulated_seconds_in_its_order_and_ends_when_closed() -> None:
    periodic, seen, enough = PeriodicWork(Clock(200)), list[tuple[str, int]](), threading.Event()

    def last(due: int) -> None:
        seen.append(("act", due))
        if len(seen) >= 9:
            enough.set()

    def fail(due: int) -> None:
        raise RuntimeError("one duty fails")

    periodic.add(last, order=ACT)
    periodic.add(lambda due: seen.append(("take", due)), order=MEASURE)
    periodic.add(fail, order=EVALUATE)
    assert enough.wait(60)
    periodic.close()
    count = len(seen)
    times = [due for kind, due in seen if kind == "act"]

    assert all(due % 10 == 0 for due in times)
    assert times == list(range(times[0], times[0] + 10 * len(times), 10))
    kinds = [kind for kind, due in seen if due == times[-1]]
    assert kinds == ["take", "act"]
    time.sleep(0.1)
    assert len(seen) == count


def test_a_data_point_belongs_to_the_full_emulated_minute_that_it_was_made_in(server: ScaledServer) -> None:
    cloudwatch = server.client("cloudwatch")
    before = server.now()
    for value in (1.0, 2.0):
        cloudwatch.put_metric_data(
            Namespace="clock", MetricData=[{"MetricName": "now", "Value": value, "Dimensions": _rows({"D": "x"})}]
        )
    after = server.now()

    found = server.sums("clock", "now", {"D": "x"})
    assert sum(found.values()) == 3.0
    assert all(stamp % 60 == 0 and before - 60 < stamp <= after for stamp in found)


def test_periods_begin_at_multiples_of_their_length_whatever_the_start_time(server: ScaledServer) -> None:
    base = 1_800_000_000 // 300 * 300
    _put(server, "aligned", {"D": "x"}, {base + 61: 1.0, base + 119: 2.0, base + 120: 4.0, base + 301: 8.0})

    def ask(start: int, end: int, period: int) -> dict[int, float]:
        points = server.client("cloudwatch").get_metric_statistics(
            Namespace="clock",
            MetricName="aligned",
            Dimensions=_rows({"D": "x"}),
            StartTime=moment(start),
            EndTime=moment(end),
            Period=period,
            Statistics=["Sum"],
        )["Datapoints"]
        return {int(point["Timestamp"].timestamp()) - base: point["Sum"] for point in points}

    assert ask(base + 90, base + 600, 60) == {60: 3.0, 120: 4.0, 300: 8.0}
    assert ask(base + 90, base + 600, 300) == {0: 7.0, 300: 8.0}
    assert ask(base, base + 120, 60) == {60: 3.0}


def test_metric_data_is_of_exactly_the_metric_that_is_named(server: ScaledServer) -> None:
    base = 1_800_000_000 // 60 * 60
    _put(server, "exact", {"F": "f"}, {base: 1.0, base + 60: 2.0})
    _put(server, "exact", {"F": "f", "Resource": "f:live"}, {base: 10.0})
    _put(server, "exact", {}, {base: 100.0})

    def ask(dimensions: dict[str, str], **more: Any) -> list[float]:
        metric = {"Namespace": "clock", "MetricName": "exact", "Dimensions": _rows(dimensions)}
        query = {"Id": "q", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}}
        answer = server.client("cloudwatch").get_metric_data(
            MetricDataQueries=[query], StartTime=moment(base), EndTime=moment(base + 300), **more
        )
        values: list[float] = answer["MetricDataResults"][0]["Values"]
        return values

    assert ask({"F": "f"}) == [2.0, 1.0]
    assert ask({"F": "f"}, ScanBy="TimestampAscending") == [1.0, 2.0]
    assert ask({"F": "f", "Resource": "f:live"}) == [10.0]
    assert ask({}) == [100.0]
    listed = server.client("cloudwatch").list_metrics(Namespace="clock", MetricName="exact")["Metrics"]
    assert len(listed) == 3


def test_metric_math_that_is_not_emulated_is_refused_by_name(server: ScaledServer) -> None:
    cloudwatch, times = (
        server.client("cloudwatch"),
        {"StartTime": datetime(2026, 1, 1), "EndTime": datetime(2026, 2, 1)},
    )
    with pytest.raises(ClientError, match="ANOMALY_DETECTION_BAND"):
        cloudwatch.get_metric_data(
            MetricDataQueries=[{"Id": "e1", "Expression": "ANOMALY_DETECTION_BAND(m1)"}], **times
        )


def test_seconds_become_minutes_after_three_hours_and_are_gone_after_fifteen_days() -> None:
    series, start = Series(MetricName("n", "m"), "None"), 1_800_000_000 // 60 * 60
    days = range(start, start + MINUTES_KEPT + 86_400, 600)
    for second in days:
        series.add(1.0, second)
    recent = range(days[-1] + 1, days[-1] + 2 * SECONDS_KEPT)
    for second in recent:
        series.add(1.0, second)

    assert len(series) < SECONDS_KEPT + MINUTES_KEPT // 600 + 2 * SECONDS_KEPT // 60 + 2_000
    now = recent[-1]
    assert sum(found.total for found in series.by_period(recent[0], now + 1, 60).values()) >= len(recent) - 60
    assert series.window(start, now - MINUTES_KEPT - 86_400) is None


def test_an_observation_costs_microseconds() -> None:
    metrics, rounds = Metrics(), 20_000
    before = time.thread_time()
    for _ in range(rounds):
        metrics.put("n", "m", 1.0, {"EndpointName": "e", "VariantName": "v"})
    assert (time.thread_time() - before) / rounds < 100e-6


def test_the_minute_ends_for_the_server_when_it_ends_for_the_client(server: ScaledServer) -> None:
    started = server.now()
    wait_until(lambda: server.now() >= started + 60)
    assert server.now() < started + 600


def _rows(dimensions: dict[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in dimensions.items()]


def _put(server: ScaledServer, metric: str, dimensions: dict[str, str], values: dict[int, float]) -> None:
    data = [
        {"MetricName": metric, "Dimensions": _rows(dimensions), "Timestamp": moment(second), "Value": value}
        for second, value in values.items()
    ]
    server.client("cloudwatch").put_metric_data(Namespace="clock", MetricData=data)
