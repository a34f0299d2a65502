"""What a job left in its /opt/ml, opened by the server: the job may have put anything there, even while it is read.

No link on the way is followed, and nothing but a regular file is opened: a link may lead to a file of the user's, a
pipe waits for ever for its writer, and a device never ends.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO

DEEPEST = 100  # folders in folders; each is open while what is in it is listed


@dataclass(frozen=True)
class JobFolder:
    """The folder `inside` the folder that a host has as /opt/ml."""

    ml: Path
    inside: PurePath

    @property
    def path(self) -> Path:
        """Where it is unless the job has put something else there; for the time before it runs."""
        return self.ml / self.inside

    def names(self) -> list[PurePath]:
        """Return regular files and links below it in order, as paths relative to it; none if it does not exist.

        Raises:
            OSError: it is no folder but a link or a file, or folders are too deep in each other.
        """
        with contextlib.suppress(FileNotFoundError), _opened(self.ml, self.inside) as folder:
            return sorted(_below(folder, PurePath()))
        return []

    def open(self, name: PurePath) -> BinaryIO:
        """Open a regular file below it.

        Raises:
            OSError: it does not exist, is something else, or lies beyond a link.
        """
        with _opened(self.ml, self.inside / name.parent) as folder:
            file = os.fdopen(os.open(name.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder), "rb")
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise OSError(errno.EINVAL, "not a regular file", str(self.inside / name))
        return file

    def target(self, name: PurePath) -> tuple["JobFolder", PurePath] | None:
        """Return what `open` takes for a file or what a link leads to; None if that is not in /opt/ml.

        Only for when nothing of the job runs any more.
        """
        ml, path = self.ml.resolve(), (self.path / name).resolve()
        return (JobFolder(self.ml, PurePath()), path.relative_to(ml)) if path.is_relative_to(ml) else None


@contextlib.contextmanager
def _opened(ml: Path, inside: PurePath) -> Iterator[int]:
    folder = os.open(ml, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in inside.parts:
            if part == "..":
                raise OSError(errno.EINVAL, "leads out of its folder", str(inside))
            outer, folder = folder, _open_folder(part, folder, inside)
            os.close(outer)
        yield folder
    finally:
        os.close(folder)


def _open_folder(name: str, outer: int, shown: PurePath) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=outer)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise OSError(error.errno, "no folder but a link or a file", f"/opt/ml/{shown}") from None
        raise


def _below(folder: int, base: PurePath) -> Iterator[PurePath]:
    if len(base.parts) > DEEPEST:
        raise OSError(errno.ENAMETOOLONG, f"folders are more than {DEEPEST} deep in each other", str(base))
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):  # the job has removed it meanwhile
            mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                yield from _in_folder(name, folder, base)
            elif stat.S_ISREG(mode) or stat.S_ISLNK(mode):
                yield base / name


def _in_folder(name: str, outer: int, base: PurePath) -> Iterator[PurePath]:
    inner = _open_folder(name, outer, base / name)
    try:
        yield from _below(inner, base / name)
    finally:
        os.close(inner)
