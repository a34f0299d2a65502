"""Read a dataset from a zip, a tar or a folder without unpacking it, and refuse hostile content.

A source is listed once; the bytes of an entry are read directly from the archive or the file when they are needed. The
number of files, the total size, the size of an image and the compression ratio are limited. What has to be unpacked
first, such as a `.tar.gz`, is in `tasks.data.unpacking`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tasks.data.entries import Entry, Kind, Listing, Unreadable, check_bounds
from tasks.data.folder_source import list_folder, read_file
from tasks.data.tar_source import begins_tar, list_tar, read_tarred
from tasks.data.zip_source import list_zip, read_zipped
from tasks.run.errors import SourceRefused

if TYPE_CHECKING:
    from tasks.run.settings import Settings  # an import of 0.2 s that a worker does without

ReadFrom = Callable[[BinaryIO, Entry], bytes]

_MOST_OPEN = 32
"""How many of a source's archives are open at once; there may be more than a process may open."""


def list_source(path: Path, settings: Settings) -> Listing:
    """List the content of a zip, a tar that is not compressed, or a folder.

    Raises:
        SourceRefused: the path does not exist, is none of these, is damaged, or exceeds the limits of the settings.
    """
    if path.is_dir():
        listing = list_folder(path, settings)
    elif path.is_file():
        listing = list_archive(path, settings, path)
    else:
        why = "it is neither a file nor a folder" if os.path.lexists(path) else "there is no such file or folder"
        raise SourceRefused("source", f"{path}", why, "check the path given as --data")
    check_bounds(listing, settings)
    return listing


def list_archive(path: Path, settings: Settings, named: Path | str) -> Listing:
    """List a zip or a tar by its content, whatever its name is; `named` is what messages call it.

    Raises:
        SourceRefused: it is neither, or is damaged.
    """
    return (list_tar if begins_tar(beginning_of(path)) else list_zip)(path, settings, named)


def beginning_of(path: Path) -> bytes:
    """Return the first bytes of a file, by which its kind is known.

    Raises:
        SourceRefused: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(512)
    except OSError as error:
        raise SourceRefused("source", f"{path}", f"it cannot be read: {error.strerror}", "ls -l on it") from error


class Reader:
    """Reads entries of one source and keeps a few of its archives open; threads and processes must not share it."""

    def __init__(self, root: Path, kind: Kind) -> None:
        self._root, self._kind = root, kind
        is_one_file = kind != "folder" and not root.is_dir()
        self._files: dict[str, tuple[BinaryIO, ReadFrom]] = {"": _opened(root)} if is_one_file else {}

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        for file, _read in self._files.values():
            file.close()

    def read(self, entry: Entry) -> bytes:
        """Return an entry's bytes.

        Raises:
            Unreadable: the bytes are damaged, or their number differs from the listing.
        """
        if self._kind == "folder" or entry.file == entry.name:
            return read_file(self._root, entry)
        file, read = self._archive(entry.file)
        return read(file, entry)

    def _archive(self, name: str) -> tuple[BinaryIO, ReadFrom]:
        if name not in self._files:
            while len(self._files) >= _MOST_OPEN:
                self._files.pop(next(iter(self._files)))[0].close()
            try:
                self._files[name] = _opened(self._root / name)
            except OSError as error:
                raise Unreadable(f"its archive cannot be read: {error.strerror}") from error
        return self._files[name]


def _opened(path: Path) -> tuple[BinaryIO, ReadFrom]:
    """Return an archive that is open, and how its entries are read: as those of a tar or those of a zip."""
    file = path.open("rb")
    return file, read_tarred if begins_tar(os.pread(file.fileno(), 512, 0)) else read_zipped
