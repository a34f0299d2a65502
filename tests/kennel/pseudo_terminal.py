"""A command on a pseudo-terminal of a set size: what it wrote there, and what a person would type."""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from tests.kennel.shell import ROOT, Terminal

HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"
_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class OnATerminal:
    """A running `kennel`, its three streams on one terminal."""

    def __init__(self, terminal: Terminal, *arguments: str, columns: int = 80, rows: int = 24) -> None:
        self._main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.text = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kennel", *arguments],
            cwd=ROOT,
            env=_environment(terminal.environment),
            stdin=side,
            stdout=side,
            stderr=side,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C reaches it
        )
        os.close(side)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(60)
        os.close(self._main)

    def read_until(self, text: str, seconds: float = 60.0) -> None:
        """Read until the screen's stream holds `text`."""
        deadline = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < deadline and self._read(), f"no {text!r} in {self.text[-3000:]!r}"

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._main, keys)

    def end(self, seconds: float = 60.0) -> int:
        """Read to the end and return the exit code."""
        deadline = time.monotonic() + seconds
        while self._read():
            assert time.monotonic() < deadline, self.text[-3000:]
        return self._process.wait(60)

    @property
    def plain(self) -> str:
        """What was written, without colours and movements."""
        return _CONTROLS.sub("", self.text).replace("\r", "")

    def _read(self) -> bool:
        readable, _, _ = select.select([self._main], [], [], 1.0)
        if not readable:
            return True
        part = b""
        with contextlib.suppress(OSError):  # Linux says EIO when the other side is closed
            part = os.read(self._main, 65536)
        self.text += part.decode(errors="replace")
        return bool(part)


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """Leave the width to the terminal."""
    return {name: value for name, value in given.items() if name not in {"COLUMNS", "LINES"}} | {
        "TERM": "xterm-256color"
    }
