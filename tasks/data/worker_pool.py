"""Prepare all images of a source on all cores, in worker processes that a bad image may crash without harm.

Each worker is `python -m tasks.data.worker` with its own spool file; chunks go to any free worker. A worker that dies
or exceeds its deadline is replaced, and its chunk is repeated one image at a time. An image that crashes the worker
again is quarantined. This process holds one small record for each image and no pixels.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import queue
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.data.entries import Entry, Listing
from tasks.data.image_judgement import ImageLimits
from tasks.run.disk import disk_failure
from tasks.run.errors import KennelError
from tasks.run.own_files import ANEW, open_own
from tasks.run.progress import Progress, ProgressFactory
from tasks.run.sealed import parse_json

CHUNK_IMAGES = 512
CHUNK_BYTES = 8 * 2**20
START_SECONDS = 60.0
CHUNK_SECONDS = 120.0
ONE_IMAGE_SECONDS = 30.0
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded image: its index in the listing, two hex sha256 digests, and the position of its bytes in a spool.

    `thumbnail`: 16 x 16 grey levels, row by row; `notes`: how the picture was read; `source_size`: width
    and height of the file's picture in px.
    """

    index: int
    source_sha256: str
    staged_sha256: str
    width: int
    height: int
    spool: Path
    offset: int
    size_bytes: int
    thumbnail: bytes = b""
    notes: tuple[str, ...] = ()
    source_size: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Rejected:
    """An image that cannot be used, and the reason."""

    index: int
    reason: str


Chunk = list[tuple[int, Entry]]


def decode_all(
    listing: Listing,
    wanted: Sequence[int],
    *,
    limits: ImageLimits,
    processes: int,
    spool_dir: Path,
    progress: ProgressFactory,
) -> list[Decoded | Rejected]:
    """Prepare the entries at the indices `wanted`, and return the results in the same order.

    Raises:
        KennelError: a worker cannot start.
        DiskFailed: a worker cannot write its spool.
    """
    chunks: queue.SimpleQueue[Chunk] = queue.SimpleQueue()
    count = 0
    for chunk in _chunks(listing.entries, wanted):
        chunks.put(chunk)
        count += 1
    results: dict[int, Decoded | Rejected] = {}
    stop = threading.Event()
    slots = [_WorkerSlot(listing, limits, spool_dir, number) for number in range(max(1, min(processes, count)))]
    with progress("decode and check", len(wanted), "images") as counter, ThreadPoolExecutor(len(slots)) as pool:
        futures = [pool.submit(_serve, slot, chunks, results, counter, stop) for slot in slots]
        try:
            for future in as_completed(futures):
                future.result()
        finally:
            stop.set()
    return [results[index] for index in wanted]


def _chunks(entries: Sequence[Entry], wanted: Sequence[int]) -> Iterator[Chunk]:
    chunk: Chunk = []
    size_bytes = 0
    for index in wanted:
        chunk.append((index, entries[index]))
        size_bytes += entries[index].size_bytes
        if len(chunk) >= CHUNK_IMAGES or size_bytes >= CHUNK_BYTES:
            yield chunk
            chunk, size_bytes = [], 0
    if chunk:
        yield chunk


def _serve(
    slot: _WorkerSlot,
    chunks: queue.SimpleQueue[Chunk],
    results: dict[int, Decoded | Rejected],
    counter: Progress,
    stop: threading.Event,
) -> None:
    with slot:
        while not stop.is_set():
            try:
                chunk = chunks.get_nowait()
            except queue.Empty:
                return
            results.update((result.index, result) for result in slot.prepare(chunk))
            counter.advance(len(chunk))


class _Worker:
    """One worker process and its spool; constructing it starts the process and waits until it is ready."""

    def __init__(self, listing: Listing, limits: ImageLimits, spool: Path) -> None:
        self.spool = spool.resolve()
        said = self.spool.with_suffix(".stderr")
        with os.fdopen(open_own(said, ANEW), "w") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tasks.data.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                bufsize=0,
                cwd=_ROOT,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )
        source = {"root": str(listing.root.resolve()), "kind": listing.kind, "spool": str(self.spool)}
        if self.ask({**source, "limits": dataclasses.asdict(limits)}, START_SECONDS) != "ready":
            self.end()
            why = said.read_text(errors="replace").strip().rpartition("\n")[2] or "it said nothing"
            raise KennelError("decode", "the image worker did not start", why, f"{sys.executable} -m tasks.data.worker")

    def ask(self, content: object, timeout_seconds: float) -> object:
        """Send one line of JSON and return the answer, or None if the process died or exceeded the deadline."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            return None
        try:
            stdin.write(json.dumps(content).encode() + b"\n")
        except BrokenPipeError:
            return None
        line = _read_line(stdout.fileno(), timeout_seconds)
        return parse_json(line) if line else None

    def end(self) -> None:
        """Kill the process and keep its spool."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


class _WorkerSlot:
    """Runs one worker at a time and replaces it when it dies."""

    def __init__(self, listing: Listing, limits: ImageLimits, spool_dir: Path, number: int) -> None:
        self._listing, self._limits, self._spool_dir, self._number = listing, limits, spool_dir, number
        self._worker: _Worker | None = None
        self._started = 0

    def __enter__(self) -> _WorkerSlot:
        return self

    def __exit__(self, *_: object) -> None:
        if self._worker is not None:
            self._worker.end()

    def prepare(self, chunk: Chunk) -> list[Decoded | Rejected]:
        """Prepare a chunk; if the worker dies, prepare each image on its own."""
        answers = self._ask(chunk, CHUNK_SECONDS)
        if answers is not None:
            return answers
        results: list[Decoded | Rejected] = []
        for index, entry in chunk:
            alone = self._ask([(index, entry)], ONE_IMAGE_SECONDS)
            results.extend(alone or [Rejected(index, "decoding it crashed or stalled the decoder")])
        return results

    def _ask(self, chunk: Chunk, timeout_seconds: float) -> list[Decoded | Rejected] | None:
        """Return a worker's results, or None if it died or exceeded the deadline; it is then removed."""
        worker = self._worker or self._start()
        answer = worker.ask(chunk, timeout_seconds)
        if isinstance(answer, list):
            return [_result(fields, worker.spool) for fields in answer]
        self._worker = None
        worker.end()
        if isinstance(answer, dict):
            raise _disk_error(answer, worker.spool)
        return None

    def _start(self) -> _Worker:
        self._started += 1
        spool = self._spool_dir / f"{self._number:02d}-{self._started:04d}.spool"
        self._worker = _Worker(self._listing, self._limits, spool)
        return self._worker


def _disk_error(answer: dict[str, Any], spool: Path) -> KennelError:
    """Return the error of a worker that could not write its spool, as it described it."""
    error = OSError(answer["errno"], answer["strerror"])
    what = f"{spool} cannot be written: {error.strerror}"
    why = "the staged images are stored there until they are uploaded"
    return disk_failure(error, "decode", spool) or KennelError("decode", what, why, "run the same command again")


def _result(fields: list[Any], spool: Path) -> Decoded | Rejected:
    if len(fields) == 2:
        return Rejected(*fields)
    index, source_sha256, staged_sha256, width, height, offset, size_bytes, thumbnail, notes, source_size = fields
    looks = (base64.b64decode(thumbnail), tuple(notes), tuple(source_size))
    return Decoded(index, source_sha256, staged_sha256, width, height, spool, offset, size_bytes, *looks)


def _read_line(descriptor: int, timeout_seconds: float) -> bytes:
    """Return one complete line, or b"" if the other end closed or the deadline passed."""
    deadline = time.monotonic() + timeout_seconds
    parts: list[bytes] = []
    while not parts or not parts[-1].endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        part = os.read(descriptor, 1 << 20) if ready else b""
        if not part:
            return b""
        parts.append(part)
    return b"".join(parts)
