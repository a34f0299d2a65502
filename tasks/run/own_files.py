"""Open, replace and clear what is kennel's own in a home and in the folder of a run, without following a link there.

A link in the place of one of these files leads to a file of somebody else, which would be overwritten; a FIFO would be
waited for without end. The home and the folder of runs may be links themselves.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT
ANEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
READ_AND_WRITE = os.O_RDWR | os.O_CREAT


def open_own(path: Path, flags: int) -> int:
    """Return the descriptor of a regular file, which is created with mode 0600 if `flags` say so.

    Raises:
        OSError: ELOOP for a link in its place, ENXIO for a FIFO, a device or a socket; or it cannot be opened.
    """
    careful = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    descriptor = os.open(path, flags & ~os.O_TRUNC | careful, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), str(path))
        if flags & os.O_TRUNC:
            os.ftruncate(descriptor, 0)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Yield a new file beside `path`, mode 0600, and at the end of the block rename it to that; a link is replaced.

    Raises:
        OSError: the folder cannot be written, or `path` is a folder; then the file stays as it was.
    """
    descriptor, part = _new_beside(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        Path(part).replace(path)
    finally:
        with suppress(OSError):  # it was renamed
            Path(part).unlink()


def require_replaceable(path: Path) -> None:
    """Make a file beside `path` and remove it again, so that `replacing` will not be refused only after long work.

    Raises:
        OSError: the folder does not exist, or takes no file.
    """
    descriptor, part = _new_beside(path)
    os.close(descriptor)
    Path(part).unlink()


def _new_beside(path: Path) -> tuple[int, str]:
    try:
        return tempfile.mkstemp(prefix=f".{path.name[:200]}.", dir=path.parent)
    except FileNotFoundError as error:
        if not path.parent.is_dir():
            raise
        # /proc says that the file is not there, which it cannot be before it was made
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), str(path.parent)) from error


def remove_tree(folder: Path) -> None:
    """Remove a folder with all in it; of a link only the link, and nothing happens when there is nothing.

    Raises:
        OSError: something of it cannot be removed.
    """
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink()
    else:
        shutil.rmtree(folder)
