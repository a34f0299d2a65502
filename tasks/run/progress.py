"""Report the progress of long work: stages, and steps inside a stage.

Both are log records of the logger `kennel`. Beside the plain line they carry the same content as data (`record.stage`,
`record.step`), from which the command draws progress bars. A worker's flow run shows only the line. The logger escapes
the lines of all its records, because Prefect's handlers write them to terminals too.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, Self, TextIO

from tasks.run.escaping import terminal_text


def escape_record(record: logging.LogRecord) -> bool:
    """Make a record's line and its traceback harmless on a terminal; the record is always kept."""
    record.msg, record.args = terminal_text(record.getMessage()), None
    if record.exc_info:
        record.exc_text = terminal_text(logging.Formatter().formatException(record.exc_info))
    return True


LOGGER = logging.getLogger("kennel")
LOGGER.addFilter(escape_record)
LINE_EVERY_SECONDS = 5.0
STEP_EVERY_SECONDS = 0.5


@dataclass(frozen=True)
class Stage:
    """The beginning or the end of a command's stage; `seconds` is its wall time so far."""

    name: str
    state: Literal["begins", "done", "failed"]
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """The log line."""
        return f"{self.name}: begins" if self.state == "begins" else f"{self.name}: {self.state}, {self.seconds:.1f} s"


@dataclass(frozen=True)
class Step:
    """The progress of a step: `done` of `total` (None when unknown) in `unit` ("B", "s" or a plural noun)."""

    label: str
    done: float
    total: float | None
    unit: str
    note: str = ""

    @property
    def is_over(self) -> bool:
        """Whether the step has ended."""
        return self.note.startswith(("done", "stopped"))

    @property
    def amount(self) -> str:
        """The amounts done and in total: "12 of 39 s", "0.5 MB of 4.9 MB"."""
        if self.total is None:
            return amount_text(self.done, self.unit)
        done = amount_text(self.done, self.unit) if self.unit == "B" else f"{self.done:,.0f}"
        return f"{done} of {amount_text(self.total, self.unit)}"

    @property
    def text(self) -> str:
        """The log line."""
        return f"{self.label}: {self.amount}" + (f", {self.note}" if self.note else "")


def log_stage(stage: Stage) -> None:
    """Log the beginning or the end of a stage."""
    LOGGER.info(stage.text, extra={"stage": stage})


def log_step(step: Step) -> None:
    """Log the progress of a step at level DEBUG, because only the newest such line is of interest."""
    LOGGER.debug(step.text, extra={"step": step})


class Progress(Protocol):
    """The interface that a long step reports its progress to; it is a context manager and is thread-safe."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...
    def advance(self, amount: int) -> None:
        """Add `amount` units to those that are done."""


ProgressFactory = Callable[[str, int | None, str], Progress]
"""Makes a `Progress` from a label, the total (None when unknown) and the unit ("B" for bytes, or a plural noun)."""


class _CountingProgress:
    """Counts units from any thread, and reports a step every `every` seconds and at the end."""

    def __init__(self, label: str, total: int | None, unit: str, clock: Callable[[], float], every: float) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._clock, self._every = clock, every
        self._lock = threading.Lock()
        self._done = 0
        self._began = self._reported = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._report("stopped" if error[0] is not None else "done")

    def advance(self, amount: int) -> None:
        with self._lock:
            self._done += amount
            if self._clock() - self._reported >= self._every:
                self._report("so far")

    def _report(self, state: str) -> None:
        self._reported = self._clock()
        note = f"{state}, {self._reported - self._began:.1f} s"
        self._write(Step(self._label, self._done, self._total, self._unit, note))

    def _write(self, step: Step) -> None:
        raise NotImplementedError


class LineProgress(_CountingProgress):
    """Writes a line to stderr every few seconds and at the end; stdout is kept for data."""

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
        print(terminal_text(step.text), file=self._out, flush=True)


class LoggedProgress(_CountingProgress):
    """Logs each report on the logger `kennel`; the terminal's live view draws them as a bar."""

    def __init__(
        self, label: str, total: int | None, unit: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(label, total, unit, clock, STEP_EVERY_SECONDS)

    def _write(self, step: Step) -> None:
        log_step(step)


def show_progress(label: str, total: int | None, unit: str) -> Progress:
    """Return a progress that the command shows."""
    return LoggedProgress(label, total, unit)


def amount_text(amount: float, unit: str) -> str:
    """Return an amount in readable form: "12.3 MB", "4,000 images", "18 s"."""
    return f"{amount / 1e6:,.1f} MB" if unit == "B" else f"{amount:,.0f} {unit}".rstrip()
