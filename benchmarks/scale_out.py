"""localaws: what serving feels of a scale-out, and how long an instance takes against the start-up that is set.

`python -m benchmarks.scale_out` prints one row a measurement, beside its goal where it has one. A server at time scale
90 with `--capacity ml.m5.large=4:40ms --instance-startup-seconds 120` serves an EfficientNet-Lite0 (random weights, a
fitted head, exported as training does) to a steady open load from a process of its own; latency counts from when a
request was due. Then the fleet goes 20 times from 1 to 3 instances and back. The same is done with an endpoint that has
no spares, because its model brings an AWS key of its own: what starting cold costs. The control: how many of the rests
before were as steady, which is what the machine does by itself. The guards: each answer is 200, the instance counts are
those asked for, and the spares were taken (or none was).
"""

import asyncio
import functools
import json
import multiprocessing
import statistics
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from benchmarks.localaws_front import DEADLINE_SECONDS, IMAGE, SIGNATURE, TRUST, Row, _client, _command
from localaws.sagemaker.endpoints.connections import ConnectionPool
from tasks.run.machine import hardware

TIME_SCALE = 90
STARTUP_SECONDS = 120  # AWS's; 1.33 s real
RULE = "ml.m5.large=4:40ms"
RATE = 70.0  # requests a second, seven tenths of what one instance's rule allows
SCALE_OUTS = 20
COLD_SCALE_OUTS = 8
QUIET_SECONDS = 2.0  # before each
NEAR = 0.05
GOAL_RATIO = 1.3
VARIANT = "AllTraffic"

Span = tuple[float, float]


@dataclass(frozen=True)
class ScaleOut:
    """One of them: spans of the monotonic clock at rest, until three instances serve, and until all is at rest."""

    quiet: Span
    starting: Span
    refilling: Span
    aws_seconds: float


@dataclass(frozen=True)
class Measured:
    """All scale-outs of one endpoint, with every request's due time and latency in seconds."""

    scale_outs: list[ScaleOut]
    requests: list[tuple[float, float]]
    spare_bytes: int

    def p95(self, spans: Sequence[Span]) -> float:
        """Return the 95th percentile in ms of the requests that were due within the spans."""
        return float(np.percentile([1000 * seconds for seconds in self.within(spans)], 95))

    def within(self, spans: Sequence[Span]) -> list[float]:
        """Return the latencies of the requests that were due within the spans."""
        return [seconds for due, seconds in self.requests if any(begin <= due < end for begin, end in spans)]


def main() -> None:
    """Measure and print."""
    from benchmarks.serving import make_pictures  # torch comes with it, which the process that sends does not wait for

    picture = make_pictures()[0]
    print("exporting an EfficientNet-Lite0 (20 s on 2 cores) ...", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        archive = make_archive(Path(folder))
        rows: list[Row] = []
        with server() as url:
            prepare(url, archive)
            for name, key, count in (("spares", {}, SCALE_OUTS), ("cold", {"AWS_ACCESS_KEY_ID": "x"}, COLD_SCALE_OUTS)):
                rows += rows_of(name, measure(url, name, key, count, picture))
    print(hardware())
    for row in rows:
        print(f"{row.what:62} {row.value:8.2f} {row.unit:6} n={row.n:<5} {row.goal}")


def rows_of(name: str, measured: Measured) -> list[Row]:
    """Return what is printed of one endpoint."""
    each = measured.scale_outs
    quiet, starting, refilling = [s.quiet for s in each], [s.starting for s in each], [s.refilling for s in each]
    ratios = [measured.p95([one.starting]) / measured.p95([one.quiet]) for one in each]
    near = sum(abs(one.aws_seconds / STARTUP_SECONDS - 1) <= NEAR for one in each)
    before = measured.p95(quiet)
    goal = f"goal <= {GOAL_RATIO}" if name == "spares" else ""
    rows = [
        Row(f"{name}: p95 before", before, "ms", len(measured.within(quiet))),
        Row(f"{name}: p95 while two start", measured.p95(starting), "ms", len(measured.within(starting))),
        Row(f"{name}: ratio of the p95s", measured.p95(starting) / before, "x", len(each), goal),
        Row(f"{name}: median ratio of a scale-out", statistics.median(ratios), "x", len(each), goal),
        Row(f"{name}: scale-outs with such a ratio", sum(r <= GOAL_RATIO for r in ratios), "", len(each)),
        Row(f"{name}: rests with such a ratio to the median rest", steady_rests(measured, quiet), "", len(each)),
        Row(f"{name}: slowest request while two start", 1000 * max(measured.within(starting)), "ms", len(each)),
        Row(f"{name}: start-up, median", statistics.median(s.aws_seconds for s in each), "AWS s", len(each)),
        Row(f"{name}: start-up, longest", max(s.aws_seconds for s in each), "AWS s", len(each)),
        Row(f"{name}: start-ups within 5 % of {STARTUP_SECONDS} AWS s", near, "", len(each), "goal all"),
    ]
    if name == "spares":
        goal, n = f"goal <= {GOAL_RATIO}", len(measured.within(refilling))
        rest_seconds = statistics.median(end - begin for begin, end in refilling)
        rows += [
            Row("spares: p95 while two are loaded again, over before", measured.p95(refilling) / before, "x", n, goal),
            Row("spares: to load two again, median", rest_seconds, "s", len(each)),
            Row("spares: memory of two", measured.spare_bytes / 2**20, "MiB", 1),
        ]
    return rows


def steady_rests(measured: Measured, quiet: Sequence[Span]) -> int:
    """Return in how many of the rests the p95 was no worse than the goal allows: what the machine does by itself."""
    p95s = [measured.p95([span]) for span in quiet]
    return sum(p95 <= GOAL_RATIO * statistics.median(p95s) for p95 in p95s)


def measure(url: str, name: str, environment: dict[str, str], count: int, picture: bytes) -> Measured:
    """Serve, load and scale `count` times."""
    make_endpoint(url, name, environment)
    has_spares = not environment
    at_rest = {"wanted": 2, "ready": 2} if has_spares else {"wanted": 0}
    until(lambda: at_rest.items() <= spares(url, name).items())
    spare_bytes = spares(url, name)["memory_bytes"]
    with load(url, name, picture) as requests:
        scale_outs = [scale_out(url, name, at_rest) for _ in range(count)]
    told = spares(url, name)
    assert (told["taken"], told["cold"]) == ((2 * count, 0) if has_spares else (0, 2 * count)), told
    sagemaker = client("sagemaker", url)
    sagemaker.delete_endpoint(EndpointName=name)
    until(lambda: not sagemaker.list_endpoints(NameContains=name)["Endpoints"])
    return Measured(scale_outs, requests, spare_bytes)


def scale_out(url: str, name: str, at_rest: dict[str, int]) -> ScaleOut:
    """Rest, go from one instance to three, back to one, and wait for the spares."""
    begun = time.monotonic()
    time.sleep(QUIET_SECONDS)
    decided = time.monotonic()
    scale(url, name, 3)
    time.sleep(0.9 * STARTUP_SECONDS / TIME_SCALE)  # to ask all the time would be a load of its own
    wait_for(url, name, 3)
    served = time.monotonic()
    scale(url, name, 1)
    wait_for(url, name, 1)
    scaled_in = time.monotonic()
    until(lambda: at_rest.items() <= spares(url, name).items())
    aws_seconds = TIME_SCALE * (served - decided)
    return ScaleOut((begun, decided), (decided, served), (scaled_in, time.monotonic()), aws_seconds)


def scale(url: str, name: str, count: int) -> None:
    """Ask for another number of instances."""
    change = {"VariantName": VARIANT, "DesiredInstanceCount": count}
    client("sagemaker", url).update_endpoint_weights_and_capacities(
        EndpointName=name, DesiredWeightsAndCapacities=[change]
    )


def wait_for(url: str, name: str, count: int) -> None:
    """Wait until so many instances serve."""
    sagemaker = client("sagemaker", url)

    def serves() -> bool:
        told = sagemaker.describe_endpoint(EndpointName=name)
        is_done: bool = told["EndpointStatus"] == "InService"
        assert not is_done or told["ProductionVariants"][0]["CurrentInstanceCount"] == count, told
        return is_done

    until(serves)


@functools.cache
def client(service: str, url: str) -> Any:
    """Return a client; to make one takes tens of ms, which would count as start-up."""
    return _client(service, url)


def spares(url: str, name: str) -> dict[str, int]:
    """Return what the server says of the endpoint's spares."""
    with urllib.request.urlopen(f"{url}/_localaws/spares", timeout=10) as answer:
        told: dict[str, int] = json.load(answer)[name][VARIANT]
    return told


def until(is_true: Callable[[], bool]) -> None:
    """Ask every 10 ms, for a minute at most."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_true():
        assert time.monotonic() < deadline, f"not within {DEADLINE_SECONDS:.0f} s"
        time.sleep(0.01)


# --- load -------------------------------------------------------------------------------------------------------------


@contextmanager
def load(url: str, name: str, picture: bytes) -> Iterator[list[tuple[float, float]]]:
    """Load the endpoint from another process; the list that is yielded is filled at the end."""
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
    """Send pictures at the rate until `ended`; hand over when each was due and how long it took from then."""
    results.send(asyncio.run(send_all(int(urlsplit(url).port or 0), name, picture, ended, results)))


async def send_all(port: int, name: str, picture: bytes, ended: Any, warm: Any) -> list[tuple[float, float]]:
    """Start each request when it is due, whatever became of those before; say `warm` after the first second."""
    pool, due, tasks, is_warm = ConnectionPool(port), time.monotonic(), set(), False
    head = (
        f"POST /endpoints/{name}/invocations HTTP/1.1\r\nHost: localhost\r\nAuthorization: {SIGNATURE}\r\n"
        f"Content-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
    ).encode()
    requests: list[tuple[float, float]] = []

    async def one(due: float) -> None:
        reply = await pool.exchange(head, picture)
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


# --- what is served ---------------------------------------------------------------------------------------------------


@contextmanager
def server() -> Iterator[str]:
    """Run localaws with the clock, capacity and start-up; yield its url."""
    clock = ("--time-scale", str(TIME_SCALE), "--instance-startup-seconds", str(STARTUP_SECONDS), "--capacity", RULE)
    with tempfile.TemporaryDirectory() as home:
        _command("start", "--home", home, "--port", "0", *clock)
        try:
            yield f"http://127.0.0.1:{json.loads((Path(home) / 'server.json').read_text())['port']}"
        finally:
            _command("stop", "--home", home)


def prepare(url: str, archive: Path) -> None:
    """Upload the model and make its role."""
    s3 = client("s3", url)
    s3.create_bucket(Bucket="bench")
    s3.upload_file(str(archive), "bench", "model.tar.gz")
    client("iam", url).create_role(RoleName="bench", AssumeRolePolicyDocument=TRUST)


def make_endpoint(url: str, name: str, environment: dict[str, str]) -> None:
    """Make an endpoint of one instance that may be scaled to three, and wait until it serves."""
    sagemaker = client("sagemaker", url)
    role = client("iam", url).get_role(RoleName="bench")["Role"]["Arn"]
    container = {"Image": IMAGE, "ModelDataUrl": "s3://bench/model.tar.gz", "Environment": environment}
    sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=role)
    variant = {"VariantName": VARIANT, "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    wait_for(url, name, 1)
    client("application-autoscaling", url).register_scalable_target(
        ServiceNamespace="sagemaker",
        ResourceId=f"endpoint/{name}/variant/{VARIANT}",
        ScalableDimension="sagemaker:variant:DesiredInstanceCount",
        MinCapacity=1,
        MaxCapacity=3,
    )


def make_archive(folder: Path) -> Path:
    """Return a model.tar.gz with a random EfficientNet-Lite0, its head fitted to the pictures."""
    import torch

    from benchmarks.serving import fit_head, make_pictures
    from training.export import save_model
    from training.model import Classifier, Embedder, build_backbone
    from training.preprocess import load_for_evaluation

    torch.manual_seed(0)
    backbone = build_backbone("efficientnet_lite0")
    embedder = Embedder(backbone).eval()
    images = np.stack([load_for_evaluation(each, backbone.preprocessing) for each in make_pictures()])
    with torch.no_grad():
        features = torch.cat([embedder(torch.from_numpy(image[None])) for image in images])
    meta = {
        "classes": [f"picture-{number:02d}" for number in range(len(images))],
        "preprocessing": asdict(backbone.preprocessing),
        "backbone": backbone.name,
        "data_digest": "none",
    }
    save_model(Classifier(embedder, fit_head(features)), meta, images=images[:4], target=folder / "saved")
    archive = folder / "model.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for path in sorted((folder / "saved").iterdir()):
            tar.add(path, path.name)
    return archive


if __name__ == "__main__":
    main()
