"""Write and read checkpoints as safetensors files: the embeddings of each shard, and the state of a fit.

A file is replaced atomically, so a reader never sees a partly written one. SageMaker copies the checkpoint folder to S3
while the job runs, and copies it back before a restarted job. No two ranks write the same file. Nothing is unpickled.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Saved:
    """The content of one file: tensors, and the JSON values stored with them."""

    tensors: Tensors
    facts: dict[str, Any]


def write_atomically(path: Path, tensors: Tensors, facts: dict[str, Any]) -> None:
    """Replace the file at `path` atomically: write a temporary file, fsync it, rename it.

    Raises:
        OSError, SafetensorError: the file cannot be written, for example because the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, {"facts": json.dumps(facts)})
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def read_saved(path: Path) -> Saved | None:
    """Read a file that `write_atomically` wrote; return None when it is missing or damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
            return Saved({name: file.get_tensor(name) for name in file.keys()}, facts)  # noqa: SIM118
    except (SafetensorError, OSError, ValueError):
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
        """Return the tensors stored under `name`, or None when there are none."""
        saved = read_saved(self._folder / f"{name}.safetensors") if self._folder else None
        return saved.tensors if saved else None

    def save(self, name: str, tensors: Tensors) -> None:
        """Store the tensors of one shard; a failure is logged and does not end the job."""
        if self._folder:
            _try_to_write(self._folder / f"{name}.safetensors", tensors, {}, self._say)


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
        self.path = folder and folder / f"{stage}.safetensors"
        self._fingerprint = fingerprint
        self._interval_seconds = interval_seconds
        self._say = say
        self._clock = clock
        self._last_write = clock()

    def load(self) -> Saved | None:
        """Return the stored state, or None when there is none with this fingerprint."""
        saved = read_saved(self.path) if self.path else None
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
