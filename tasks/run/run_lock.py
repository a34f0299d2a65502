"""Keep a second process from working on the same run."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

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
        RunBusy: another process holds the lock; the message names its pid.
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
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        why = "two processes on one run would create resources twice"
        wait = f"kennel status {run_id}, or wait for process {holder} to end"
        raise RunBusy(f"run {run_id}", f"process {holder} is working on it", why, wait) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor
