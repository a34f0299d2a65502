"""Checkpoints as safetensors, written whole or not at all: embedded shards, and the state of the fit.

SageMaker copies the folder to S3 while the job runs and back before a restarted job; every rank's files have names of
their own. Nothing is unpickled.
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
    """Tensors and the small facts beside them."""

    tensors: Tensors
    facts: dict[str, Any]


def write_atomically(path: Path, tensors: Tensors, facts: dict[str, Any]) -> None:
    """Write `path` so that a reader sees the old file or the new one, never a half: temporary file, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, {"facts": json.dumps(facts)})
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def read_saved(path: Path) -> Saved | None:
    """Read what `write_atomically` wrote; None when there is no such file or it is a torn copy."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
            return Saved({name: file.get_tensor(name) for name in file.keys()}, facts)  # noqa: SIM118
    except (SafetensorError, OSError, ValueError):
        return None


def _try_to_write(path: Path, tensors: Tensors, facts: dict[str, Any], say: Callable[[str], None]) -> bool:
    """Write, or say why not: a full disk must not end a training that could do without its checkpoint."""
    try:
        write_atomically(path, tensors, facts)
    except (OSError, SafetensorError) as error:
        say(f"WARNING: the checkpoint {path} could not be written, training goes on without it: {error}")
        return False
    return True


class ShardCache:
    """Embeddings by shard, one file each; without a folder nothing is kept."""

    def __init__(self, folder: Path | None, say: Callable[[str], None]) -> None:
        self._folder = folder and folder / "embeddings"
        self._say = say

    def load(self, name: str) -> Tensors | None:
        saved = read_saved(self._folder / f"{name}.safetensors") if self._folder else None
        return saved.tensors if saved else None

    def save(self, name: str, tensors: Tensors) -> None:
        if self._folder:
            _try_to_write(self._folder / f"{name}.safetensors", tensors, {}, self._say)


class FitCheckpoint:
    """The state of one fit (`head` or `finetune`), rewritten at most every `interval_seconds` and when interrupted.

    A state whose fingerprint differs (other data, weights or hyperparameters) is not used.
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
        self._last = clock()

    def load(self) -> Saved | None:
        saved = read_saved(self.path) if self.path else None
        return saved if saved and saved.facts.get("fingerprint") == self._fingerprint else None

    @property
    def is_due(self) -> bool:
        return self.path is not None and self._clock() - self._last >= self._interval_seconds

    def save(self, tensors: Tensors, facts: dict[str, Any]) -> bool:
        """Write the state; False when there is no folder or it could not be written (the log says why)."""
        self._last = self._clock()
        return self.path is not None and _try_to_write(
            self.path, tensors, {**facts, "fingerprint": self._fingerprint}, self._say
        )
