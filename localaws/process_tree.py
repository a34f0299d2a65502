"""Processes and their descendants: finding them, how much memory they use, and killing all of them.

Any of them may end while it is looked at.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from localaws.errors import StopFailed

KILL_DEADLINE_SECONDS = 10.0
POLL_SECONDS = 0.01


def family(pid: int) -> list[psutil.Process]:
    """Return the process and what descends from it; nothing if it has ended."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def memory_bytes(pid: int) -> int:
    """Return the resident size of a process and its descendants, 0 if it has ended; shared pages count for each."""
    return sum(_own_bytes(process) for process in family(pid))


def _own_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0  # it has ended: that the others use memory is still so


def find_members(variable: str, value: str, leaders: set[int]) -> list[psutil.Process]:
    """Return the live processes led by `leaders`, descending from those, or with `variable=value` as environment.

    Neither this process nor one that it descends from is ever among them.

    Raises:
        ValueError: a leader is not above 1. The groups 0 and 1 are the system's, and all descends from process 1.
    """
    if system := sorted(pid for pid in leaders if pid <= 1):
        raise ValueError(f"{system}: a process that leads others has an id above 1")
    found: dict[int, psutil.Process] = {}
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        if process.pid not in own and _belongs(process, variable, value, leaders):
            found[process.pid] = process
    for process in list(found.values()):
        with contextlib.suppress(psutil.Error):
            found.update({child.pid: child for child in process.children(recursive=True)})
    return [process for process in found.values() if is_alive(process)]


def kill_all(find: Callable[[], Iterable[psutil.Process]]) -> list[int]:
    """SIGKILL what `find` finds until it finds nothing; return the process ids.

    Raises:
        StopFailed: it still finds something after 10 seconds.
    """
    killed: set[int] = set()
    deadline = time.monotonic() + KILL_DEADLINE_SECONDS
    while members := list(find()):
        if time.monotonic() > deadline:
            raise StopFailed(f"processes {sorted(process.pid for process in members)} did not end after SIGKILL")
        for process in members:
            with contextlib.suppress(psutil.Error):
                process.kill()
                killed.add(process.pid)
        time.sleep(POLL_SECONDS)  # not psutil's wait, which would take the exit status from whoever waits for it
    return sorted(killed)


def kill_descendants() -> list[int]:
    """SIGKILL everything that descends from this process; return the process ids.

    Raises:
        StopFailed: something outlives it for 10 seconds.
    """
    return kill_all(lambda: filter(is_alive, psutil.Process().children(recursive=True)))


def _belongs(process: psutil.Process, variable: str, value: str, leaders: set[int]) -> bool:
    try:
        return os.getpgid(process.pid) in leaders or process.environ().get(variable) == value
    except (psutil.Error, OSError):
        return False


def is_alive(process: psutil.Process) -> bool:
    """Return whether the process runs: a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def start_mark(pid: int) -> str:
    """Return what tells a process from a later one with its pid: the boot, and the clock ticks from it to the start.

    psutil's time of the start follows the system's clock, and changes when that is set.

    Raises:
        OSError: there is no such process.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return f"{boot}:{ticks}"
