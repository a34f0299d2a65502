"""Endpoints that change under load drop nothing; what dies is replaced; what fails leaves the old fleet serving."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from tests.localaws.sagemaker.endpoints.endpoint_models import ECHO, Workbench, workbench
from tests.localaws.scaled_server import scaled_server
from tests.polling import wait_until

SLOW_ECHO = ECHO.replace("return {", "__import__('time').sleep(0.02)\n    return {")
BROKEN = "def model_fn(model_dir):\n    raise RuntimeError('new weights are broken')\n"
CLIENTS = 4


@dataclass
class Load:
    """What a background load saw."""

    answers: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def versions(self) -> Counter[str]:
        return Counter(answer["version"] for answer in self.answers)


@contextmanager
def load(bench: Workbench, endpoint: str) -> Iterator[Load]:
    """Invoke from four clients until the block ends, each request after the last."""
    seen, ended = Load(), threading.Event()

    def client() -> None:
        while not ended.is_set():
            try:
                seen.answers.append(bench.invoke(endpoint))
            except ClientError as error:
                seen.errors.append(str(error))

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(client) for _ in range(CLIENTS)]
        try:
            yield seen
        finally:
            ended.set()
    for done in clients:
        done.result()


def test_an_update_switches_the_model_without_dropping_a_request_and_keeps_the_scale(bench: Workbench) -> None:
    endpoint = bench.endpoint(bench.model(SLOW_ECHO, environment={"VERSION": "1"}))
    _scale(bench, endpoint, 2)
    config = bench.config({"ModelName": bench.model(SLOW_ECHO, environment={"VERSION": "2"})})

    with load(bench, endpoint) as seen:
        wait_until(lambda: len(seen.answers) > 40)
        bench.sagemaker.update_endpoint(
            EndpointName=endpoint, EndpointConfigName=config, RetainAllVariantProperties=True
        )
        with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
            bench.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=config)
        described = bench.settled(endpoint)
        served = len(seen.answers)
        wait_until(lambda: len(seen.answers) > served + 40)

    assert seen.errors == []
    assert {"1", "2"} == set(seen.versions)
    assert {answer["version"] for answer in seen.answers[-20:]} == {"2"}
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", config)
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    old = {answer["pid"] for answer in seen.answers if answer["version"] == "1"}
    assert not any(psutil.pid_exists(pid) for pid in old)


def test_an_update_that_fails_leaves_the_old_fleet_serving(bench: Workbench) -> None:
    endpoint = bench.endpoint(bench.model(environment={"VERSION": "1"}))
    before = bench.sagemaker.describe_endpoint(EndpointName=endpoint)
    pid = bench.invoke(endpoint)["pid"]

    config = bench.config({"ModelName": bench.model(BROKEN)})
    bench.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=config)
    described = bench.settled(endpoint)

    assert described["EndpointStatus"] == "InService"
    assert described["EndpointConfigName"] == before["EndpointConfigName"]
    assert "new weights are broken" in described["FailureReason"]
    assert bench.invoke(endpoint)["pid"] == pid


def test_scaling_in_finishes_the_requests_in_flight_and_every_request_is_counted(bench: Workbench) -> None:
    endpoint = bench.endpoint(bench.model(SLOW_ECHO), instances=3)

    with load(bench, endpoint) as seen:
        wait_until(lambda: len({answer["pid"] for answer in seen.answers}) == 3)
        _scale(bench, endpoint, 1)
        served = len(seen.answers)
        wait_until(lambda: len(seen.answers) > served + 20)

    assert seen.errors == []
    assert len({answer["pid"] for answer in seen.answers[served + CLIENTS :]}) == 1
    left = [pid for pid in {answer["pid"] for answer in seen.answers} if psutil.pid_exists(pid)]
    assert len(left) == 1
    assert sum(point["Sum"] for point in bench.metric_points(endpoint, "Invocations")) == len(seen.answers)


def test_a_scale_out_is_told_while_it_lasts(bench: Workbench) -> None:
    loads_slowly = ECHO.replace("def model_fn(model_dir):", "def model_fn(model_dir):\n    __import__('time').sleep(1)")
    endpoint = bench.endpoint(bench.model(loads_slowly))
    change = {"VariantName": "AllTraffic", "DesiredInstanceCount": 2}
    bench.sagemaker.update_endpoint_weights_and_capacities(EndpointName=endpoint, DesiredWeightsAndCapacities=[change])
    (status,) = wait_until(lambda: _variant(bench, endpoint).get("VariantStatus"))

    assert (status["Status"], status["StatusMessage"]) == ("Updating", "Scaling out desired instance count to 2.")
    assert "VariantStatus" not in bench.settled(endpoint)["ProductionVariants"][0]


def test_a_killed_instance_is_replaced_and_only_its_own_requests_fail(bench: Workbench) -> None:
    endpoint = bench.endpoint(bench.model(SLOW_ECHO), instances=2)

    with load(bench, endpoint) as seen:
        wait_until(lambda: len({answer["pid"] for answer in seen.answers}) == 2)
        victim = seen.answers[-1]["pid"]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len({answer["pid"] for answer in seen.answers}) == 3)

    assert len(seen.errors) <= CLIENTS
    assert all("ModelError" in error and "server error (0)" in error for error in seen.errors)
    wait_until(lambda: _instances(bench, endpoint) == 2)
    wait_until(lambda: bench.log(endpoint), holds=lambda log: "ended with status -9; it is replaced" in "\n".join(log))


def test_an_endpoint_whose_only_instance_died_is_unavailable_until_it_is_replaced(bench: Workbench) -> None:
    endpoint = bench.endpoint(bench.model())
    victim = bench.invoke(endpoint)["pid"]

    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(victim))
    with pytest.raises(ClientError) as unavailable:
        bench.invoke(endpoint)
    wait_until(lambda: _answers(bench, endpoint))

    assert unavailable.value.response["Error"]["Code"] == "ServiceUnavailable"
    assert unavailable.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert bench.invoke(endpoint)["pid"] != victim


def test_changes_of_unknown_variants_and_to_no_instance_are_refused(bench: Workbench) -> None:
    config = bench.config({"ModelName": bench.model()})
    endpoint = bench.start(config)
    bench.settled(endpoint)

    for change, why in (
        ({"VariantName": "none", "DesiredWeight": 1.0}, r'The variant name\(s\) "none" is/are not present'),
        ({"VariantName": "AllTraffic", "DesiredInstanceCount": 0}, "greater than or equal to 1"),
    ):
        with pytest.raises(ClientError, match=why):
            bench.sagemaker.update_endpoint_weights_and_capacities(
                EndpointName=endpoint, DesiredWeightsAndCapacities=[change]
            )


def test_a_hung_start_is_failed_in_time_and_a_hung_instance_is_replaced() -> None:
    with scaled_server(scale=60) as server, workbench(server.localaws) as bench:
        stuck = bench.model(
            "import time\ndef model_fn(model_dir):\n    print('sleeping', flush=True); time.sleep(300)\n"
        )
        config = bench.config({"ModelName": stuck, "ContainerStartupHealthCheckTimeoutInSeconds": 60})
        slow = bench.start(config)
        endpoint = bench.endpoint(bench.model())
        stopped = bench.invoke(endpoint)["pid"]
        os.kill(stopped, signal.SIGSTOP)

        described = bench.settled(slow)
        wait_until(lambda: not psutil.pid_exists(stopped) and _instances(bench, endpoint) == 1)

        assert described["EndpointStatus"] == "Failed"
        assert "did not pass the ping health check" in described["FailureReason"]
        assert "sleeping" in described["FailureReason"]
        assert bench.invoke(endpoint)["pid"] != stopped


def _scale(bench: Workbench, endpoint: str, count: int) -> None:
    change = {"VariantName": "AllTraffic", "DesiredInstanceCount": count}
    bench.sagemaker.update_endpoint_weights_and_capacities(EndpointName=endpoint, DesiredWeightsAndCapacities=[change])
    assert bench.settled(endpoint)["ProductionVariants"][0]["CurrentInstanceCount"] == count


def _answers(bench: Workbench, endpoint: str) -> bool:
    try:
        return bool(bench.invoke(endpoint)["pid"])
    except ClientError:
        return False


def _instances(bench: Workbench, endpoint: str) -> int:
    count: int = _variant(bench, endpoint)["CurrentInstanceCount"]
    return count


def _variant(bench: Workbench, endpoint: str) -> dict[str, Any]:
    (variant,) = bench.sagemaker.describe_endpoint(EndpointName=endpoint)["ProductionVariants"]
    return dict(variant)
