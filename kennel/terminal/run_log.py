"""Writes `runs/<id>/kennel.log`: every line of a command with its time, also those that the screen does not show."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from pathlib import Path

from tasks.run.escaping import terminal_text
from tasks.run.own_files import APPEND, open_own

NAME = "kennel.log"
KEPT_LINES = 5000
"""How many lines are kept in memory until the run has a folder; a command that is refused before creates none."""


class RunLog:
    """Appends the lines of one command to the log of its run, without creating the run's folder."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque(maxlen=KEPT_LINES)
        self._folder: Path | None = None

    @property
    def path(self) -> Path | None:
        """The path of the log, or None while there is no file."""
        path = None if self._folder is None else self._folder / NAME
        return path if path is not None and path.exists() else None

    def set_run(self, run_dir: Path) -> None:
        """Set the folder of the run, which may be created later."""
        self._folder = run_dir

    def write(self, record: logging.LogRecord) -> None:
        """Append a record with its time (UTC, to the millisecond); further lines of it are indented."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z  "
        self.add(stamp + record.getMessage().replace("\n", "\n" + " " * len(stamp)))

    def add(self, line: str) -> None:
        """Append a line; when the file cannot be written, nothing is raised and the line is tried again later."""
        self._waiting.append(terminal_text(line))
        if self._folder is None or not self._folder.is_dir():
            return
        try:
            with os.fdopen(open_own(self._folder / NAME, APPEND), "a") as file:
                file.write("".join(f"{line}\n" for line in self._waiting))
        except OSError:
            return
        self._waiting.clear()
