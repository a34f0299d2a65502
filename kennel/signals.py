"""Names the signals that end a command, and installs a handler for them. Imports little: it comes before all else."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C; what `docker stop`, systemd and a cancelled CI job send; a terminal that was closed."""

_LAST = 3
"""Which Ctrl-C or SIGTERM ends the process at once."""

_SOON_SECONDS = 0.05

FLOW_THREAD = "flow"
"""The name of the thread in which a command's flow runs, so that the main thread is free for signals."""


def install(handler: Callable[[int, FrameType | None], None]) -> None:
    """Call `handler` on each signal that ends a command; SIGHUP stays ignored under `nohup`."""
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def interrupt(number: int, _frame: FrameType | None) -> None:
    """Raise `KeyboardInterrupt` with the number of the first signal, in the main thread; see `bear_further`."""
    bear_further(number)
    raise KeyboardInterrupt(number)


def bear_further(first: int, last_words: str = "") -> None:
    """Let a second signal change nothing while the command ends; the third ends it at once, with the first's code.

    A terminal that closes sends SIGHUP twice, and a program that runs kennel passes on the Ctrl-C that kennel had too.
    SIGHUP never counts, and it stays ignored after an exec.
    """
    further = itertools.count(2)

    def bear(_number: int, _frame: FrameType | None) -> None:
        if next(further) == _LAST:
            _write(f"\nkennel: interrupted again{last_words}\n")
            os._exit(128 + first)

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    install(bear)


def interrupt_again(ignored: sys.UnraisableHookArgs) -> None:
    """Interrupt once more soon when Python ignored the interruption, as it does in a destructor: a hook of `sys`."""
    interrupted = ignored.exc_value
    if not isinstance(interrupted, KeyboardInterrupt):
        sys.__unraisablehook__(ignored)
        return
    number = exit_code(interrupted) - 128
    signal.signal(number, interrupt)
    threading.Timer(_SOON_SECONDS, os.kill, (os.getpid(), number)).start()


def exit_now(number: int, _frame: FrameType | None) -> None:
    """Say so and end the process, before and after a command: an exception in an import would become a traceback."""
    _write("\nkennel: interrupted\n")
    os._exit(128 + number)


def exit_code(interrupted: KeyboardInterrupt) -> int:
    """Return 128 + the number of the signal; one that Python raised by itself came from Ctrl-C."""
    return 128 + int(interrupted.args[0] if interrupted.args else signal.SIGINT)


def _write(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal was closed
        os.write(2, text.encode())
