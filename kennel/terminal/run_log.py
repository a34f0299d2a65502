"""`runs/<id>/kennel.log`: every line of a command with its time, also those that the screen leaves out."""

from __future__ import annotations

import logging
import time
from collections import deque
from pathlib import Path

NAME = "kennel.log"
KEPT_LINES = 5000
"""So many lines wait in memory until the run has a folder: what is refused before leaves none."""


class RunLog:
    """Lines of one command, appended to the log of its run; never makes the run's folder."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque(maxlen=KEPT_LINES)
        self._folder: Path | None = None

    @property
    def path(self) -> Path | None:
        """Where the lines are, None before there is a file."""
        path = None if self._folder is None else self._folder / NAME
        return path if path is not None and path.exists() else None

    def belongs_to(self, run_dir: Path) -> None:
        """Name the run; its folder may come later."""
        self._folder = run_dir

    def write(self, record: logging.LogRecord) -> None:
        """Append a record, several lines of one under one time (UTC, to the millisecond)."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z  "
        self.add(stamp + record.getMessage().replace("\n", "\n" + " " * len(stamp)))

    def add(self, line: str) -> None:
        """Append a line as it is; a disk that is full takes nothing from the screen."""
        self._waiting.append(line)
        if self._folder is None or not self._folder.is_dir():
            return
        try:
            with (self._folder / NAME).open("a") as file:
                file.write("".join(f"{line}\n" for line in self._waiting))
        except OSError:
            return
        self._waiting.clear()
