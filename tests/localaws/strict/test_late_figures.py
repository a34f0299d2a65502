"""Metrics, logs and a job's final metrics of a strict server are given some seconds or minutes late."""

import time
from typing import Any

import pytest

from localaws.cloudwatch.latency import given_until
from localaws.metrics import MetricName
from localaws.strictness import LENIENT, STRICT
from tests.localaws.sagemaker.training.training_rooms import make_room
from tests.localaws.scaled_server import ScaledServer
from tests.localaws.strict.conftest import SLOW, wait_for_roles
from tests.polling import wait_until

pytestmark = pytest.mark.strict

METRIC = MetricName.of("kennel", "calls", {"Endpoint": "dogs"})


def test_an_observation_is_given_one_to_three_minutes_later() -> None:
    observed = range(6_000, 12_000, 7)

    late = [min(now - at for now in range(at, at + 400) if at < given_until(METRIC, now, STRICT)) for at in observed]

    assert STRICT.metrics.least <= min(late) <= STRICT.metrics.least + 20
    assert STRICT.metrics.most - 20 <= max(late) <= STRICT.metrics.most + 1
    assert given_until(METRIC, 6_000.0, LENIENT) == float("inf")


def test_what_was_given_stays_given() -> None:
    horizon = [given_until(METRIC, now, STRICT) for now in range(6_000, 12_000)]

    assert horizon == sorted(horizon)


def test_cloudwatch_gives_a_data_point_at_least_a_minute_later(strict: ScaledServer) -> None:
    strict.client("cloudwatch")
    put = strict.now()
    strict.client("cloudwatch").put_metric_data(Namespace="kennel", MetricData=[{"MetricName": "calls", "Value": 1.0}])

    wait_until(lambda: strict.sums("kennel", "calls", {}), "the data point")

    assert strict.now() - put >= STRICT.metrics.least


def test_the_last_lines_and_the_final_metrics_of_a_job_come_after_its_end(slow: ScaledServer) -> None:
    room = make_room(slow.localaws)
    slow.client("logs"), slow.client("sagemaker")
    wait_for_roles(slow)
    script = "import time; print('accuracy=0.75', time.time(), flush=True)"

    job = room.run(script, metrics=[{"Name": "accuracy", "Regex": "accuracy=([0-9.]+)"}])
    assert "FinalMetricDataList" not in job
    name = job["TrainingJobName"]
    (line,) = wait_until(lambda: room.log(name), "the line")
    line_late = time.time() - float(line.split()[1])
    described = wait_until(lambda: with_metrics(room.describe(name)), "the final metrics")

    ended = described["TrainingEndTime"].timestamp()
    assert described["FinalMetricDataList"][0]["Value"] == 0.75
    assert line_late * SLOW >= STRICT.logs.least
    assert (time.time() - ended) * SLOW >= STRICT.final_metrics.least


def with_metrics(described: dict[str, Any]) -> dict[str, Any] | None:
    return described if "FinalMetricDataList" in described else None
