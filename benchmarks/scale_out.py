"""Measure how a scale-out in localaws affects the latency of an endpoint, and how long its instances take to start.

`python -m benchmarks.scale_out` prints a row for each measurement, with its goal if it has one. localaws runs at time
scale 90 with `--capacity ml.m5.large=4:40ms --instance-startup-seconds 120`. It serves an EfficientNet-Lite0 (random
weights, a fitted head, exported like a trained model). A process of its own sends a steady open-model load; latency is
measured from the time at which a request was due. Then the endpoint goes 20 times from 1 to 3 instances and back.

The measurement is repeated with an endpoint for which localaws keeps no spare instances, because its model has an AWS
key of its own; this shows the cost of a cold start. The rests before each scale-out are the control: they show how
steady the machine is by itself. The benchmark checks that each response is 200, that the endpoint has the requested
number of instances, and that spares were used or not used as expected.
"""

import asyncio
import functools
import json
import multiprocessing
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from benchmarks.figures import Figure, arguments, publish
from benchmarks.localaws_front import (
    DEADLINE_SECONDS,
    IMAGE,
    client,
    localaws,
    make_role,
    signed_headers,
    wait_until,
)
from localaws.sagemaker.endpoints.connections import ConnectionPool

TIME_SCALE = 90
STARTUP_SECONDS = 120  # in AWS seconds; 1.33 s of real time
RULE = "ml.m5.large=4:40ms"
OPTIONS = ("--time-scale", f"{TIME_SCALE}", "--instance-startup-seconds", f"{STARTUP_SECONDS}", "--capacity", RULE)
RATE = 70.0  # requests per second: 70 % of the capacity that RULE gives one instance
SCALE_OUTS = 20
COLD_SCALE_OUTS = 8
QUIET_SECONDS = 2.0  # the rest before each scale-out
STARTUP_TOLERANCE = 0.05
GOAL_RATIO = 1.3
VARIANT = "AllTraffic"

Span = tuple[float, float]  # begin and end on the monotonic clock


@dataclass(frozen=True)
class ScaleOut:
    """One scale-out: the rest before it, the time until three instances serve, and the time until spares are ready."""

    quiet: Span
    starting: Span
    refilling: Span
    aws_seconds: float


@dataclass(frozen=True)
class Measured:
    """All scale-outs of one endpoint, with the due time and the latency of each request in seconds."""

    scale_outs: list[ScaleOut]
    requests: list[tuple[float, float]]
    spare_bytes: int

    def p95(self, spans: Sequence[Span]) -> float:
        """Return the p95 latency, in ms, of the requests that were due within the spans."""
        return float(np.percentile([1000 * seconds for seconds in self.within(spans)], 95))

    def within(self, spans: Sequence[Span]) -> list[float]:
        """Return the latencies of the requests that were due within the spans."""
        return [seconds for due, seconds in self.requests if any(begin <= due < end for begin, end in spans)]


def main() -> None:
    """Measure and print."""
    arguments(__doc__).parse_args()
    from benchmarks.serving import (  # not at the top: it imports torch, which the sending process does not need
        make_model,
        make_pictures,
    )

    pictures = make_pictures()
    print("exporting an EfficientNet-Lite0 (20 s on 2 cores) ...", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        archive = make_model("efficientnet_lite0", pictures, Path(folder)).archive
        rows: list[Figure] = []
        with localaws(*OPTIONS) as url:
            prepare(url, archive)
            for name, key, count in (("spares", {}, SCALE_OUTS), ("cold", {"AWS_ACCESS_KEY_ID": "x"}, COLD_SCALE_OUTS)):
                rows += rows_of(name, measure(url, name, key, count, pictures[0]))
    publish(rows)


def rows_of(name: str, measured: Measured) -> list[Figure]:
    """Return the rows to print for one endpoint."""
    each = measured.scale_outs
    quiet, starting, refilling = [s.quiet for s in each], [s.starting for s in each], [s.refilling for s in each]
    ratios = [measured.p95([one.starting]) / measured.p95([one.quiet]) for one in each]
    on_time = sum(abs(one.aws_seconds / STARTUP_SECONDS - 1) <= STARTUP_TOLERANCE for one in each)
    before = measured.p95(quiet)
    goal = f"goal <= {GOAL_RATIO}" if name == "spares" else ""
    rows = [
        Figure(f"{name}: p95 before", before, "ms", len(measured.within(quiet))),
        Figure(f"{name}: p95 while two start", measured.p95(starting), "ms", len(measured.within(starting))),
        Figure(f"{name}: ratio of the p95s", measured.p95(starting) / before, "x", len(each), goal),
        Figure(f"{name}: median ratio of a scale-out", statistics.median(ratios), "x", len(each), goal),
        Figure(f"{name}: scale-outs with a ratio <= {GOAL_RATIO}", sum(r <= GOAL_RATIO for r in ratios), "", len(each)),
        Figure(f"{name}: rests with such a ratio to the median rest", steady_rests(measured, quiet), "", len(each)),
        Figure(f"{name}: slowest request while two start", 1000 * max(measured.within(starting)), "ms", len(each)),
        Figure(f"{name}: start-up, median", statistics.median(s.aws_seconds for s in each), "AWS s", len(each)),
        Figure(f"{name}: start-up, longest", max(s.aws_seconds for s in each), "AWS s", len(each)),
        Figure(f"{name}: start-ups within 5 % of {STARTUP_SECONDS} AWS s", on_time, "", len(each), "goal all"),
    ]
    if name == "spares":
        goal, n = f"goal <= {GOAL_RATIO}", len(measured.within(refilling))
        rest_seconds = statistics.median(end - begin for begin, end in refilling)
        rows += [
            Figure("spares: p95 while two load, over p95 before", measured.p95(refilling) / before, "x", n, goal),
            Figure("spares: time to load two spares, median", rest_seconds, "s", len(each)),
            Figure("spares: memory of two spares", measured.spare_bytes / 2**20, "MiB", 1),
        ]
    return rows


def steady_rests(measured: Measured, quiet: Sequence[Span]) -> int:
    """Return the number of rests whose p95 was within the goal, which shows how steady the machine is by itself."""
    p95s = [measured.p95([span]) for span in quiet]
    return sum(p95 <= GOAL_RATIO * statistics.median(p95s) for p95 in p95s)


def measure(url: str, name: str, environment: dict[str, str], count: int, picture: bytes) -> Measured:
    """Make an endpoint, put it under load and scale it out `count` times."""
    make_endpoint(url, name, environment)
    has_spares = not environment
    at_rest = {"wanted": 2, "ready": 2} if has_spares else {"wanted": 0}
    wait_until(lambda: at_rest.items() <= spares(url, name).items())
    spare_bytes = spares(url, name)["memory_bytes"]
    with load(url, name, picture) as requests:
        scale_outs = [scale_out(url, name, at_rest) for _ in range(count)]
    counts = spares(url, name)
    assert (counts["taken"], counts["cold"]) == ((2 * count, 0) if has_spares else (0, 2 * count)), counts
    sagemaker = client("sagemaker", url)
    sagemaker.delete_endpoint(EndpointName=name)
    wait_until(lambda: not sagemaker.list_endpoints(NameContains=name)["Endpoints"])
    return Measured(scale_outs, requests, spare_bytes)


def scale_out(url: str, name: str, at_rest: dict[str, int]) -> ScaleOut:
    """Rest, scale from one instance to three and back to one, and wait until the spares are ready."""
    begun = time.monotonic()
    time.sleep(QUIET_SECONDS)
    decided = time.monotonic()
    scale(url, name, 3)
    time.sleep(0.9 * STARTUP_SECONDS / TIME_SCALE)  # polling during the start-up would be a load of its own
    wait_for_instances(url, name, 3)
    served = time.monotonic()
    scale(url, name, 1)
    wait_for_instances(url, name, 1)
    scaled_in = time.monotonic()
    wait_until(lambda: at_rest.items() <= spares(url, name).items())
    aws_seconds = TIME_SCALE * (served - decided)
    return ScaleOut((begun, decided), (decided, served), (scaled_in, time.monotonic()), aws_seconds)


def scale(url: str, name: str, count: int) -> None:
    """Set the desired number of instances."""
    change = {"VariantName": VARIANT, "DesiredInstanceCount": count}
    client("sagemaker", url).update_endpoint_weights_and_capacities(
        EndpointName=name, DesiredWeightsAndCapacities=[change]
    )


def wait_for_instances(url: str, name: str, count: int) -> None:
    """Wait until `count` instances serve."""
    sagemaker = client("sagemaker", url)

    def serves() -> bool:
        endpoint = sagemaker.describe_endpoint(EndpointName=name)
        is_done: bool = endpoint["EndpointStatus"] == "InService"
        assert not is_done or endpoint["ProductionVariants"][0]["CurrentInstanceCount"] == count, endpoint
        return is_done

    wait_until(serves)


def spares(url: str, name: str) -> dict[str, int]:
    """Return the counts that localaws reports for the endpoint's spares."""
    with urllib.request.urlopen(f"{url}/_localaws/spares", timeout=10) as answer:
        counts: dict[str, int] = json.load(answer)[name][VARIANT]
    return counts


# --- load -------------------------------------------------------------------------------------------------------------


@contextmanager
def load(url: str, name: str, picture: bytes) -> Iterator[list[tuple[float, float]]]:
    """Send a load from another process; the yielded list is filled when the block ends."""
    context = multiprocessing.get_context("spawn")
    requests: list[tuple[float, float]] = []
    ended, (receiving, sending) = context.Event(), context.Pipe(duplex=False)
    sender = context.Process(target=send, args=(url, name, picture, ended, sending), daemon=True)
    sender.start()
    sending.close()
    assert receiving.poll(DEADLINE_SECONDS) and receiving.recv() == "warm"
    try:
        yield requests
    finally:
        ended.set()
        requests += receiving.recv()
        sender.join(DEADLINE_SECONDS)


def send(url: str, name: str, picture: bytes, ended: Any, results: Any) -> None:
    """Send pictures at the rate until `ended`; return the due time and the latency of each through `results`."""
    results.send(asyncio.run(send_all(int(urlsplit(url).port or 0), name, picture, ended, results)))


@functools.cache
def head_of(port: int, name: str, picture: bytes, _minute: int) -> bytes:
    """Return the head of a request; it is signed once a minute."""
    path = f"/endpoints/{name}/invocations"
    headers = {**signed_headers(f"http://127.0.0.1:{port}{path}", picture), "Content-Length": str(len(picture))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode()


async def send_all(port: int, name: str, picture: bytes, ended: Any, warm: Any) -> list[tuple[float, float]]:
    """Start each request when it is due, even if earlier ones are unanswered; send "warm" after the first second."""
    pool, due, tasks, is_warm = ConnectionPool(port), time.monotonic(), set(), False
    requests: list[tuple[float, float]] = []

    async def one(due: float) -> None:
        reply = await pool.exchange(head_of(port, name, picture, int(time.time() / 60)), picture)
        requests.append((due, time.monotonic() - due))
        assert reply.status == 200, reply

    while not ended.is_set():
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tasks.add(asyncio.create_task(one(due)))
        due += 1 / RATE
        if not is_warm and len(requests) >= RATE:
            is_warm = True
            warm.send("warm")
    await asyncio.gather(*tasks)
    return requests


# --- the endpoint -----------------------------------------------------------------------------------------------------


def prepare(url: str, archive: Path) -> None:
    """Upload the model and create its role."""
    s3 = client("s3", url)
    s3.create_bucket(Bucket="bench")
    s3.upload_file(str(archive), "bench", "model.tar.gz")
    make_role(url, "bench")


def make_endpoint(url: str, name: str, environment: dict[str, str]) -> None:
    """Create an endpoint of one instance that may be scaled to three, and wait until it serves."""
    sagemaker = client("sagemaker", url)
    role = client("iam", url).get_role(RoleName="bench")["Role"]["Arn"]
    container = {"Image": IMAGE, "ModelDataUrl": "s3://bench/model.tar.gz", "Environment": environment}
    sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=role)
    variant = {"VariantName": VARIANT, "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    wait_for_instances(url, name, 1)
    client("application-autoscaling", url).register_scalable_target(
        ServiceNamespace="sagemaker",
        ResourceId=f"endpoint/{name}/variant/{VARIANT}",
        ScalableDimension="sagemaker:variant:DesiredInstanceCount",
        MinCapacity=1,
        MaxCapacity=3,
    )


if __name__ == "__main__":
    main()
