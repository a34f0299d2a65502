"""Run the frozen backbone on the fastest available engine that agrees with torch fp32.

The candidates are tried in this order. On a CPU: OpenVINO (bf16 where native), torch bf16 channels_last, torch fp32. On
a GPU: torch bf16, torch fp32. A candidate is accepted when, on one batch of real images, the relative error of every
feature vector against torch fp32 is at most `TOLERANCE` (norm of the difference over norm of the vector). Otherwise the
reason is logged and the next candidate is tried.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from training.graphs import has_bf16, import_openvino
from training.model import Embedder
from training.preprocess import Pixels

# bf16 has 8 bits of precision. Largest errors measured: EfficientNet-Lite0 0.047 on 48 photos and 0.087 on flat
# drawings, ResNet50 0.005. A broken engine has an error of 1 or more.
TOLERANCE = 0.15
_CPU_BATCH = 8  # per stream: fits the L2 cache and fills AMX; fastest of 1, 4, 8, 16, 32 for ResNet50 and Lite0
_GPU_BATCH = 256

Features = npt.NDArray[np.float32]


class Engine(Protocol):
    """Turns batches of `batch_size` images, (B, H, W, 3) uint8, into features, (B, width) float32, in order."""

    name: str
    batch_size: int

    def run(self, batches: Iterable[Pixels]) -> Iterator[Features]: ...


class EngineUnavailable(Exception):
    """This machine cannot run the engine; the message names what is missing."""


@dataclass(frozen=True)
class Choice:
    """The chosen engine, and its largest relative error against torch fp32 over `images` images."""

    engine: Engine
    error: float
    images: int


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread on the CPU, for what is small.

    A step of a head takes 2 ms on one, 2 to 7 ms on two (2048 wide, batch 32, float64). Where another program has one
    of two cores, each layer waits for the thread that has none: an image through EfficientNet-Lite0 took 0.54 to 1.5 s
    on two threads and 0.04 s on one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class TorchEngine:
    """Eager torch in channels_last memory format; the same code runs bf16 (by autocast) and fp32."""

    def __init__(self, embedder: Embedder, device: torch.device, *, is_bf16: bool) -> None:
        if is_bf16 and not torch_has_bf16(device):
            raise EngineUnavailable(f"torch has no native bf16 on this {device.type}")
        self.name = f"torch-{device.type}-{'bf16' if is_bf16 else 'fp32'}"
        self.batch_size = _GPU_BATCH if device.type == "cuda" else 4 * _CPU_BATCH
        self._embedder = embedder.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = device
        self._is_bf16 = is_bf16

    def run(self, batches: Iterable[Pixels]) -> Iterator[Features]:
        for batch in batches:
            yield self._forward(batch)

    @torch.inference_mode()
    def _forward(self, batch: Pixels) -> Features:
        images = torch.from_numpy(batch).to(self._device, non_blocking=True)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._is_bf16):
            features = self._embedder(images)
        return np.asarray(features.float().cpu().numpy())


def torch_has_bf16(device: torch.device) -> bool:
    """Whether torch multiplies bfloat16 natively on this device."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class OpenVinoEngine:
    """OpenVINO on the CPU with one stream per thread, so that features do not depend on the number of threads."""

    def __init__(self, embedder: Embedder, *, side: int, threads: int) -> None:
        try:
            openvino = import_openvino()
        except ImportError as error:
            raise EngineUnavailable("openvino is not installed") from error
        core = openvino.Core()
        precision = "bf16" if has_bf16(core) else "f32"
        self.name = f"openvino-cpu-{precision}"
        self.batch_size = _CPU_BATCH
        self._streams = threads
        graph = traced_graph(openvino, embedder, torch.zeros((_CPU_BATCH, side, side, 3), dtype=torch.uint8))
        options = {
            "INFERENCE_PRECISION_HINT": precision,
            "NUM_STREAMS": threads,
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,  # ranks that share a host would pin the same cores
        }
        self._compiled = core.compile_model(graph, "CPU", options)

    def run(self, batches: Iterable[Pixels]) -> Iterator[Features]:
        # No Python callback, because it can deadlock: OpenVINO's threads need the interpreter's lock to release it,
        # while the thread that destroys the network holds that lock and waits for them (seen once in some 100 runs).
        idle = [self._compiled.create_infer_request() for _ in range(2 * self._streams)]  # one computes, one queued
        running: deque[Any] = deque()
        for batch in batches:
            if not idle:
                oldest = running.popleft()
                yield _features(oldest)
                idle.append(oldest)
            running.append(idle.pop())
            running[-1].start_async([batch])
        while running:
            yield _features(running.popleft())


def _features(request: Any) -> Features:
    request.wait()
    return np.asarray(request.get_output_tensor().data.copy())


def traced_graph(openvino: Any, module: torch.nn.Module, images: torch.Tensor) -> Any:
    """Convert a module with one (N, H, W, 3) uint8 input to an OpenVINO graph of that fixed shape.

    torch's own check of the trace is skipped, because it runs the network twice more and callers compare the graph with
    torch anyway.
    """
    with torch.inference_mode(), one_thread():
        traced = torch.jit.trace(module, images, check_trace=False)  # type: ignore[no-untyped-call]
    return openvino.convert_model(traced, example_input=images, input=list(images.shape))


def choose_engine(
    embedder: Embedder,
    images: Pixels,
    *,
    device: torch.device,
    threads: int,
    say: Callable[[str], None],
    candidates: Sequence[Callable[[], Engine]] | None = None,
) -> Choice:
    """Return the first candidate that agrees with torch fp32 on `images`, (N, H, W, 3) uint8, else torch fp32."""
    reference = TorchEngine(embedder, device, is_bf16=False)
    with one_thread():
        expected = next(reference.run([images]))
    for build in candidates or _candidates(embedder, device, images.shape[1], threads):
        try:
            engine = build()
        except EngineUnavailable as reason:
            say(f"engine skipped: {reason}")
            continue
        error = relative_error(run_padded(engine, images), expected)
        if error <= TOLERANCE:
            return Choice(engine, error, len(images))
        say(
            f"engine REFUSED: the features of {engine.name} differ from torch fp32 by {error:.4f} of their norm; "
            f"the limit is {TOLERANCE}"
        )
    return Choice(reference, 0.0, len(images))


def _candidates(embedder: Embedder, device: torch.device, side: int, threads: int) -> list[Callable[[], Engine]]:
    torch_bf16: Callable[[], Engine] = lambda: TorchEngine(embedder, device, is_bf16=True)  # noqa: E731
    if device.type == "cuda":
        return [torch_bf16]
    return [lambda: OpenVinoEngine(embedder, side=side, threads=threads), torch_bf16]


def relative_error(features: Features, expected: Features) -> float:
    """Return the largest ‖features - expected‖ / ‖expected‖ of all rows; infinite if a feature is not finite."""
    if not np.isfinite(features).all():
        return float("inf")
    norms = np.linalg.norm(expected, axis=1)
    return float((np.linalg.norm(features - expected, axis=1) / np.maximum(norms, 1e-12)).max())


def run_padded(engine: Engine, images: Pixels) -> Features:
    """Run any number of images through an engine; the last batch is padded."""
    return np.concatenate(list(engine.run(padded_batches([images], engine.batch_size))))[: len(images)]


def padded_batches(groups: Iterable[Pixels], batch_size: int) -> Iterator[Pixels]:
    """Regroup (k, H, W, 3) arrays into batches of exactly `batch_size`; the last batch is padded with zeros."""
    pending: list[Pixels] = []
    count = 0
    for group in groups:
        pending.append(group)
        count += len(group)
        while count >= batch_size:
            rows = np.concatenate(pending)
            yield np.ascontiguousarray(rows[:batch_size])
            pending, count = [rows[batch_size:]], count - batch_size
    if count:
        rows = np.concatenate(pending)
        yield np.concatenate([rows, np.zeros((batch_size - count, *rows.shape[1:]), np.uint8)])
