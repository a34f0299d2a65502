"""Serving ResNet50, JPEG in, scores out, over HTTP: the server a user would write against one instance of ours.

`python -m benchmarks.serving` prints the ratio of requests a second and of median latency. Both servers run at once and
are asked in turns, the same pictures in the same order, on the same weights: random ones, with a head fitted so that
every picture is a class of its own, which makes an equal top-1 a real check. Ours is started from a `model.tar.gz` made
by the training room's export. Not covered: the way through localaws' front (see `localaws_front.py`), int8.
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
from training.model import Classifier, Embedder, Head, Standardisation, build_backbone
from training.preprocess import load_for_evaluation

ROUNDS = 7
PICTURES = 12
CONCURRENCY = 4
READY_SECONDS = 60.0
AGREEMENT = 1.0  # of top-1 over all pictures


@dataclass(frozen=True)
class Server:
    """One of the two, listening. `ready_seconds`: from its start to its first answered ping."""

    name: str
    pool: ConnectionPool
    ready_seconds: float


@dataclass(frozen=True)
class Round:
    """One turn of one server: median latency one at a time, and the rate with four at a time."""

    p50_ms: float
    requests_per_second: float


def main() -> None:
    """Run the benchmark and print its table; exit status 1 when the two servers disagree."""
    pictures = make_pictures()
    print("exporting a ResNet50 for both servers (20 s on 2 cores) ...", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        archive, weights = make_model(pictures, Path(folder))
        print(f"model.tar.gz {archive.stat().st_size / 1e6:.0f} MB, {len(pictures)} pictures", flush=True)
        with ours(archive, Path(folder)) as (port, begun), stock(weights, len(pictures)) as (other, other_begun):
            uvloop.run(compare(port, begun, other, other_begun, pictures))


async def compare(port: int, begun: float, other: int, other_begun: float, pictures: Sequence[bytes]) -> None:
    """Ask both in turns and print medians."""
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
    """Wait for the first answered ping.

    Raises:
        TimeoutError: there was none within a minute.
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
    """Return the share of pictures with the same top-1.

    Raises:
        SystemExit: it is not what it has to be, so that no speed of a wrong answer is printed.
    """
    same = 0
    for picture in pictures:
        scores = [json.loads(await ask(server, picture))["scores"] for server in (mine, theirs)]
        same += int(np.argmax(scores[0]) == np.argmax(scores[1]))
    if same / len(pictures) < AGREEMENT:
        raise SystemExit(f"top-1 agrees on {same} of {len(pictures)} pictures only")
    return same / len(pictures)


async def measure(server: Server, pictures: Sequence[bytes]) -> Round:
    """Return one turn."""
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
    """Ask for what is left of a shared list."""
    for picture in waiting:
        await ask(server, picture)


async def ask(server: Server, picture: bytes) -> bytes:
    """Return the body of the answer to one picture.

    Raises:
        RuntimeError: the answer is not 200.
    """
    head = b"POST /invocations HTTP/1.1\r\nhost: localhost\r\ncontent-type: image/jpeg\r\ncontent-length: %d\r\n\r\n"
    reply = await server.pool.exchange(head % len(picture), picture)
    if reply.status != 200:
        raise RuntimeError(f"{server.name} answered {reply.status}: {reply.body[:200]!r}")
    return reply.body


def make_pictures() -> list[bytes]:
    """Cut JPEGs of 500 x 375 px from scikit-learn's two sample photos."""
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


def make_model(pictures: Sequence[bytes], folder: Path) -> tuple[Path, Path]:
    """Return our model.tar.gz and the stock server's weights, of the same random ResNet50 with a fitted head."""
    torch.manual_seed(0)
    backbone = build_backbone("resnet50")
    embedder = Embedder(backbone).eval()
    images = np.stack([load_for_evaluation(picture, backbone.preprocessing) for picture in pictures])
    with torch.no_grad():
        features = torch.cat([embedder(torch.from_numpy(image[None])) for image in images])
    head = fit_head(features)
    meta = {
        "classes": [f"picture-{number:02d}" for number in range(len(pictures))],
        "preprocessing": asdict(backbone.preprocessing),
        "backbone": "resnet50",
        "data_digest": "none",
    }
    model = folder / "saved"
    save_model(Classifier(embedder, head), meta, images=images[:4], target=model)
    archive = folder / "model.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for path in sorted(model.iterdir()):
            tar.add(path, path.name)
    state = backbone.network.state_dict() | {f"fc.{name}": value for name, value in head.state_dict().items()}
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "stock.safetensors")
    return archive, folder / "stock.safetensors"


def fit_head(features: torch.Tensor) -> torch.nn.Sequential:
    """Fit the reference head to features (N, 2048) so that row i is class i: random hidden layer, ridge regression."""
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
    """Run one instance as localaws does; yield its port and the time of its start."""
    unpack(archive, folder / "unpacked")
    port = free_port()
    environment = {**os.environ, "SM_MODEL_DIR": str(folder / "unpacked"), "SAGEMAKER_BIND_TO_PORT": str(port)}
    with running([sys.executable, "-m", "localaws.sagemaker.model_server"], environment) as begun:
        yield port, begun


@contextmanager
def stock(weights: Path, classes: int) -> Iterator[tuple[int, float]]:
    """Run the stock server; yield its port and the time of its start."""
    port = free_port()
    script = str(Path(__file__).with_name("serving_stock.py"))
    with running([sys.executable, script, str(weights), str(classes), str(port)], dict(os.environ)) as begun:
        yield port, begun


@contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[float]:
    """Run a server until the block ends; yield the time of its start."""
    begun = time.monotonic()
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            yield begun
        finally:
            process.terminate()


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def report(rounds: dict[str, list[Round]], servers: Sequence[Server], agreement: float) -> None:
    """Print medians and ratios with what they were measured on."""
    medians = {
        name: (statistics.median(r.p50_ms for r in turns), statistics.median(r.requests_per_second for r in turns))
        for name, turns in rounds.items()
    }
    for server in servers:
        p50, rate = medians[server.name]
        print(f"{server.name:18} p50 {p50:7.2f} ms   {rate:7.1f} req/s   ready {server.ready_seconds:.2f} s")
    (our_p50, our_rate), (p50, rate) = (medians[server.name] for server in servers)
    print(f"ratio: {our_rate / rate:.1f}x req/s, {p50 / our_p50:.1f}x lower p50")
    print(
        f"median of {ROUNDS} rounds each, interleaved; n = {PICTURES} pictures a round (ours 4 times), "
        f"{CONCURRENCY} at once for req/s; top-1 agreement {agreement:.0%}; "
        f"{hardware()}, load {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
