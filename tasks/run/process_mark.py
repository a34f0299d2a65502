"""Tells a process from a later one with its id, whatever becomes of the system's clock."""

from __future__ import annotations

from pathlib import Path

import psutil


def start_mark(pid: int) -> str:
    """Return what tells a process from a later one with its pid: the boot, and the clock ticks from it to the start.

    psutil's time of the start follows the system's clock, and changes when that is set.

    Raises:
        OSError: there is no such process.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return f"{boot}:{ticks}"


def is_running(pid: int, created: str | float) -> bool:
    """Tell whether the process that `created` tells of runs, and not a later one with its pid, or a zombie.

    `created` is its `start_mark`, or in records of release 0.1.0 psutil's time.
    """
    try:
        process = psutil.Process(pid)
        found = start_mark(pid) if isinstance(created, str) else process.create_time()
        return found == created and runs(process)
    except (psutil.NoSuchProcess, OSError, ValueError, OverflowError):  # the last two: no process has such an id
        return False


def is_alive(pid: int) -> bool:
    """Tell whether a process with that id runs."""
    try:
        return runs(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def runs(process: psutil.Process) -> bool:
    """Tell whether a process runs; a zombie does not, however long its adoptive parent takes to ask for its status."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
