"""The pulse: a loop that stands still and a model server that stands still are seen, and what is kept is bounded."""

import asyncio
import json
import os
import signal
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from localaws.core import Core
from localaws.pulse import BUCKET_SECONDS, KEPT_BUCKETS, NO_ANSWER_MS, SPARE_BUCKETS, Lateness, Pulse
from localaws.sagemaker.endpoints.fleets import Fleet
from localaws.settings import Settings
from tests.localaws.sagemaker.endpoints.endpoint_models import ECHO, workbench
from tests.localaws.sagemaker.endpoints.launches import launch
from tests.localaws.scaled_server import ScaledServer, scaled_server
from tests.polling import wait_until

STOPPED_SECONDS = 0.3


@pytest.fixture(scope="module")
def server() -> Iterator[ScaledServer]:
    """A server that only these tests stop."""
    with scaled_server(scale=1) as running:
        yield running


def pulse(server: ScaledServer, since: float = 0.0) -> list[dict[str, Any]]:
    buckets: list[dict[str, Any]] = server.ask(f"/_localaws/pulse?since={since}")["buckets"]
    return buckets


def largest(buckets: list[dict[str, Any]], name: str) -> float:
    return max((bucket[name] for bucket in buckets if bucket[name] is not None), default=0.0)


def stop_for_a_while(pid: int, seconds: float = STOPPED_SECONDS) -> None:
    begun = time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: time.monotonic() - begun > seconds)
    os.kill(pid, signal.SIGCONT)


def test_a_loop_that_stood_still_is_seen_in_every_bucket_that_it_did(server: ScaledServer) -> None:
    wait_until(lambda: pulse(server))
    begun = time.time()
    stop_for_a_while(server.localaws.pid)
    wait_until(lambda: largest(pulse(server, begun), "loop_lag_ms") >= 250)
    late = [bucket["at"] for bucket in pulse(server, begun) if (bucket["loop_lag_ms"] or 0.0) >= 250]
    assert late[0] <= begun + BUCKET_SECONDS and len(late) >= 2
    assert all(bucket["at"] % BUCKET_SECONDS == 0 for bucket in pulse(server))


def test_without_an_instance_there_is_no_lag_of_one(server: ScaledServer) -> None:
    begun = time.time()
    wait_until(lambda: len(pulse(server, begun)) >= 3)
    assert all(bucket["instance_lag_ms"] is None for bucket in pulse(server, begun))


def test_a_model_server_that_stood_still_is_seen(server: ScaledServer) -> None:
    with workbench(server.localaws) as bench:
        endpoint = bench.endpoint(bench.model(ECHO))
        pid = bench.invoke(endpoint)["pid"]
        wait_until(lambda: largest(pulse(server), "instance_lag_ms") > 0)
        begun = time.time()
        stop_for_a_while(pid)
        wait_until(lambda: largest(pulse(server, begun), "instance_lag_ms") >= 250)


def test_only_what_ends_after_a_moment_is_told(server: ScaledServer) -> None:
    wait_until(lambda: len(pulse(server)) >= 3)
    moment = server.ask("/_localaws/pulse")["now"]
    buckets = wait_until(lambda: pulse(server, moment))
    assert buckets[0]["at"] + BUCKET_SECONDS > moment


def test_a_moment_that_is_no_number_is_refused(server: ScaledServer) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400") as refused:
        server.ask("/_localaws/pulse?since=yesterday")
    refused.value.close()


@pytest.mark.parametrize("moment", ["nan", "inf", "-inf"])
def test_a_moment_that_is_not_finite_counts_as_none(server: ScaledServer, moment: str) -> None:
    wait_until(lambda: len(server.ask(f"/_localaws/pulse?since={moment}")["buckets"]) >= 3)


def test_an_instance_that_does_not_answer_is_as_late_as_can_be(tmp_path: Path) -> None:
    core = Core(Settings(tmp_path))
    fleet = Fleet(core, launch(core, tmp_path), fence=lambda: None)
    pulse_here = Pulse(lambda: fleet.serving)
    try:
        fleet.grow_to(1)
        fleet.serving[0].process.stop(0.0)  # nobody supervises this fleet: it stays in service
        assert asyncio.run(first_lag_ms(pulse_here)) >= NO_ANSWER_MS
    finally:
        pulse_here.close()
        fleet.close(drain=False)
        core.shutdown()


async def first_lag_ms(watched: Pulse) -> float:
    request, deadline = Request({"type": "http", "query_string": b"", "headers": []}), time.monotonic() + 60
    while time.monotonic() < deadline:
        buckets = json.loads(bytes((await watched.answer(request)).body))["buckets"]
        if (lag_ms := largest(buckets, "instance_lag_ms")) > 0:
            return lag_ms
        await asyncio.sleep(0.05)
    raise AssertionError("no instance was pinged")


def test_what_is_kept_is_bounded() -> None:
    lateness = Lateness()
    for bucket in range(10 * KEPT_BUCKETS):
        lateness.record(bucket * BUCKET_SECONDS, bucket * BUCKET_SECONDS + 0.001)
    kept = lateness.since(0.0)
    assert KEPT_BUCKETS <= len(kept) <= KEPT_BUCKETS + SPARE_BUCKETS and max(kept) == 10 * KEPT_BUCKETS - 1
    lateness.record(0.0, 20 * KEPT_BUCKETS * BUCKET_SECONDS)  # a machine that was suspended
    assert len(lateness.since(0.0)) <= KEPT_BUCKETS + SPARE_BUCKETS + 1
