"""Measures over SSH by how much another machine's clock is ahead of this one's, with a bound on the error.

A small program there answers each line with its time. The answer of the quickest of several exchanges was made between
the moments of asking and of receiving, so half of the time between them bounds the error
(https://www.rfc-editor.org/rfc/rfc5905, section 8).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tasks.run.errors import RemoteFailed
from tasks.ssh.remote import Remote
from tasks.ssh.running_command import RunningCommand

EXCHANGES = 12
DEADLINE_SECONDS = 30.0
MAX_ERROR_SECONDS = 0.1
"""The figures of a run are by seconds; clocks that differ by more than a tenth of one would blur them."""

_PROGRAM = "import sys, time\nwhile sys.stdin.readline():\n print(repr(time.time()), flush=True)"


@dataclass(frozen=True)
class ClockReading:
    """The other clock is `ahead_seconds` ahead of ours, with an error of at most `error_seconds`."""

    ahead_seconds: float
    error_seconds: float

    def moved_since(self, before: ClockReading) -> float:
        """Return by how many seconds the clocks certainly moved against each other since an earlier reading."""
        moved = abs(self.ahead_seconds - before.ahead_seconds)
        return max(0.0, moved - self.error_seconds - before.error_seconds)


def read_clock(remote: Remote, python: str, clock: Callable[[], float] = time.time) -> ClockReading:
    """Exchange the time with the machine several times and return the reading with the smallest error.

    Raises:
        RemoteFailed: the machine's answer is not a time.
        ConnectionLost: the connection broke.
        WaitTimedOut: the machine did not answer in time.
    """
    with remote.start([python, "-ISc", _PROGRAM], deadline_seconds=DEADLINE_SECONDS) as running:
        readings = [_exchange(remote, running, clock) for _ in range(EXCHANGES)]
        running.end_input()
    return min(readings, key=lambda reading: reading.error_seconds)


def _exchange(remote: Remote, running: RunningCommand, clock: Callable[[], float]) -> ClockReading:
    asked = clock()
    running.send(b"\n")
    answer = b""
    while not answer.endswith(b"\n"):
        piece = running.receive()
        if not piece:
            raise _no_time(remote, answer)
        answer += piece
    received = clock()
    try:
        there = float(answer)
    except ValueError as error:
        raise _no_time(remote, answer) from error
    return ClockReading(there - (asked + received) / 2, (received - asked) / 2)


def _no_time(remote: Remote, answer: bytes) -> RemoteFailed:
    what = f"its clock could not be read: it answered {answer[:80]!r}"
    return RemoteFailed(remote.login.where, what, "python there did not run as expected", remote.login.command_line())
