"""Runs a child's process tree only while nothing else needs a core, and returns it to the normal priority later.

Two things are set, both on Linux: every thread gets the policy SCHED_IDLE, which children inherit, and the group of the
tree's session gets nice 19. The second is needed where the kernel groups tasks by session (`sched_autogroup_enabled`,
the default of desktops and many servers). There, policies are compared only within a group: with SCHED_IDLE alone, two
busy processes of different sessions still got half of two cores each. Where tasks are not grouped, the nice of the
group has no effect.

Beside processes that are always busy, an idle one may get no processor time for minutes; `low` gives it about a tenth
of what a normal one gets.

To leave SCHED_IDLE takes CAP_SYS_NICE or a RLIMIT_NICE of at least 20 - nice (sched(7)). Without either, the process
could never be made fast again, so `idle` changes nothing and the process runs at the normal priority throughout.
Ordinary users mostly have neither, and macOS has no such policy. Code that starts something ahead asks `can_come_back`
first; without a way back, it starts it only while nothing else needs the cores.
"""

import errno
import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from localaws.process_tree import family, find_members
from localaws.processes import PROCESS

PROC = Path("/proc")
PASSES = 10  # a thread may start another while its tree is walked
LEAST_NICE = 19
RETRY_SECONDS = 0.02
RETRIES = 25  # the kernel takes one change of a group in 0.1 s from who is not privileged


@dataclass(frozen=True)
class _Level:
    """A policy by its name, since not every system has all; `nice`: more than this process has, of each thread."""

    policy: str
    nice: int
    group_nice: int


_IDLE = _Level("SCHED_IDLE", 0, 19)
_LOW = _Level("SCHED_OTHER", 10, 10)  # a nice of 10 weighs 110, one of 0 weighs 1024 (sched(7))
_NORMAL = _Level("SCHED_OTHER", 0, 0)  # 0: what the kernel gives the group of a new session


@functools.cache
def can_come_back() -> bool:
    """Return whether this process may take a process out of SCHED_IDLE: tried out once, on a thread that then ends."""
    if sys.platform != "linux":
        return False
    outcome: list[bool] = []
    trial = threading.Thread(target=lambda: outcome.append(_goes_and_returns()), name="idle trial", daemon=True)
    trial.start()
    trial.join()
    return outcome == [True]


def idle(pid: int) -> bool:
    """Give the process and its descendants the idle priority; return whether they have it now.

    They do not where there is no way back, and where the process has ended. For a process in a session of its own only:
    the nice of a session holds for all of its processes.
    """
    if not can_come_back() or os.getsid(0) == _session(pid):
        return False
    try:
        return _set(pid, _IDLE) > 0
    except PermissionError:
        return False


def low(pid: int) -> None:
    """Give a tree that is idle a small share, of which no one can deprive it; nothing happens if it has ended.

    Raises:
        PermissionError: a process of it belongs to someone else by now, and stays idle.
    """
    if can_come_back():
        _set(pid, _LOW)


def normal(pid: int) -> None:
    """Give all threads of the process and its descendants the normal priority; nothing happens if it has ended.

    Raises:
        PermissionError: one of them belongs to someone else by now, and stays idle.
    """
    if can_come_back():
        _set(pid, _NORMAL)


@dataclass(frozen=True)
class Step:
    """The priority that a process gets which is not ready so many real seconds after its start at idle priority."""

    after_seconds: float
    give: Callable[[int], None]


PATIENCE = (Step(5.0, low), Step(20.0, normal))  # an idle process may get no core at all


def _goes_and_returns() -> bool:
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # 0: the calling thread, not its process
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    except OSError:
        return False
    return True


def _set(pid: int, level: _Level) -> int:
    """Have every thread follow the level; return how many there are in the end."""
    seen = 0
    for _ in range(PASSES):
        processes = _tree(pid)
        for process in processes:
            _set_group_nice(process, level.group_nice)
        threads = [thread for process in processes for thread in _threads(process)]
        seen = len(threads)
        if not sum(_set_thread(thread, level) for thread in threads):
            break
    return seen


def _set_thread(thread: int, level: _Level) -> bool:
    """Return whether the thread had another policy or nice until now."""
    policy = getattr(os, level.policy)
    nice = min(LEAST_NICE, os.getpriority(os.PRIO_PROCESS, 0) + level.nice)
    try:
        if (os.sched_getscheduler(thread), os.getpriority(os.PRIO_PROCESS, thread)) == (policy, nice):
            return False
        os.sched_setscheduler(thread, policy, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, thread, nice)
    except ProcessLookupError:
        return False
    return True


def _set_group_nice(pid: int, nice: int) -> None:
    path = PROC / str(pid) / "autogroup"  # absent where the kernel does not group by session
    for _ in range(RETRIES):
        try:
            if path.read_text().endswith(f" nice {nice}\n"):
                return
            path.write_text(str(nice))
        except OSError as error:
            if error.errno != errno.EAGAIN:
                return
            time.sleep(RETRY_SECONDS)


def _tree(pid: int) -> list[int]:
    """Return also those whose parent has ended: they descend from it no more, but carry its mark."""
    mark = _mark(pid)
    marked = find_members(PROCESS, mark, {pid}) if mark else []
    return list(dict.fromkeys(process.pid for process in (*family(pid), *marked)))


def _mark(pid: int) -> str | None:
    """Return the mark of a child of `ProcessTable`; None for one that has this process's own, or none."""
    try:
        mark = psutil.Process(pid).environ().get(PROCESS)
    except psutil.Error:
        return None
    return None if mark == os.environ.get(PROCESS) else mark


def _threads(pid: int) -> Iterator[int]:
    try:
        yield from [int(entry.name) for entry in (PROC / str(pid) / "task").iterdir()]
    except OSError:
        return


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None
