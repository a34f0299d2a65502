"""Turn an operating system's refusal to write into one error with the path, the bytes needed and what to do.

Every writer of kennel stands inside `disk_boundary`, which knows what it writes. Other errors of the operating system
pass unchanged.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.run.errors import DiskFailed

_AGAIN = "then run the same command again, which goes on from there"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}


@contextmanager
def disk_boundary(where: str, path: Path | None = None, needed_bytes: int | None = None) -> Iterator[None]:
    """Translate a refusal to write `path` inside the block; `needed_bytes` is what the file needs, if that is known.

    Without a path, the path that the error names is used; an error without one passes unchanged.

    Raises:
        DiskFailed: the disk is full or read-only, or the folder refuses this user.
    """
    try:
        yield
    except OSError as error:
        failed = disk_failure(error, where, path, needed_bytes)
        if failed is None:
            raise
        raise failed from error


def disk_failure(
    error: OSError, where: str, path: Path | None = None, needed_bytes: int | None = None
) -> DiskFailed | None:
    """Return what an error of the operating system means for a writer; None if it is none of the disk's.

    Without a path it is not known whether the file that the error names was to be read or to be written.
    """
    place = path if path is not None else _named_by(error)
    if error.errno not in _FULL | _REFUSED or place is None:
        return None
    what = f"{place} cannot be written"
    if error.errno in _FULL:
        needed = "" if needed_bytes is None else f"; {_megabytes(needed_bytes)} are needed"
        why = f"{os.strerror(error.errno)}: {_free(place)} free{needed}"
        return DiskFailed(where, what, why, f"free disk space, {_AGAIN}")
    if error.errno == errno.EROFS:
        return DiskFailed(where, what, os.strerror(error.errno), f"mount it writable, {_AGAIN}")
    why = f"{os.strerror(error.errno)}, for the user with the id {os.geteuid()}"
    if path is None:
        rights = f"give this user the right to read and write {place}, {_AGAIN}"
        return DiskFailed(where, f"{place} cannot be read or written", why, rights)
    return DiskFailed(where, what, why, f"give this user the right to write {place.parent}, {_AGAIN}")


def _named_by(error: OSError) -> Path | None:
    return Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes | os.PathLike) else None


def _free(path: Path) -> str:
    """Return the free bytes where `path` lies, or would lie."""
    folder = next((each for each in (path, *path.parents) if each.is_dir()), Path("/"))
    return f"{folder} has {_megabytes(shutil.disk_usage(folder).free)}"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.3f} MB" if size_bytes < 1e6 else f"{size_bytes / 1e6:,.1f} MB"
