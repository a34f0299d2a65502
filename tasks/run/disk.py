"""Turn an operating system's refusal to write into one error with the path, the bytes needed and what to do.

Every writer of kennel stands inside `disk_boundary`, which knows what it writes. A folder or a FIFO in a file's place,
a limit on open files, and missing memory are such refusals too. Other errors of the operating system pass unchanged.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.run.errors import DiskFailed

_AGAIN = "then run the same command again, which goes on from there"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}
_IN_THE_WAY = {errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENXIO}
_EXISTS = {errno.EEXIST, errno.ENOTEMPTY}
_NO_FILE = "it is neither a file nor a folder"
_LINKS = {errno.ELOOP: "it is a link, which is not followed", errno.ENXIO: _NO_FILE}
_EXHAUSTED = {errno.EMFILE, errno.ENFILE}
_PIECE_BYTES = 2**20
_NO_THREAD = "can't start new thread"


@contextmanager
def disk_boundary(where: str, path: Path | None = None, needed_bytes: int | None = None) -> Iterator[None]:
    """Translate a refusal to write `path` inside the block; `needed_bytes` is what the file needs, if that is known.

    Without a path, the path that the error names is used; an error without one passes unchanged.

    Raises:
        DiskFailed: the disk is full or read-only, the folder refuses this user, something else is in the file's place,
            or no more files can be opened.
    """
    try:
        if path is not None and path.exists() and not (path.is_file() or path.is_dir()):
            raise _in_the_way(where, path, _NO_FILE)  # a FIFO would be waited for
        yield
    except OSError as error:
        failed = disk_failure(error, where, path, needed_bytes)
        if failed is None:
            raise
        raise failed from error
    except (MemoryError, RuntimeError) as error:
        if (failed := exhaustion(error, where)) is None:
            raise
        raise failed from error


@contextmanager
def source_boundary(where: str, path: Path) -> Iterator[None]:
    """Translate a refusal to read `path` inside the block, which may stand in a `disk_boundary` of what is written.

    Raises:
        DiskFailed: it cannot be read; the message names it, and not what was to be written.
    """
    try:
        yield
    except OSError as error:
        why, remedy = error.strerror or str(error), f"restore it, or give this user the right to read it, {_AGAIN}"
        raise DiskFailed(where, f"{path} cannot be read", why, remedy) from error


def pieces_of(path: Path, where: str) -> Iterator[bytes]:
    """Yield the content of a file; an error of who takes the pieces, such as a full disk, stays his own.

    Raises:
        DiskFailed: the file cannot be read.
    """
    with source_boundary(where, path), path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


def disk_failure(
    error: OSError, where: str, path: Path | None = None, needed_bytes: int | None = None
) -> DiskFailed | None:
    """Return what an error of the operating system means for a writer; None if it is none of the disk's.

    Without a path it is not known whether the file that the error names was to be read or to be written.
    """
    place = path if path is not None else _named_by(error)
    if error.errno in _EXHAUSTED:
        more = f"end what has them open, or raise the limit (ulimit -n), {_AGAIN}"
        return DiskFailed(where, f"{place or 'a file'} cannot be opened", os.strerror(error.errno), more)
    if error.errno == errno.ENAMETOOLONG and place is not None:
        shorter = f"use folders with shorter names, {_AGAIN}"
        return DiskFailed(where, f"{place} cannot be read or written", os.strerror(error.errno), shorter)
    if error.errno in _IN_THE_WAY | (set() if path is None else _EXISTS) and place is not None:
        return _in_the_way(where, place, _LINKS.get(error.errno) or os.strerror(error.errno))
    if error.errno == errno.EOPNOTSUPP and place is not None:
        elsewhere = f"name another folder, {_AGAIN}"
        return DiskFailed(where, f"{place} cannot be written", f"{place.parent} takes no new files", elsewhere)
    if error.errno not in _FULL | _REFUSED or place is None:
        return None
    what = f"{place} cannot be written"
    if error.errno in _FULL:
        needed = "" if needed_bytes is None else f"; {_megabytes(needed_bytes)} are needed"
        remedy = "raise the limit on a file's size (ulimit -f)" if error.errno == errno.EFBIG else "free disk space"
        if error.errno == errno.ENOSPC and _has_no_inode(place):
            needed, remedy = ", but no inode, and each file takes one", "delete files that are not needed (df -i)"
        why = f"{os.strerror(error.errno)}: {_free(place)} free{needed}"
        return DiskFailed(where, what, why, f"{remedy}, {_AGAIN}")
    if error.errno == errno.EROFS:
        return DiskFailed(where, what, os.strerror(error.errno), f"mount it writable, {_AGAIN}")
    why = f"{os.strerror(error.errno)}, for the user with the id {os.geteuid()}"
    if path is None:
        rights = f"give this user the right to read and write {place}, {_AGAIN}"
        return DiskFailed(where, f"{place} cannot be read or written", why, rights)
    return DiskFailed(where, what, why, f"give this user the right to write {place.parent}, {_AGAIN}")


def exhaustion(error: Exception, where: str) -> DiskFailed | None:
    """Return what an error means that says that this machine has no more memory, processes or threads; else None."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, MemoryError) or number == errno.ENOMEM:
        more = f"end other programs, or raise the limit (ulimit -v), {_AGAIN}"
        return DiskFailed(where, "there is no more memory", str(error) or os.strerror(errno.ENOMEM), more)
    if number == errno.EAGAIN or (isinstance(error, RuntimeError) and _NO_THREAD in str(error)):
        more = f"end other programs, or raise the limit (ulimit -u), {_AGAIN}"
        return DiskFailed(where, "no process or thread can be started", str(error), more)
    return None


def failure_of_child(said: str, where: str, path: Path) -> DiskFailed | None:
    """Return what the last words of a child process, which could not write `path`, mean; None if it is no such error.

    Python names an error's number as "Errno 28", Rust's libraries (safetensors) as "os error 28".
    """
    found = re.findall(r"(?:Errno|os error) ([0-9]{1,4})\b", said)
    return disk_failure(OSError(int(found[-1]), ""), where, path) if found else None


def _in_the_way(where: str, path: Path, why: str) -> DiskFailed:
    """Return the error for what is where a file, or a folder above it, belongs."""
    found = next((each for each in (path, *path.parents) if os.path.lexists(each)), path)
    what, remove = f"{path} cannot be read or written", f"remove or move {found}, {_AGAIN}"
    return DiskFailed(where, what, f"{found}: {why}", remove)


def _named_by(error: OSError) -> Path | None:
    return Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes | os.PathLike) else None


def _free(path: Path) -> str:
    """Return the free bytes where `path` lies, or would lie."""
    folder = _folder_at(path)
    return f"{folder} has {_megabytes(shutil.disk_usage(folder).free)}"


def _has_no_inode(path: Path) -> bool:
    """Tell whether the disk takes no more files, whatever their size; a disk that does not count inodes has 0 of 0."""
    disk = os.statvfs(_folder_at(path))
    return disk.f_files > 0 and disk.f_favail == 0


def _folder_at(path: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next((each for each in (path, *path.parents) if each.is_dir()), Path("/"))


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.3f} MB" if size_bytes < 1e6 else f"{size_bytes / 1e6:,.1f} MB"
