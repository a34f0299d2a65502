"""Spares: a fleet takes them when it grows, after the start-up that is set; they are not seen, and none is left."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from localaws.core import Core
from localaws.idle_priority import PATIENCE, can_come_back
from localaws.sagemaker.endpoints.fleets import Fleet
from localaws.sagemaker.endpoints.instances import Instance
from localaws.sagemaker.endpoints.spare_keeper import QUIET_SECONDS, Kept, SpareKeeper
from localaws.settings import Settings
from tests.hearing import TELL, hearing
from tests.localaws import outer_pid
from tests.localaws.sagemaker.endpoints.endpoint_models import ECHO, Workbench, model_servers, workbench
from tests.localaws.sagemaker.endpoints.launches import VARIANT, launch
from tests.localaws.scaled_server import SCALE, ScaledServer, scaled_server
from tests.polling import wait_until

STARTUP_SECONDS = 120  # emulated; 1 s
STARTUP = ("--capacity", "ml.m5.large=4:1ms", "--instance-startup-seconds", str(STARTUP_SECONDS))
LATENESS = 20.0  # on a machine that is busy with something else
WAIT_SECONDS = 60.0  # to load a spare at idle priority there
TELLS_PRIORITY = """
import json, os
def priority():
    return [os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)]
def model_fn(model_dir):
    return priority()
def predict_fn(data, model):
    return {"pid": PID, "loading": model, "now": priority(), "threads": os.environ["OMP_NUM_THREADS"]}
def input_fn(data, content_type):
    return data
def output_fn(prediction, accept):
    return json.dumps(prediction), "application/json"
""".replace("PID", outer_pid.WHO)
FAILS_FROM_THE_SECOND_TO_THE_FOURTH_TIME = (
    ECHO
    + TELL
    + """
def model_fn(model_dir):
    if 1 <= int(tell(PORT, "loads")) <= 3:
        raise RuntimeError("not this time")
"""
)
LOADS_SLOWLY = (
    ECHO
    + """
import time
def model_fn(model_dir):
    time.sleep(4)
"""
)
CALLS_AWS = (
    ECHO
    + """
def model_fn(model_dir):
    import boto3
    print("I am", boto3.client("sts").get_caller_identity()["Arn"])
"""
)


@pytest.fixture(scope="module")
def server() -> Iterator[ScaledServer]:
    with scaled_server(*STARTUP) as running:
        yield running


@pytest.fixture
def bench(server: ScaledServer) -> Iterator[Workbench]:
    with workbench(server.localaws) as made:
        yield made


class Watched:
    """An endpoint with its spares as the server tells them."""

    def __init__(self, server: ScaledServer, bench: Workbench, endpoint: str) -> None:
        self.server = server
        self.bench = bench
        self.name = endpoint

    def spares(self) -> dict[str, int]:
        told: dict[str, int] = self.server.ask("/_localaws/spares").get(self.name, {}).get(VARIANT, {})
        return told

    def until(self, **expected: int) -> dict[str, int]:
        """Wait until the counts are these; return all of them."""

        def reached() -> dict[str, int] | None:
            told = self.spares()
            return told if told and all(told[name] == count for name, count in expected.items()) else None

        try:
            return wait_until(reached, seconds=WAIT_SECONDS)
        except AssertionError:
            raise AssertionError(f"the spares are {self.spares()}, not {expected}") from None

    def limit(self, minimum: int, maximum: int) -> None:
        self.autoscaling("register_scalable_target", MinCapacity=minimum, MaxCapacity=maximum)

    def autoscaling(self, operation: str, **parameters: Any) -> None:
        call = getattr(self.server.client("application-autoscaling"), operation)
        call(
            ServiceNamespace="sagemaker",
            ResourceId=f"endpoint/{self.name}/variant/{VARIANT}",
            ScalableDimension="sagemaker:variant:DesiredInstanceCount",
            **parameters,
        )

    def scale(self, count: int) -> float:
        """Scale, and return how many seconds it took."""
        before = time.monotonic()
        change = {"VariantName": VARIANT, "DesiredInstanceCount": count}
        self.bench.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=self.name, DesiredWeightsAndCapacities=[change]
        )
        described = self.bench.settled(self.name)
        assert described["EndpointStatus"] == "InService"
        assert described["ProductionVariants"][0]["CurrentInstanceCount"] == count
        return time.monotonic() - before

    def instances(self) -> int:
        variants = self.bench.sagemaker.describe_endpoint(EndpointName=self.name)["ProductionVariants"]
        return int(variants[0]["CurrentInstanceCount"])

    def log_streams(self) -> list[str]:
        return self.bench.log_streams(self.name)

    def log(self) -> str:
        return "\n".join(self.bench.log(self.name))


@pytest.fixture
def start(server: ScaledServer, bench: Workbench) -> Any:
    """Return what makes an endpoint of a model's code."""
    return lambda code=ECHO: Watched(server, bench, bench.endpoint(bench.model(code)))


@pytest.fixture
def core(tmp_path: Path) -> Iterator[Core]:
    """Yield the core of a server in this process, whose new instances take `STARTUP_SECONDS` to serve."""
    made = Core(Settings(tmp_path, time_scale=SCALE, instance_startup_seconds=STARTUP_SECONDS))
    yield made
    made.shutdown()


@pytest.fixture
def fleet(core: Core, tmp_path: Path) -> Iterator[Fleet]:
    """Yield a fleet of one instance."""
    made = Fleet(core, launch(core, tmp_path), fence=lambda: None)
    try:
        made.grow_to(1)
        yield made
    finally:
        made.close(drain=False)


def test_a_scale_out_takes_spares_and_start_up_is_the_setting(start: Any, server: ScaledServer) -> None:
    begun = time.monotonic()
    endpoint = start(TELLS_PRIORITY)
    endpoint.limit(1, 3)
    endpoint.until(wanted=2, ready=2, taken=0)
    is_hurried = time.monotonic() - begun > PATIENCE[-1].after_seconds
    assert (endpoint.instances(), len(endpoint.log_streams())) == (1, 1)
    before = model_servers(server.localaws)
    seconds = endpoint.scale(3)

    assert STARTUP_SECONDS / SCALE <= seconds < LATENESS * STARTUP_SECONDS / SCALE
    assert model_servers(server.localaws) == before
    assert endpoint.until(wanted=0, ready=0)["taken"] == 2
    assert endpoint.spares()["cold"] == 0
    wait_until(lambda: len(endpoint.log_streams()) == 3)
    answers = {answer["pid"]: answer for _ in range(30) for answer in [endpoint.bench.invoke(endpoint.name)]}
    assert len(answers) == 3
    normal = [os.SCHED_OTHER, os.getpriority(os.PRIO_PROCESS, 0)]
    assert all(answer["now"] == normal for answer in answers.values())
    loaded_normally = [answer["loading"] for answer in answers.values()].count(normal)
    assert loaded_normally == (1 if can_come_back() else 3) or is_hurried
    assert {answer["threads"] for answer in answers.values()} == {"1"}


def test_spares_follow_the_limits_and_are_refilled(start: Any, server: ScaledServer) -> None:
    endpoint = start()
    assert endpoint.until(wanted=1, ready=1)["memory_bytes"] > 1 << 20
    endpoint.limit(1, 4)
    endpoint.until(wanted=3, ready=3)
    endpoint.limit(1, 9)
    endpoint.until(wanted=4)
    endpoint.limit(1, 3)
    endpoint.until(wanted=2, ready=2, starting=0)
    endpoint.limit(2, 3)  # autoscaling adds an instance
    endpoint.until(wanted=1, ready=1, taken=1)
    endpoint.bench.settled(endpoint.name)
    endpoint.autoscaling("deregister_scalable_target")
    endpoint.scale(3)
    endpoint.until(wanted=1, ready=1, taken=2, cold=0)  # another, in the place of the one that was taken
    endpoint.scale(1)
    endpoint.limit(1, 3)
    endpoint.until(wanted=2, ready=2, taken=2)
    assert len(model_servers(server.localaws)) == 3


def test_an_update_brings_its_own_spares_and_a_delete_leaves_nothing(start: Any, server: ScaledServer) -> None:
    endpoint = start()
    bench = endpoint.bench
    endpoint.until(ready=1)
    before = model_servers(server.localaws)
    bench.sagemaker.update_endpoint(
        EndpointName=endpoint.name, EndpointConfigName=bench.config({"ModelName": bench.model()})
    )
    assert bench.settled(endpoint.name)["EndpointStatus"] == "InService"
    endpoint.until(ready=1, taken=0)
    assert len(model_servers(server.localaws)) == 2
    assert not model_servers(server.localaws) & before

    bench.delete(endpoint.name)
    assert endpoint.spares() == {}
    assert model_servers(server.localaws) == set()
    assert not (server.localaws.home / "endpoints" / endpoint.name).exists()


def test_an_update_ends_the_old_spares_while_the_old_fleet_still_runs(start: Any, server: ScaledServer) -> None:
    endpoint = start()
    bench = endpoint.bench
    serving = bench.invoke(endpoint.name)["pid"]
    endpoint.until(ready=1)
    (spare,) = model_servers(server.localaws) - {serving}
    policy = {
        "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
        "TerminationWaitInSeconds": 3600,
    }
    bench.sagemaker.update_endpoint(
        EndpointName=endpoint.name,
        EndpointConfigName=bench.config({"ModelName": bench.model()}),
        DeploymentConfig={"BlueGreenUpdatePolicy": policy},
    )
    wait_until(lambda: spare not in model_servers(server.localaws), seconds=WAIT_SECONDS)
    assert serving in model_servers(server.localaws)
    assert bench.sagemaker.describe_endpoint(EndpointName=endpoint.name)["EndpointStatus"] == "Updating"
    bench.settled(endpoint.name)


def test_a_scale_out_takes_the_spare_that_is_still_loading(start: Any, server: ScaledServer) -> None:
    endpoint = start(LOADS_SLOWLY)
    endpoint.until(starting=1, ready=0)
    loading = wait_until(
        lambda: model_servers(server.localaws), holds=lambda found: len(found) == 2
    )  # one may not be there yet
    endpoint.scale(2)
    assert endpoint.until(taken=1, cold=0, failed=0)
    assert {endpoint.bench.invoke(endpoint.name)["pid"] for _ in range(30)} == loading


def test_a_spare_that_hangs_is_found_out_when_it_is_taken(start: Any, server: ScaledServer) -> None:
    endpoint = start()
    serving = endpoint.bench.invoke(endpoint.name)["pid"]
    endpoint.until(ready=1)
    (spare,) = model_servers(server.localaws) - {serving}
    os.kill(spare, signal.SIGSTOP)
    endpoint.scale(2)
    assert endpoint.until(cold=1, failed=1)["taken"] == 0
    assert spare not in model_servers(server.localaws)


def test_no_replacement_waits_for_an_endpoint_that_is_deleted(start: Any, server: ScaledServer) -> None:
    endpoint = start()
    endpoint.until(ready=1)
    psutil.Process(endpoint.bench.invoke(endpoint.name)["pid"]).kill()
    endpoint.until(taken=1)
    endpoint.bench.delete(endpoint.name)
    assert model_servers(server.localaws) == set()
    assert "a replacement did not start" not in endpoint.log()


def test_a_dead_spare_is_replaced_and_a_spare_replaces_a_dead_instance(start: Any, server: ScaledServer) -> None:
    endpoint = start()
    serving = endpoint.bench.invoke(endpoint.name)["pid"]
    endpoint.until(ready=1)
    (spare,) = model_servers(server.localaws) - {serving}
    psutil.Process(spare).kill()
    endpoint.until(failed=1, ready=1)
    (spare,) = model_servers(server.localaws) - {serving}
    before = time.monotonic()
    psutil.Process(serving).kill()
    endpoint.until(taken=1)
    wait_until(lambda: endpoint.instances() == 1)

    assert time.monotonic() - before >= STARTUP_SECONDS / SCALE
    assert endpoint.bench.invoke(endpoint.name)["pid"] == spare
    endpoint.until(ready=1, cold=0)


def test_after_three_spares_that_failed_a_fleet_starts_cold(start: Any) -> None:
    with hearing() as ear:
        endpoint = start(FAILS_FROM_THE_SECOND_TO_THE_FOURTH_TIME.replace("PORT", str(ear.port)))
        endpoint.until(wanted=0, ready=0, starting=0, failed=3)
        assert endpoint.instances() == 1
        endpoint.scale(2)
        assert endpoint.until(taken=0, cold=1)["wanted"] == 0
    wait_until(lambda: "new instances start cold" in endpoint.log())
    assert endpoint.log().count("RuntimeError: not this time") >= 3


def test_a_model_that_calls_aws_while_it_loads_has_no_spares(start: Any) -> None:
    endpoint = start(CALLS_AWS)
    endpoint.until(wanted=0, ready=0, starting=0, discarded=1)
    endpoint.scale(2)
    endpoint.until(wanted=0, taken=0, cold=1, failed=0)
    wait_until(lambda: "before it was an instance" in endpoint.log())
    assert endpoint.log().count("I am arn:aws:sts::") == 2  # the two instances, not the spare


def test_status_shows_the_spares(start: Any, server: ScaledServer) -> None:
    endpoint = start()
    endpoint.until(ready=1)
    command = [sys.executable, "-m", "localaws", "status", "--home", str(server.localaws.home)]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    assert f"{endpoint.name}/{VARIANT}  1 of 1 ready, 0 starting, 0 taken, 0 cold" in shown


def test_no_spare_is_started_beyond_the_servers_share_of_memory(fleet: Fleet) -> None:
    kept = [Kept("endpoint", VARIANT, fleet, maximum=None)]
    for allowed_bytes, count in ((1 << 20, 0), (1 << 40, 1)):
        SpareKeeper(lambda: kept, ping_seconds=1.0, allowed_bytes=allowed_bytes).go_round()
        told = fleet.spares.counts()
        assert (told.wanted, told.starting) == (1, count)


def test_without_an_idle_priority_none_is_started_while_requests_are_served(fleet: Fleet) -> None:
    kept = [Kept("endpoint", VARIANT, fleet, maximum=None)]
    keeper = SpareKeeper(lambda: kept, ping_seconds=1.0, only_when_quiet=True)
    for asked_at, count in ((time.monotonic(), 0), (time.monotonic() - QUIET_SECONDS, 1)):
        fleet.serving[0].asked_at = asked_at
        keeper.go_round()
        assert fleet.spares.counts().starting == count


def test_a_spares_key_is_held_until_its_process_is_gone(core: Core, tmp_path: Path) -> None:
    spare = Instance(core, launch(core, tmp_path), fleet_size=1, is_spare=True)
    assert spare.grant is not None and spare.grant.session()
    assert core.credentials.are_held
    stopping = threading.Thread(target=spare.stop, args=(1.0,))
    stopping.start()
    wait_until(lambda: not core.credentials.are_held)
    assert spare.process.poll() is not None
    stopping.join(60)


def test_without_an_emulated_start_up_there_are_none() -> None:
    with scaled_server() as plain, workbench(plain.localaws) as bench:
        endpoint = Watched(plain, bench, bench.endpoint(bench.model()))
        endpoint.scale(2)
        assert plain.ask("/_localaws/spares") == {}
        assert len(model_servers(plain.localaws)) == 2
