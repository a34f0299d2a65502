"""List a folder and read its files, without following links."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.data.entries import Entry, Listing, Unreadable, too_deep, too_large
from tasks.run.errors import SourceRefused

if TYPE_CHECKING:
    from tasks.run.settings import Settings  # an import of 0.2 s that a worker does without


def list_folder(root: Path, settings: Settings) -> Listing:
    """List all files below a folder; links, devices, sockets, FIFOs and folders that are closed are listed and refused.

    Raises:
        SourceRefused: it cannot be read, or a folder in it is nested too deeply.
    """
    with _readable(root):
        entries, folders = _list(root, settings)
    return Listing(root, "folder", tuple(entries), tuple(folders), root)


def read_file(root: Path, entry: Entry) -> bytes:
    """Return the bytes of a file in a folder.

    Raises:
        Unreadable: it cannot be read, or its size differs from the listing.
    """
    try:
        path = root / (entry.file or entry.name)
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(entry.size_bytes + 1)
    except OSError as error:
        raise Unreadable(f"it cannot be read: {error.strerror}") from error
    if len(data) != entry.size_bytes:
        raise Unreadable("it changed while it was being staged")
    return data


@contextmanager
def _readable(root: Path) -> Iterator[None]:
    """Translate what the system says of the folder, or of a path that is longer than its limit.

    Raises:
        SourceRefused: the folder cannot be read, or a folder in it is nested too deeply.
    """
    try:
        yield
    except OSError as error:
        why, then = f"it cannot be read: {error.strerror}", "ls -ld on it"
        if error.errno == errno.ENAMETOOLONG:
            why = "a folder in it is nested so deeply that its path is longer than the system allows"
            then = "move what is in it further up"
        raise SourceRefused("source", f"{root}", why, then) from error


def _list(root: Path, settings: Settings) -> tuple[list[Entry], list[str]]:
    """Return the files and the folders below a folder, sorted and relative to it, without following links."""
    entries: list[Entry] = []
    folders: list[str] = []
    pending = [""]
    while pending and len(entries) + len(folders) <= settings.max_archive_files:
        folder = pending.pop()
        try:
            children = _children(root / folder, is_root=not folder)
        except PermissionError as error:
            if not folder:
                raise
            entries.append(Entry(folder, 0, f"it is a folder that cannot be read: {error.strerror}"))
            continue
        for found in children:
            name = f"{folder}/{found.name}" if folder else found.name
            if found.is_dir(follow_symlinks=False):
                folders.append(name)
                pending.append(name)
            elif (entry := _entry(name, found, settings)) is not None:
                entries.append(entry)
    return entries, folders


def _entry(name: str, found: os.DirEntry[str], settings: Settings) -> Entry | None:
    """Return the entry of a file; None for one that went while the folder was read."""
    try:
        size_bytes = found.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return None
    except PermissionError as error:
        return Entry(name, 0, f"it cannot be read: {error.strerror}")
    return Entry(name, size_bytes, _refusal(found) or too_deep(name) or too_large(size_bytes, settings))


def _refusal(found: os.DirEntry[str]) -> str | None:
    if found.is_symlink():
        return "it is a symbolic link"
    return None if found.is_file(follow_symlinks=False) else "it is not a regular file"


def _children(folder: Path, *, is_root: bool) -> list[os.DirEntry[str]]:
    """Return what is in a folder, sorted; nothing of one that went while the folders above it were read."""
    try:
        with os.scandir(folder) as scan:
            return sorted(scan, key=lambda item: item.name)
    except FileNotFoundError:
        if is_root:
            raise
        return []
