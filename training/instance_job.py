"""The job of one EC2 instance: what spec.json asks for, what status.json reports, and the request to stop.

Standard library only. Touches the folder of spec.json only.
"""

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.failures import Interrupted

STATUS_BYTES = 16_384  # the size of status.json, reserved from the start so that a full disk can still be reported


@dataclass(frozen=True)
class Input:
    """One S3 object that is fetched into data/`folder`."""

    key: str
    folder: str
    sha256: str


@dataclass(frozen=True)
class Spec:
    """The content of spec.json. `hosts` are private addresses in rank order; `checkpoints` is an S3 prefix or None.

    `encryption` are arguments of PutObject; `requirements` is the file of packages that the training code needs, by its
    path in the code.
    """

    region: str
    bucket: str
    inputs: tuple[Input, ...]
    requirements: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    hosts: tuple[str, ...]
    rank: int
    processes_per_host: int
    checkpoints: str | None
    is_spot: bool
    max_runtime_seconds: float
    encryption: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> "Spec":
        """Read spec.json.

        Raises:
            OSError, ValueError: the file cannot be read or is not JSON.
            KeyError, TypeError: a field is missing or unknown.
        """
        fields = json.loads(path.read_text(encoding="utf-8"))
        fields["inputs"] = tuple(Input(**entry) for entry in fields["inputs"])
        return cls(**fields | {name: tuple(fields[name]) for name in ("arguments", "hosts")})


class Status:
    """Writes status.json: state, error, the seconds of each phase and, at the end, the archive of the model."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.content: dict[str, Any] = {"state": "starting", "pid": os.getpid(), "seconds": {}, "error": None}
        self._write(path)

    def update(self, **changes: Any) -> None:
        """Change fields and replace the file atomically; on a full disk overwrite the reserved bytes instead."""
        with self._lock:
            self.content |= changes
            temporary = self._path.with_suffix(".part")
            try:
                self._write(temporary)
                temporary.replace(self._path)
            except OSError:
                self._overwrite()

    def _write(self, path: Path) -> None:
        with path.open("w", encoding="utf-8") as file:
            file.write(json.dumps(self.content).ljust(STATUS_BYTES))
            file.flush()
            os.fsync(file.fileno())

    def _overwrite(self) -> None:
        with self._path.open("r+b") as file:
            file.write(json.dumps(self.content).encode().ljust(STATUS_BYTES)[:STATUS_BYTES])


@dataclass
class Job:
    """One job on this instance; once `stopping` is set the job ends, for the reason `stop_reason`."""

    spec: Spec
    folder: Path
    status: Status
    stopping: threading.Event = field(default_factory=threading.Event)
    stop_reason: str = ""

    @property
    def models(self) -> Path:
        """The folder into which the model is saved."""
        return self.folder / "TrainedModels"

    def stop(self, reason: str) -> None:
        """Request that the training write a checkpoint and end; the first reason is kept."""
        self.stop_reason = self.stop_reason or reason
        self.stopping.set()

    def raise_if_stopping(self) -> None:
        """Raise if the job was requested to stop.

        Raises:
            Interrupted: `stop` was called; the message is its reason.
        """
        if self.stopping.is_set():
            raise Interrupted(self.stop_reason)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase and show it as the state in status.json.

        Raises:
            Interrupted: the job was requested to stop before the phase began.
        """
        self.raise_if_stopping()
        self.status.update(state=name)
        begun = time.perf_counter()
        yield
        seconds = self.status.content["seconds"] | {name: round(time.perf_counter() - begun, 3)}
        self.status.update(seconds=seconds)
