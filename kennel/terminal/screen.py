"""Passes the records of the logger `kennel` on: all of them to the run's log, a selection of them to the view."""

from __future__ import annotations

import contextlib
import logging
from typing import Protocol

from kennel.terminal.run_log import RunLog
from tasks.run.line_filter import LineFilter
from tasks.run.progress import Stage, Step


class View(Protocol):
    """The interface of a view, which shows a command to a person."""

    def line(self, text: str) -> None:
        """Show a line."""

    def step(self, step: Step) -> None:
        """Show the progress of a step."""

    def stage(self, stage: Stage) -> None:
        """Show that a stage begins or ends."""

    def close(self, *, is_finished: bool) -> None:
        """Remove the view from the screen."""


class Screen(logging.Handler):
    """Passes records to the log and the view; without `shows_all`, the line filter chooses what the view gets."""

    def __init__(self, view: View, log: RunLog, *, shows_all: bool) -> None:
        super().__init__(logging.DEBUG)
        self.view, self.log = view, log
        self._filter = None if shows_all else LineFilter()

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on; the lock of the handler admits one thread at a time.

        A terminal that was closed, or a pipe that nobody reads, does not stop the work that a line is about.
        """
        self.log.write(record)
        with contextlib.suppress(OSError):
            self._view(record)

    def _view(self, record: logging.LogRecord) -> None:
        stage, step = getattr(record, "stage", None), getattr(record, "step", None)
        if isinstance(stage, Stage):
            self.view.stage(stage)
        elif isinstance(step, Step):
            self.view.step(step)
        elif record.levelno >= logging.INFO:
            self._show(record.getMessage())

    def _show(self, message: str) -> None:
        for shown in [message] if self._filter is None else self._filter.shown(message):
            if isinstance(shown, Step):
                self.view.step(shown)
            else:
                self.view.line(shown)
