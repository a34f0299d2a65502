"""Compare serving a ResNet50 over HTTP, from JPEG to scores: one of our instances against a typical FastAPI server.

`python -m benchmarks.serving` prints the ratios of requests per second and of median latency. Both servers run at the
same time and get the same pictures in turns. They use the same weights: a random backbone and a head that is fitted so
that each picture is a class of its own, which makes comparing their top-1 classes a real check. Our server loads a
`model.tar.gz` that training's export wrote. Not covered: localaws's front server (see `localaws_front.py`), int8.
"""

import asyncio
import io
import json
import os
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import uvloop
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images

from localaws.sagemaker.endpoints.connections import ConnectFailed, ConnectionPool
from localaws.sagemaker.model_server.archive import unpack
from tasks.run.machine import hardware
from training.export import save_model
from training.model import Backbone, Classifier, Embedder, Head, Standardisation, build_backbone
from training.preprocess import load_for_evaluation

ROUNDS = 7
PICTURES = 12
CONCURRENCY = 4
READY_SECONDS = 60.0
AGREEMENT = 1.0  # the required share of pictures with the same top-1 class


@dataclass(frozen=True)
class Server:
    """A running server; `ready_seconds` is the time from its start to its first successful ping."""

    name: str
    pool: ConnectionPool
    ready_seconds: float


@dataclass(frozen=True)
class Round:
    """One turn of one server: the median latency of single requests, and the rate with four at a time."""

    p50_ms: float
    requests_per_second: float


def main() -> None:
    """Run the benchmark and print its table; the exit status is 1 when the two servers disagree."""
    pictures = make_pictures()
    print("exporting a ResNet50 for both servers (20 s on 2 cores) ...", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        model = make_model("resnet50", pictures, Path(folder))
        weights = save_stock_weights(model, Path(folder) / "stock.safetensors")
        print(f"model.tar.gz {model.archive.stat().st_size / 1e6:.0f} MB, {len(pictures)} pictures", flush=True)
        with ours(model.archive, Path(folder)) as (port, begun), stock(weights, len(pictures)) as (other, other_begun):
            uvloop.run(compare(port, begun, other, other_begun, pictures))


async def compare(port: int, begun: float, other: int, other_begun: float, pictures: Sequence[bytes]) -> None:
    """Send requests to both servers in turns and print the medians."""
    mine, theirs = await ready("ours", port, begun), await ready("FastAPI+PIL+torch", other, other_begun)
    agreement = await check_agreement(mine, theirs, pictures)
    rounds: dict[str, list[Round]] = {mine.name: [], theirs.name: []}
    for number in range(1, ROUNDS + 1):
        for server, repeats in ((theirs, 1), (mine, 4)):
            turn = await measure(server, list(pictures) * repeats)
            rounds[server.name].append(turn)
            print(f"round {number}: {server.name} {turn.p50_ms:.1f} ms, {turn.requests_per_second:.1f}/s", flush=True)
    report(rounds, (mine, theirs), agreement)


async def ready(name: str, port: int, begun: float) -> Server:
    """Wait until a server responds to a ping.

    Raises:
        TimeoutError: it did not within a minute.
    """
    pool, deadline = ConnectionPool(port), time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            await pool.exchange(b"GET /ping HTTP/1.1\r\nhost: localhost\r\n\r\n", b"")
            return Server(name, pool, time.monotonic() - begun)
        except ConnectFailed:
            await asyncio.sleep(0.01)
    raise TimeoutError(f"{name} did not answer within {READY_SECONDS:.0f} s")


async def check_agreement(mine: Server, theirs: Server, pictures: Sequence[bytes]) -> float:
    """Return the share of pictures for which both servers have the same top-1 class.

    Raises:
        SystemExit: the share is below `AGREEMENT`, because the speed of wrong results means nothing.
    """
    same = 0
    for picture in pictures:
        scores = [json.loads(await ask(server, picture))["scores"] for server in (mine, theirs)]
        same += int(np.argmax(scores[0]) == np.argmax(scores[1]))
    if same / len(pictures) < AGREEMENT:
        raise SystemExit(f"the servers have the same top-1 class for only {same} of {len(pictures)} pictures")
    return same / len(pictures)


async def measure(server: Server, pictures: Sequence[bytes]) -> Round:
    """Run one turn of a server."""
    seconds = []
    for picture in pictures:
        started = time.perf_counter()
        await ask(server, picture)
        seconds.append(time.perf_counter() - started)
    waiting = iter(pictures)
    started = time.perf_counter()
    await asyncio.gather(*(ask_all(server, waiting) for _ in range(CONCURRENCY)))
    return Round(statistics.median(seconds) * 1e3, len(pictures) / (time.perf_counter() - started))


async def ask_all(server: Server, waiting: Iterator[bytes]) -> None:
    """Send the pictures that are left in a shared iterator."""
    for picture in waiting:
        await ask(server, picture)


async def ask(server: Server, picture: bytes) -> bytes:
    """Send one picture and return the body of the response.

    Raises:
        RuntimeError: the status is not 200.
    """
    head = b"POST /invocations HTTP/1.1\r\nhost: localhost\r\ncontent-type: image/jpeg\r\ncontent-length: %d\r\n\r\n"
    reply = await server.pool.exchange(head % len(picture), picture)
    if reply.status != 200:
        raise RuntimeError(f"{server.name} answered {reply.status}: {reply.body[:200]!r}")
    return reply.body


def make_pictures() -> list[bytes]:
    """Return JPEGs of 500 × 375 px, cut from scikit-learn's two sample photos."""
    random = np.random.default_rng(0)
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    pictures = []
    for number in range(PICTURES):
        photo = photos[number % len(photos)]
        width = int(random.integers(240, 480))
        left = int(random.integers(0, photo.width - width))
        top = int(random.integers(0, photo.height - width * 3 // 4))
        cut = photo.crop((left, top, left + width, top + width * 3 // 4)).resize((500, 375), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        cut.save(buffer, "JPEG", quality=90)
        pictures.append(buffer.getvalue())
    return pictures


@dataclass(frozen=True)
class FittedModel:
    """A random backbone with a fitted head, and the model.tar.gz in which both are exported."""

    archive: Path
    backbone: Backbone
    head: torch.nn.Sequential


def make_model(backbone_name: str, pictures: Sequence[bytes], folder: Path) -> FittedModel:
    """Export a random backbone whose head is fitted so that each picture is a class of its own."""
    torch.manual_seed(0)
    backbone = build_backbone(backbone_name)
    embedder = Embedder(backbone).eval()
    images = np.stack([load_for_evaluation(picture, backbone.preprocessing) for picture in pictures])
    with torch.no_grad():
        features = torch.cat([embedder(torch.from_numpy(image[None])) for image in images])
    head = fit_head(features)
    meta = {
        "classes": [f"picture-{number:02d}" for number in range(len(pictures))],
        "preprocessing": asdict(backbone.preprocessing),
        "backbone": backbone.name,
        "data_digest": "none",
    }
    saved = folder / "saved"
    save_model(Classifier(embedder, head), meta, None, images=images[:4], target=saved)
    archive = folder / "model.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for path in sorted(saved.iterdir()):
            tar.add(path, path.name)
    return FittedModel(archive, backbone, head)


def save_stock_weights(model: FittedModel, path: Path) -> Path:
    """Write the same weights under torchvision's names, for the stock server; return the path."""
    network, head = model.backbone.network.state_dict(), model.head.state_dict()
    state = network | {f"fc.{name}": value for name, value in head.items()}
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    return path


def fit_head(features: torch.Tensor) -> torch.nn.Sequential:
    """Fit a head to features (N, width) so that row i is class i: random hidden layer, ridge regression."""
    standardisation = Standardisation.of(features)
    head = Head(features.shape[1], len(features))
    with torch.no_grad():
        hidden = torch.relu(head.hidden(standardisation.apply(features).float())).double()
        wanted = 10.0 * torch.eye(len(features), dtype=torch.float64)
        gram = hidden @ hidden.T + 1e-3 * torch.eye(len(features), dtype=torch.float64)
        head.output.weight.copy_((hidden.T @ torch.linalg.solve(gram, wanted)).T)
        head.output.bias.zero_()
    return head.folded(standardisation)


@contextmanager
def ours(archive: Path, folder: Path) -> Iterator[tuple[int, float]]:
    """Run our model server like localaws does; yield its port and its start time."""
    unpack(archive, folder / "unpacked")
    port = free_port()
    environment = {**os.environ, "SM_MODEL_DIR": str(folder / "unpacked"), "SAGEMAKER_BIND_TO_PORT": str(port)}
    with running([sys.executable, "-m", "localaws.sagemaker.model_server"], environment) as begun:
        yield port, begun


@contextmanager
def stock(weights: Path, classes: int) -> Iterator[tuple[int, float]]:
    """Run the stock server; yield its port and its start time."""
    port = free_port()
    script = str(Path(__file__).with_name("serving_stock.py"))
    with running([sys.executable, script, str(weights), str(classes), str(port)], dict(os.environ)) as begun:
        yield port, begun


@contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[float]:
    """Run a server until the block ends; yield its start time."""
    begun = time.monotonic()
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            yield begun
        finally:
            process.terminate()


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def report(rounds: dict[str, list[Round]], servers: Sequence[Server], agreement: float) -> None:
    """Print medians and ratios, with the number of measurements and the machine."""
    medians = {
        name: (statistics.median(r.p50_ms for r in turns), statistics.median(r.requests_per_second for r in turns))
        for name, turns in rounds.items()
    }
    for server in servers:
        p50, rate = medians[server.name]
        print(f"{server.name:18} p50 {p50:7.2f} ms   {rate:7.1f} req/s   ready {server.ready_seconds:.2f} s")
    (our_p50, our_rate), (p50, rate) = (medians[server.name] for server in servers)
    print(f"ratio: {our_rate / rate:.1f}x the req/s, {p50 / our_p50:.1f}x lower p50")
    print(
        f"medians of {ROUNDS} rounds each, in turns; n = {PICTURES} pictures per round (4 times for ours), "
        f"{CONCURRENCY} at once for req/s; top-1 agreement {agreement:.0%}; "
        f"{hardware()}, load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
