"""Shows a command as plain lines with the seconds so far, where there is no terminal or with `--verbose`.

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

from kennel.terminal.stages import SERVERS, CommandStages
from tasks.run.escaping import terminal_text
from tasks.run.progress import Stage, Step

STARTING_SECONDS = 2.5
SILENCE_SECONDS = 9.0
"""The longest times without a line: while the servers start, and afterwards (docs/usage.md promises 10 s)."""

POLL_SECONDS = 0.25


class PlainView:
    """Writes lines to stderr; with `breaks_silence`, a thread prints the current stage or step when no line came."""

    def __init__(
        self,
        stages: CommandStages,
        *,
        breaks_silence: bool,
        shows_steps: bool = False,
        out: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stages, self._shows_steps, self._out, self._clock = stages, shows_steps, out or sys.stderr, clock
        self._begun = self._said = clock()
        self._step: Step | None = None
        self._lock = threading.RLock()
        self._ended = threading.Event()
        if breaks_silence:
            threading.Thread(target=self._break_silence, name="kennel-silence", daemon=True).start()

    def line(self, text: str) -> None:
        """Write a line."""
        with self._lock:
            lead = f"{self._clock() - self._begun:7.1f} s  "
            self._out.write(wrapped(terminal_text(text), lead) + "\n")
            self._out.flush()
            self._said, self._step = self._clock(), None

    def step(self, step: Step) -> None:
        """Remember a running step for the next silence; with `shows_steps`, print the end of a step at once."""
        if not step.is_over:
            self._step = step
        elif self._shows_steps:
            self.line(step.text)
        else:
            self._step = None

    def stage(self, stage: Stage) -> None:
        """Print that a stage begins or ends, with its number and its estimate."""
        progress = self._stages.apply(stage)
        head = f"stage {self._stages.number(progress)}, {progress.title}: "
        if stage.state == "begins":
            about = f", about {progress.estimate_seconds:.0f} s (estimate)" if progress.estimate_seconds else ""
            self.line(f"{head}begins{about}")
        else:
            self.line(f"{head}{stage.state}, {stage.seconds:.1f} s")

    def close(self, *, is_finished: bool) -> None:
        """End the thread; the lines stay on the screen."""
        del is_finished
        self._ended.set()

    def _break_silence(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            progress = self._stages.running
            is_starting = progress.name == SERVERS if progress else self._stages.has_not_begun
            limit = STARTING_SECONDS if is_starting else SILENCE_SECONDS
            with self._lock:
                if self._clock() - self._said >= limit and not self._ended.is_set():
                    self.line(self._current_work())

    def _current_work(self) -> str:
        progress, step = self._stages.running, self._step
        if step is not None:
            return step.text
        if progress is None:
            return "still working"
        about = f" of about {progress.estimate_seconds:.0f} s" if progress.estimate_seconds else ""
        return f"{progress.title}: {self._stages.seconds(progress):.0f} s{about}"


class NoView:
    """Shows nothing, for `--quiet`."""

    def line(self, text: str) -> None:
        """Drop a line."""

    def step(self, step: Step) -> None:
        """Drop a step."""

    def stage(self, stage: Stage) -> None:
        """Drop a stage."""

    def close(self, *, is_finished: bool) -> None:
        """Do nothing: there is nothing to remove."""


def wrapped(text: str, lead: str = "", hanging: str | None = None) -> str:
    """Return a text wrapped at words to the width; further lines are below the first, or indented by `hanging`.

    Words are never cut. A line that is indented already is not wrapped: it is a command or a log line to be copied.
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
