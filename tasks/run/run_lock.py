"""Keep a second process from working on the same run."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tasks.run.command_line import path_argument
from tasks.run.disk import disk_boundary
from tasks.run.errors import RunBusy
from tasks.run.own_files import READ_AND_WRITE, open_own
from tasks.run.private_files import private_files


@dataclass
class _HeldLocks:
    """The run locks of this process: the descriptor of each lock file, and how often it was entered."""

    descriptors: dict[Path, tuple[int, int]] = field(default_factory=dict)
    guard: threading.Lock = field(default_factory=threading.Lock)


_HELD = _HeldLocks()


@contextmanager
def run_lock(run_dir: Path) -> Iterator[None]:
    """Lock a run for this process inside the block; the process that holds the lock may enter it again.

    What the process creates meanwhile is private, also when a worker or a notebook runs the flow.

    Raises:
        RunBusy: another process holds the lock; the message names its pid, if this user may see it.
        DiskFailed: the lock cannot be written.
    """
    path = run_dir.resolve() / "lock"
    with _HELD.guard, disk_boundary("lock", path):
        run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, depth = _HELD.descriptors.get(path) or (_lock_file(path, run_dir.name), 0)
        _HELD.descriptors[path] = (descriptor, depth + 1)
    try:
        with private_files():
            yield
    finally:
        with _HELD.guard:
            descriptor, depth = _HELD.descriptors.pop(path)
            if depth > 1:
                _HELD.descriptors[path] = (descriptor, depth - 1)
            else:
                os.close(descriptor)


def _lock_file(path: Path, run_id: str) -> int:
    descriptor = open_own(path, READ_AND_WRITE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise _busy(path, run_id) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _busy(path: Path, run_id: str) -> RunBusy:
    """Return the error that names who holds a lock: who has its file open, since the id in it may be another's.

    The id is written after the lock is taken, and a holder may have been killed while a child of it lives on.
    """
    why, holders = "two processes on one run would create resources twice", _holders(path)
    if holders:
        named = f"process{'es' if len(holders) > 1 else ''} {' and '.join(map(str, holders))}"
        what, wait = f"{named} {'are' if len(holders) > 1 else 'is'} working on it", f"wait for {named} to end"
    else:
        what = f"another process holds {path}, and this user may not see which"
        wait = f"wait for it to end, or find it: sudo fuser {path_argument(path)}"
    return RunBusy(f"run {run_id}", what, why, f"kennel status {run_id}, or {wait}")


def _holders(path: Path) -> list[int]:
    """Return the ids of the other processes that have a file open, of those that this user may look into."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and any(each.path == str(path) for each in process.open_files()):
                found.append(process.pid)
    return sorted(found)
