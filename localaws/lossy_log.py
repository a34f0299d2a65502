"""Logs whose writers go on when a line cannot be written: what is lost is counted, and told once there is room again.

A full or read-only disk must not end the thread that writes, nor block the process whose output it is.
"""

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path


class LossyLog:
    """Appends bytes to what `opened` returns a descriptor of; it raises nothing. For one thread."""

    def __init__(self, opened: Callable[[], int]) -> None:
        self._opened = opened
        self._descriptor: int | None = None
        self._lost = 0
        self._why = ""

    @classmethod
    def of(cls, path: Path) -> "LossyLog":
        """Return a log that appends to a file of this user's alone."""
        return cls(lambda: os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600))

    def write(self, line: bytes) -> None:
        """Append a line, behind a note of those that were lost."""
        try:
            if self._descriptor is None:
                self._descriptor = self._opened()
            if self._lost:
                _write(
                    self._descriptor,
                    f"\nlocalaws: {self._lost} lines could not be written here: {self._why}\n".encode(),
                )
                self._lost = 0
            _write(self._descriptor, line)
        except OSError as error:
            self._lost, self._why = self._lost + 1, error.strerror or str(error)

    def close(self) -> None:
        """Close what was opened."""
        if self._descriptor is not None:
            os.close(self._descriptor)


class ServerOutput(io.TextIOBase):
    """Stands for stdout or stderr of the server, line by line. Thread-safe."""

    def __init__(self, descriptor: int) -> None:
        self._number = descriptor
        self._log = LossyLog(lambda: descriptor)
        self._lock = threading.Lock()
        self._rest = ""

    def write(self, text: str) -> int:
        """Write the lines that are whole."""
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
            for line in lines:
                self._log.write(f"{line}\n".encode(errors="backslashreplace"))
        return len(text)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._number

    def isatty(self) -> bool:
        """Tell whether a person may read it."""
        return os.isatty(self._number)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
