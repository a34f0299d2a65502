"""Write and read checkpoints: the embeddings of each shard, and the state of a fit.

A file has the bytes of a safetensors file and, after them, their sha256, which is checked before the file is used. A
file is replaced atomically, so a reader never sees a partly written one. SageMaker copies the checkpoint folder to S3
while the job runs, and copies it back before a restarted job. No two ranks write the same file. Nothing is unpickled.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

Tensors = dict[str, torch.Tensor]
_LENGTH_BYTES = 8  # a safetensors file begins with the length of its header
_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Saved:
    """The content of one file: tensors, and the JSON values stored with them."""

    tensors: Tensors
    facts: dict[str, Any]


class DamagedCheckpoint(Exception):
    """The file is not as it was written, or an older release wrote it without a sha256."""


def write_atomically(path: Path, tensors: Tensors, facts: dict[str, Any]) -> None:
    """Replace the file at `path` atomically: write a temporary file, fsync it, rename it.

    Raises:
        OSError, SafetensorError: the file cannot be written, for example because the disk is full.
    """
    content = save({name: tensor.contiguous() for name, tensor in tensors.items()}, {"facts": json.dumps(facts)})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.write(hashlib.sha256(content).digest())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_saved(path: Path) -> Saved | None:
    """Read a file that `write_atomically` wrote; return None when there is none.

    Raises:
        DamagedCheckpoint: the file cannot be read, or its sha256 is not the one at its end.
    """
    try:
        if path.exists() and not path.is_file():
            raise DamagedCheckpoint("something else than a file is in its place")  # a FIFO would be waited for
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DamagedCheckpoint(str(error)) from error
    content, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise DamagedCheckpoint("its sha256 is not the one at its end")
    header = content[_LENGTH_BYTES : _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")]
    try:
        return Saved(load(content), json.loads(json.loads(header)["__metadata__"]["facts"]))
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedCheckpoint(f"it is no safetensors file: {error}") from error


def _read_or_say(path: Path, instead: str, say: Callable[[str], None]) -> Saved | None:
    """Read a file; a damaged one counts as missing, and a warning says what is done `instead`."""
    try:
        return read_saved(path)
    except DamagedCheckpoint as error:
        say(f"WARNING: the checkpoint {path} is not used, {instead}: {error}")
        return None


def _try_to_write(path: Path, tensors: Tensors, facts: dict[str, Any], say: Callable[[str], None]) -> bool:
    """Write a file; on failure log a warning and return False, because training works without a checkpoint."""
    try:
        write_atomically(path, tensors, facts)
    except (OSError, SafetensorError) as error:
        say(f"WARNING: the checkpoint {path} could not be written; training continues without it: {error}")
        return False
    return True


class ShardCache:
    """Stores the embeddings of each finished shard in its own file; without a folder it stores nothing."""

    def __init__(self, folder: Path | None, say: Callable[[str], None]) -> None:
        self._folder = folder and folder / "embeddings"
        self._say = say

    def load(self, name: str) -> Tensors | None:
        """Return the tensors stored under `name`; None when there are none, or (which is logged) when it is damaged."""
        if self._folder is None:
            return None
        saved = _read_or_say(self._path(self._folder, name), "and the shard is embedded again", self._say)
        return saved.tensors if saved and saved.facts.get("name") == name else None

    def save(self, name: str, tensors: Tensors) -> None:
        """Store the tensors of one shard; a failure is logged and does not end the job."""
        if self._folder:
            _try_to_write(self._path(self._folder, name), tensors, {"name": name}, self._say)

    @staticmethod
    def _path(folder: Path, name: str) -> Path:
        return folder / f"{name}.checkpoint"


class FitCheckpoint:
    """The state of one fit (`head` or `finetune`), written at most every `interval_seconds` and on interruption.

    A stored state is ignored when its fingerprint differs: it comes from other data, weights or hyperparameters.
    """

    def __init__(
        self,
        folder: Path | None,
        stage: str,
        *,
        fingerprint: str,
        interval_seconds: float,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.path = folder and folder / f"{stage}.checkpoint"
        self._fingerprint = fingerprint
        self._interval_seconds = interval_seconds
        self._say = say
        self._clock = clock
        self._last_write = clock()

    def load(self) -> Saved | None:
        """Return the stored state; None when there is none of this fingerprint, or (logged) when it is damaged."""
        if self.path is None:
            return None
        saved = _read_or_say(self.path, "and the fit starts from its beginning", self._say)
        return saved if saved and saved.facts.get("fingerprint") == self._fingerprint else None

    @property
    def is_due(self) -> bool:
        """Whether `interval_seconds` have passed since the last write."""
        return self.path is not None and self._clock() - self._last_write >= self._interval_seconds

    def save(self, tensors: Tensors, facts: dict[str, Any]) -> bool:
        """Write the state; return False when there is no folder or when writing failed (which is logged)."""
        self._last_write = self._clock()
        return self.path is not None and _try_to_write(
            self.path, tensors, {**facts, "fingerprint": self._fingerprint}, self._say
        )
