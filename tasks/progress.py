"""Progress that a person can follow: a bar on a terminal, a plain line at least every few seconds elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, Self, TextIO

LINE_EVERY_SECONDS = 5.0


class Progress(Protocol):
    """What a long step reports to; used with `with`, and from any thread."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...
    def advance(self, amount: int) -> None:
        """Note that `amount` more units are done."""


ProgressFactory = Callable[[str, int | None, str], Progress]
"""(label, total or None when unknown, unit: "B" for bytes or a plural noun) → a progress to enter."""


class LineProgress:
    """Writes a line at the beginning, every few seconds, and at the end; to stderr, so that stdout stays data."""

    def __init__(
        self,
        label: str,
        total: int | None,
        unit: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        out: TextIO | None = None,
    ) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._clock, self._out = clock, out or sys.stderr
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
            if self._clock() - self._told >= LINE_EVERY_SECONDS:
                self._tell("so far")

    def _tell(self, state: str) -> None:
        self._told = self._clock()
        of = "" if self._total is None else f" of {amount_text(self._total, self._unit)}"
        took = f"{self._told - self._began:.1f} s"
        print(f"{self._label}: {amount_text(self._done, self._unit)}{of} {state}, {took}", file=self._out, flush=True)


class BarProgress:
    """A rich bar, for a terminal."""

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        from rich.console import Console
        from rich.progress import Progress as Bars

        self._bars: Any = Bars(console=Console(stderr=True), transient=False)
        self._task = self._bars.add_task(label if unit == "B" else f"{label} ({unit})", total=total)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def advance(self, amount: int) -> None:
        self._bars.advance(self._task, amount)


def show_progress(label: str, total: int | None, unit: str) -> Progress:
    """Return a bar on a terminal, lines elsewhere."""
    return BarProgress(label, total, unit) if sys.stderr.isatty() else LineProgress(label, total, unit)


def amount_text(amount: int, unit: str) -> str:
    """Return an amount for people: "12.3 MB", "4,000 images"."""
    return f"{amount / 1e6:,.1f} MB" if unit == "B" else f"{amount:,} {unit}"
