"""What long work tells of itself, so that whoever shows it to a person can draw it: stages, and steps inside them.

Both are records of the logger `kennel` that carry what they say as data (`record.stage`, `record.step`) beside the
plain line. The command draws bars from them; elsewhere (a worker's flow run, a test) the line is all there is.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, Self, TextIO

LOGGER = logging.getLogger("kennel")
LINE_EVERY_SECONDS = 5.0
STEP_EVERY_SECONDS = 0.5


@dataclass(frozen=True)
class Stage:
    """A stage of a command that begins or ends; `seconds` is its wall time so far."""

    name: str
    state: Literal["begins", "done", "failed"]
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """Say it in one line."""
        return f"{self.name}: begins" if self.state == "begins" else f"{self.name}: {self.state}, {self.seconds:.1f} s"


@dataclass(frozen=True)
class Step:
    """How far something inside a stage is: `done` of `total` (None: unknown) in `unit` ("B", "s", a plural noun)."""

    label: str
    done: float
    total: float | None
    unit: str
    note: str = ""

    @property
    def is_over(self) -> bool:
        """Whether it will not go on."""
        return self.note.startswith(("done", "stopped"))

    @property
    def amount(self) -> str:
        """Say how much of how much: "12 of 39 s", "0.5 MB of 4.9 MB"."""
        if self.total is None:
            return amount_text(self.done, self.unit)
        done = amount_text(self.done, self.unit) if self.unit == "B" else f"{self.done:,.0f}"
        return f"{done} of {amount_text(self.total, self.unit)}"

    @property
    def text(self) -> str:
        """Say it in one line."""
        return f"{self.label}: {self.amount}" + (f", {self.note}" if self.note else "")


def log_stage(stage: Stage) -> None:
    """Log that a stage begins or ends."""
    LOGGER.info(stage.text, extra={"stage": stage})


def log_step(step: Step) -> None:
    """Log how far a step is: a detail, of which a person needs the newest only."""
    LOGGER.debug(step.text, extra={"step": step})


class Progress(Protocol):
    """What a long step reports to; used with `with`, and from any thread."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...
    def advance(self, amount: int) -> None:
        """Note that `amount` more units are done."""


ProgressFactory = Callable[[str, int | None, str], Progress]
"""(label, total or None when unknown, unit: "B" for bytes or a plural noun) → a progress to enter."""


class _Counted:
    """Counts units from any thread and tells how it stands every so many seconds, and at the end."""

    def __init__(self, label: str, total: int | None, unit: str, clock: Callable[[], float], every: float) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._clock, self._every = clock, every
        self._lock = threading.Lock()
        self._done = 0
        self._began = self._told = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._tell("stopped" if error[0] is not None else "done")

    def advance(self, amount: int) -> None:
        with self._lock:
            self._done += amount
            if self._clock() - self._told >= self._every:
                self._tell("so far")

    def _tell(self, state: str) -> None:
        self._told = self._clock()
        note = f"{state}, {self._told - self._began:.1f} s"
        self._write(Step(self._label, self._done, self._total, self._unit, note))

    def _write(self, step: Step) -> None:
        raise NotImplementedError


class LineProgress(_Counted):
    """Writes a line every few seconds, and at the end; to stderr, so that stdout stays data."""

    def __init__(
        self,
        label: str,
        total: int | None,
        unit: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        out: TextIO | None = None,
    ) -> None:
        super().__init__(label, total, unit, clock, LINE_EVERY_SECONDS)
        self._out = out or sys.stderr

    def _write(self, step: Step) -> None:
        print(step.text, file=self._out, flush=True)


class LoggedProgress(_Counted):
    """Tells the logger `kennel`, which a terminal's live view draws as a bar."""

    def __init__(
        self, label: str, total: int | None, unit: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(label, total, unit, clock, STEP_EVERY_SECONDS)

    def _write(self, step: Step) -> None:
        log_step(step)


def show_progress(label: str, total: int | None, unit: str) -> Progress:
    """Return the progress of a step that the command shows."""
    return LoggedProgress(label, total, unit)


def amount_text(amount: float, unit: str) -> str:
    """Return an amount for people: "12.3 MB", "4,000 images", "18 s"."""
    return f"{amount / 1e6:,.1f} MB" if unit == "B" else f"{amount:,.0f} {unit}".rstrip()
