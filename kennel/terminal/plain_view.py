"""Progress without a terminal, or in all detail: plain lines with the seconds so far, and never a long silence.

Lines are wrapped at words to the width (80 columns, or COLUMNS).
"""

from __future__ import annotations

import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from typing import TextIO

from kennel.terminal.journey import SERVERS, Journey
from tasks.run.progress import Stage, Step

STARTING_SECONDS = 2.5
SILENCE_SECONDS = 9.0
"""A line comes at the latest after so long: while the servers start, and afterwards (10 s are promised)."""

LOOK_SECONDS = 0.25


class PlainView:
    """Writes lines to stderr. With `beats`, a thread breaks every silence with what is going on."""

    def __init__(
        self,
        journey: Journey,
        *,
        beats: bool,
        shows_steps: bool = False,
        out: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journey, self._shows_steps, self._out, self._clock = journey, shows_steps, out or sys.stderr, clock
        self._begun = self._said = clock()
        self._step: Step | None = None
        self._lock = threading.RLock()
        self._ended = threading.Event()
        if beats:
            threading.Thread(target=self._beat, name="kennel-beat", daemon=True).start()

    def line(self, text: str) -> None:
        """Write a line."""
        with self._lock:
            lead = f"{self._clock() - self._begun:7.1f} s  "
            self._out.write(wrapped(text, lead) + "\n")
            self._out.flush()
            self._said, self._step = self._clock(), None

    def step(self, step: Step) -> None:
        """Keep a step that goes on for the next silence; with all detail, write its end now."""
        if not step.is_over:
            self._step = step
        elif self._shows_steps:
            self.line(step.text)
        else:
            self._step = None

    def stage(self, stage: Stage) -> None:
        """Write that a stage begins or ends, which of how many, and the estimate."""
        leg = self._journey.apply(stage)
        head = f"stage {self._journey.number(leg)}, {leg.title}: "
        if stage.state == "begins":
            about = f", about {leg.estimate_seconds:.0f} s (estimate)" if leg.estimate_seconds else ""
            self.line(f"{head}begins{about}")
        else:
            self.line(f"{head}{stage.state}, {stage.seconds:.1f} s")

    def close(self, *, is_finished: bool) -> None:
        """End the thread; nothing of it is left on the screen."""
        del is_finished
        self._ended.set()

    def _beat(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            leg = self._journey.running
            limit = STARTING_SECONDS if leg is None or leg.name == SERVERS else SILENCE_SECONDS
            with self._lock:
                if self._clock() - self._said >= limit and not self._ended.is_set():
                    self.line(self._what_goes_on())

    def _what_goes_on(self) -> str:
        leg, step = self._journey.running, self._step
        if step is not None:
            return step.text
        if leg is None:
            return "still at it"
        about = f" of about {leg.estimate_seconds:.0f} s" if leg.estimate_seconds else ""
        return f"{leg.title}: {self._journey.seconds(leg):.0f} s{about}"


class NoView:
    """Shows nothing: `--quiet`."""

    def line(self, text: str) -> None:
        """Drop a line."""

    def step(self, step: Step) -> None:
        """Drop a step."""

    def stage(self, stage: Stage) -> None:
        """Drop a stage."""

    def close(self, *, is_finished: bool) -> None:
        """Have nothing to end."""


def wrapped(text: str, lead: str = "", hanging: str | None = None) -> str:
    """Return a text wrapped at words to the width, further lines under the first or indented by `hanging`.

    Words are never cut, and a line that is indented is left whole: it is a command or a log's line, to be copied.
    """
    width = max(40, shutil.get_terminal_size((80, 24)).columns - len(lead))
    indent = " " * len(lead)
    lines: list[str] = []
    for part in text.split("\n"):
        if part.startswith("  ") and hanging is None:
            lines.append(part)
        else:
            lines += textwrap.wrap(
                part, width, break_long_words=False, break_on_hyphens=False, subsequent_indent=hanging or ""
            ) or [""]
    return lead + f"\n{indent}".join(lines)
