"""Where the lines of the logger `kennel` go: all of them to the run's log, those that tell something to the view."""

from __future__ import annotations

import logging
from typing import Protocol

from kennel.terminal.narration import Narration
from kennel.terminal.run_log import RunLog
from tasks.run.progress import Stage, Step


class View(Protocol):
    """What shows a command to a person."""

    def line(self, text: str) -> None:
        """Show a line."""

    def step(self, step: Step) -> None:
        """Show how far a step is."""

    def stage(self, stage: Stage) -> None:
        """Show that a stage begins or ends."""

    def close(self, *, is_finished: bool) -> None:
        """Leave the screen."""


class Screen(logging.Handler):
    """Passes records on; with `tells_all` as they come, else by what the narration makes of them."""

    def __init__(self, view: View, log: RunLog, *, tells_all: bool) -> None:
        super().__init__(logging.DEBUG)
        self.view, self.log = view, log
        self._narration = None if tells_all else Narration()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record; the handler's lock makes it one at a time."""
        self.log.write(record)
        stage, step = getattr(record, "stage", None), getattr(record, "step", None)
        if isinstance(stage, Stage):
            self.view.stage(stage)
        elif isinstance(step, Step):
            self.view.step(step)
        elif record.levelno >= logging.INFO:
            self._tell(record.getMessage())

    def _tell(self, message: str) -> None:
        for told in [message] if self._narration is None else self._narration.told(message):
            if isinstance(told, Step):
                self.view.step(told)
            else:
                self.view.line(told)
