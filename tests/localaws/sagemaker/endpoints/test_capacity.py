"""The capacity of an instance's type binds: rules and slots alone, then two instances that serve twice as much."""

import asyncio
import io
import json
import time
import urllib.error
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from localaws.capacity import CapacityTable, InstanceCapacity, Limit, format_rule, parse_rule, vcpus
from localaws.record import serve_command
from localaws.sagemaker.endpoints.capacity import Slots
from localaws.sagemaker.endpoints.connections import Reply
from localaws.sagemaker.endpoints.validation import instance_types
from localaws.settings import Settings
from localaws.strictness import STRICT
from tests.localaws.sagemaker.endpoints.endpoint_models import Workbench, workbench
from tests.localaws.scaled_server import SCALE, ScaledServer, scaled_server

ANSWER = Reply(200, {}, b"")
FLOOR_MS, CONCURRENCY = 250, 2
ONE_INSTANCE_RPS = CONCURRENCY * 1000 / FLOOR_MS
STARTUP_SECONDS = 180  # emulated; 1.5 s


@pytest.mark.parametrize(
    ("text", "name", "rule"),
    [
        ("ml.m5.large=2:50ms", "ml.m5.large", InstanceCapacity(2, 50.0)),
        ("ml.m5.large=3", "ml.m5.large", InstanceCapacity(3, 0.0)),
        ("ml.c5.xlarge=:12.5ms", "ml.c5.xlarge", InstanceCapacity(None, 12.5)),
        ("*", "*", InstanceCapacity(None, 0.0)),
    ],
)
def test_a_rule_is_read_and_written(text: str, name: str, rule: InstanceCapacity) -> None:
    assert parse_rule(text) == (name, rule)
    assert parse_rule(format_rule(name, rule)) == (name, rule)


@pytest.mark.parametrize("text", ["m5.large=2", "ml.m5.large=2:50", "ml.m5.large=0", "ml.m5.large=1:90000ms", ""])
def test_a_rule_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"capacity=|concurrency=|floor_ms="):
        parse_rule(text)


def test_every_hosting_type_has_vcpus_and_a_rule_without_a_number_means_them() -> None:
    assert {name: vcpus(name) for name in ("ml.t2.medium", "ml.m5.large", "ml.c5.xlarge", "ml.m5.12xlarge")} == {
        "ml.t2.medium": 2,
        "ml.m5.large": 2,
        "ml.c5.xlarge": 4,
        "ml.m5.12xlarge": 48,
    }
    assert all(1 <= vcpus(name) <= 192 for name in instance_types())
    table = CapacityTable({"*": InstanceCapacity(), "ml.m5.large": InstanceCapacity(1, 20)})
    assert table.limit("ml.c5.2xlarge") == Limit(8, 0.0)
    assert table.limit("ml.m5.large") == Limit(1, 0.02)
    assert CapacityTable({}).limit("ml.m5.large") is None


def test_a_server_that_is_started_again_keeps_its_capacity(tmp_path: Path) -> None:
    command = serve_command(Settings(tmp_path, capacity={"ml.m5.large": InstanceCapacity(2, 50.0)}))
    assert command[command.index("--capacity") + 1] == "ml.m5.large=2:50ms"


def test_a_server_that_is_started_again_is_as_strict(tmp_path: Path) -> None:
    assert "--strict" in serve_command(Settings(tmp_path, strictness=STRICT))
    assert "--strict" not in serve_command(Settings(tmp_path))


def test_slots_are_given_in_the_order_of_arrival_and_each_is_held_for_the_least_time() -> None:
    async def run() -> tuple[list[int], int, float]:
        slots, started, inside, most = Slots(Limit(2, 0.03)), list[int](), 0, 0

        async def exchange(_: bytes, body: bytes) -> Reply:
            nonlocal inside, most
            inside, most = inside + 1, max(most, inside + 1)
            started.append(body[0])
            await asyncio.sleep(0.001)
            inside -= 1
            return ANSWER

        before = time.perf_counter()
        await asyncio.gather(*(slots.exchange(exchange, b"", bytes([number])) for number in range(6)))
        return started, most, time.perf_counter() - before

    started, most, seconds = asyncio.run(run())
    assert started == [0, 1, 2, 3, 4, 5]
    assert most == 2
    assert seconds >= 0.09


def test_a_full_queue_answers_503_and_a_caller_that_leaves_frees_its_place() -> None:
    async def run() -> tuple[Reply, list[Reply]]:
        slots, release = Slots(Limit(1, 0.0), queue_size=1), asyncio.Event()

        async def exchange(_: bytes, __: bytes) -> Reply:
            await release.wait()
            return ANSWER

        first = asyncio.create_task(slots.exchange(exchange, b"", b""))
        waits = asyncio.create_task(slots.exchange(exchange, b"", b""))
        await asyncio.sleep(0)
        refused = await slots.exchange(exchange, b"", b"")
        waits.cancel()
        await asyncio.gather(waits, return_exceptions=True)
        again = asyncio.create_task(slots.exchange(exchange, b"", b""))
        await asyncio.sleep(0)
        release.set()
        return refused, [await first, await again, await slots.exchange(exchange, b"", b"")]

    refused, answered = asyncio.run(run())
    assert refused.status == 503
    assert json.loads(refused.body)["error"]["code"] == "ServiceUnavailable"
    assert answered == [ANSWER] * 3


def test_an_exchange_that_fails_gives_its_slot_back() -> None:
    async def run() -> Reply:
        slots = Slots(Limit(1, 0.0))

        async def broken(_: bytes, __: bytes) -> Reply:
            raise ConnectionError

        async def whole(_: bytes, __: bytes) -> Reply:
            return ANSWER

        for _ in range(3):
            with pytest.raises(ConnectionError):
                await slots.exchange(broken, b"", b"")
        return await slots.exchange(whole, b"", b"")

    assert asyncio.run(run()) == ANSWER


@pytest.fixture(scope="module")
def server() -> Iterator[ScaledServer]:
    rule = f"ml.m5.large={CONCURRENCY}:{FLOOR_MS}ms"
    with scaled_server("--capacity", rule, "--instance-startup-seconds", str(STARTUP_SECONDS)) as running:
        yield running


@pytest.fixture(scope="module")
def bench(server: ScaledServer) -> Iterator[Workbench]:
    with workbench(server.localaws) as made:
        yield made


def throughput(bench: Workbench, endpoint: str, seconds: float = 3.0, clients: int = 12) -> float:
    """Return the requests a second that closed clients get answered.

    The least time of a request is long beside what the clients and the server need for one on a busy machine.
    """
    bench.invoke(endpoint)
    deadline = time.monotonic() + seconds

    def client(_: int) -> int:
        answered = 0
        while time.monotonic() < deadline:
            bench.invoke(endpoint)
            answered += time.monotonic() < deadline
        return answered

    with ThreadPoolExecutor(clients) as pool:
        return sum(pool.map(client, range(clients))) / seconds


def test_two_instances_serve_twice_as_much_as_one_once_their_start_up_time_has_passed(
    server: ScaledServer, bench: Workbench
) -> None:
    endpoint = bench.endpoint(bench.model())
    one = throughput(bench, endpoint)
    before = time.monotonic()
    change = {"VariantName": "AllTraffic", "DesiredInstanceCount": 2}
    bench.sagemaker.update_endpoint_weights_and_capacities(EndpointName=endpoint, DesiredWeightsAndCapacities=[change])
    bench.settled(endpoint)
    startup_seconds = time.monotonic() - before
    two = throughput(bench, endpoint)
    peaks = server.sums(
        "AWS/SageMaker",
        "ConcurrentRequestsPerModel",
        {"EndpointName": endpoint, "VariantName": "AllTraffic"},
        "Maximum",
        period=10,
    )

    assert 0.7 * ONE_INSTANCE_RPS < one <= 1.15 * ONE_INSTANCE_RPS
    assert 1.5 < two / one < 2.5
    assert startup_seconds >= STARTUP_SECONDS / SCALE
    assert max(peaks.values()) >= 12 - 1  # all that one instance was sent at once, its queue included


def test_limits_change_at_run_time(server: ScaledServer, bench: Workbench) -> None:
    endpoint = bench.endpoint(bench.model())
    path = "/_localaws/capacity/hosting"
    before = server.ask(path)
    try:
        slow = server.ask(path, {"ml.m5.large": {"concurrency": 1, "floor_ms": 100}})
        throttled = throughput(bench, endpoint, seconds=0.8)
        free = server.ask(path, {"ml.m5.large": None})
        unbound = throughput(bench, endpoint, seconds=0.8)
    finally:
        server.ask(path, before)

    assert before == {"ml.m5.large": {"concurrency": CONCURRENCY, "floor_ms": FLOOR_MS}} == server.ask(path)
    assert (slow["ml.m5.large"]["concurrency"], free) == (1, {})
    assert throttled < 12 and unbound > 2 * throttled


@pytest.mark.parametrize("body", [[], {"ml.m5.large": {"concurrency": 0}}, {"ml.m5.large": {"speed": 1}}])
def test_limits_that_make_no_sense_are_refused(server: ScaledServer, body: object) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.ask("/_localaws/capacity/hosting", body)
    assert refused.value.code == 400
    assert "/_localaws/capacity/hosting: " in json.load(io.TextIOWrapper(refused.value))["error"]


def test_a_request_beyond_the_instances_queue_is_a_model_error_503(server: ScaledServer, bench: Workbench) -> None:
    endpoint = bench.endpoint(bench.model(environment={"SAGEMAKER_MODEL_JOB_QUEUE_SIZE": "1"}))

    def call(_: int) -> int:
        try:
            bench.invoke(endpoint)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ModelError"
            return int(error.response["OriginalStatusCode"])
        return 200

    with ThreadPoolExecutor(10) as pool:
        statuses = list(pool.map(call, range(10)))
    assert set(statuses) == {200, 503}
