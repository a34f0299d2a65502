"""Names the signals that end a command, and installs a handler for them. Imports little: it comes before all else."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C; what `docker stop`, systemd and a cancelled CI job send; a terminal that was closed."""

FLOW_THREAD = "flow"
"""The name of the thread in which a command's flow runs, so that the main thread is free for signals."""


def install(handler: Callable[[int, FrameType | None], None]) -> None:
    """Call `handler` on each signal that ends a command; SIGHUP stays ignored under `nohup`."""
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def interrupt(number: int, _frame: FrameType | None) -> None:
    """Raise `KeyboardInterrupt` with the number of the signal, in the main thread."""
    raise KeyboardInterrupt(number)


def exit_now(number: int, _frame: FrameType | None) -> None:
    """Say so and end the process, before and after a command: an exception in an import would become a traceback."""
    with contextlib.suppress(OSError):  # the terminal was closed
        os.write(2, b"\nkennel: interrupted\n")
    os._exit(128 + number)


def exit_code(interrupted: KeyboardInterrupt) -> int:
    """Return 128 + the number of the signal; one that Python raised by itself came from Ctrl-C."""
    return 128 + int(interrupted.args[0] if interrupted.args else signal.SIGINT)
