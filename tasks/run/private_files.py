"""Keep what kennel writes from the other users of the machine: files have mode 0600 and folders 0700.

The umask does it for every writer at once, libraries and child processes among them. It belongs to the whole process,
so blocks that run at the same time count as one.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

PRIVATE = 0o077


@dataclass
class _Umask:
    """How many blocks are open, and the umask that the first of them found."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    blocks: int = 0
    users: int = 0


_UMASK = _Umask()


@contextlib.contextmanager
def private_files() -> Iterator[None]:
    """Let only this user read what this process and its children create inside the block."""
    with _UMASK.lock:
        if _UMASK.blocks == 0:
            _UMASK.users = os.umask(PRIVATE)
        _UMASK.blocks += 1
    try:
        yield
    finally:
        with _UMASK.lock:
            _UMASK.blocks -= 1
            if _UMASK.blocks == 0:
                os.umask(_UMASK.users)


@contextlib.contextmanager
def shared_files() -> Iterator[None]:
    """Create files with the user's own umask in a part of a `private_files` block: those that belong elsewhere."""
    with _UMASK.lock:
        is_private = _UMASK.blocks > 0
        if is_private:
            os.umask(_UMASK.users)
    try:
        yield
    finally:
        if is_private:
            os.umask(PRIVATE)


def tighten(entries: Iterable[Path]) -> list[Path]:
    """Take every right of others from files and folders that an older release made; return those that had some.

    A folder is looked into only if it is open itself, and its own mode is changed last. Links are not followed, and
    what belongs to another user stays.
    """
    return [entry for entry in entries if is_open(entry) and _close(entry)]


def is_open(path: Path) -> bool:
    """Return whether another user has a right to a file or folder of this user."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return not stat.S_ISLNK(status.st_mode) and status.st_uid == os.getuid() and bool(status.st_mode & PRIVATE)


def _close(entry: Path) -> bool:
    for parent, folders, files in os.walk(entry, topdown=False):
        for name in (*files, *folders):
            _take_rights(Path(parent, name))
    return _take_rights(entry)


def _take_rights(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        if is_open(path):
            path.chmod(stat.S_IMODE(path.lstat().st_mode) & ~PRIVATE)
            return True
    return False
