"""Observes an environment's process from outside: whether it runs, its memory, its processor time and its output.

Descriptors are kept open, because every invocation reads all of this.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

import psutil

from localaws.process_tree import family
from localaws.processes import Process

LOOK_SECONDS = 0.1  # between two looks at a process's memory
_STATUS_BYTES = 4096
MOST_BYTES = 8 << 20  # of output in one reading; a program can make its file as large as it likes, without writing


def is_running(process: Process) -> bool:
    """Return whether a process has not ended; a zombie has."""
    if process.poll() is not None:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE
    return False


def cpu_seconds(pid: int) -> float:
    """Return the processor time, user and system, that a process and its descendants have used; 0.0 if it has ended."""
    return sum(_cpu_seconds_of_one(process) for process in family(pid))


def _cpu_seconds_of_one(process: psutil.Process) -> float:
    """Return 0.0 for one that has ended meanwhile: its parent, which has waited for it, counts what it used."""
    try:
        return _own_cpu_seconds(process) + _reaped_cpu_seconds(process)
    except psutil.Error:
        return 0.0


def _own_cpu_seconds(process: psutil.Process) -> float:
    """Ask the process's clock, in nanoseconds; its counters go in steps of 10 ms, and an init takes nine of them."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            return time.clock_gettime((~process.pid << 3) | 2)  # clock_getcpuclockid(3), which Python does not have
    used = process.cpu_times()
    return used.user + used.system


def _reaped_cpu_seconds(process: psutil.Process) -> float:
    used = process.cpu_times()
    return used.children_user + used.children_system


class PeakMemory:
    """The largest resident size that a process was seen to have, in MiB; looked at ten times a second at most."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._pid = 0
        self._seen_at = float("-inf")
        self._peak_mb = 0
        self._status: int | None = None

    def look(self) -> int:
        """Return the peak, as the kernel keeps it; where it keeps none, of the sizes at the looks."""
        now = time.perf_counter()
        if now - self._seen_at >= LOOK_SECONDS:
            self._seen_at = now
            if self._pid != self._process.program_pid:
                self._open()
            with contextlib.suppress(OSError, psutil.Error):
                self._peak_mb = max(self._peak_mb, self._from_kernel() or self._present())
        return self._peak_mb

    def close(self) -> None:
        """Let go of the descriptor."""
        if self._status is not None:
            os.close(self._status)
            self._status = None

    def _open(self) -> None:
        self.close()
        self._pid = self._process.program_pid
        with contextlib.suppress(OSError):
            self._status = os.open(f"/proc/{self._pid}/status", os.O_RDONLY)

    def _from_kernel(self) -> int:
        if self._status is None:
            return 0
        _, found, rest = os.pread(self._status, _STATUS_BYTES, 0).partition(b"VmHWM:")
        return -(-int(rest.split(None, 1)[0]) // 1024) if found else 0

    def _present(self) -> int:
        return int(-(-psutil.Process(self._pid).memory_info().rss // (1 << 20)))


class Output:
    """A file that a process writes into, read as log events from where the last reading ended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = os.open(path, os.O_RDONLY | os.O_CREAT, 0o600)
        self._offset = 0

    def new_events(self) -> list[str]:
        """Return what was printed since the last call, one entry a log event; `\\r` joins the lines of a traceback."""
        if self._file is None or (size := os.fstat(self._file).st_size) == self._offset:
            return []
        if size < self._offset:  # the program cut its own output off
            self._offset = 0
        content = os.pread(self._file, min(size - self._offset, MOST_BYTES), self._offset)
        self._offset += len(content)
        lines = content.decode("utf-8", "replace").split("\n")
        return [line.rstrip("\r").replace("\r", "\n") for line in lines if line.strip()]

    def close(self) -> None:
        """Let go of the descriptor."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
