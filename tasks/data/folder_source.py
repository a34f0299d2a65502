"""List a folder and read its files, without following links."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.data.entries import Entry, Listing, Unreadable, too_large
from tasks.run.errors import SourceRefused
from tasks.run.settings import Settings


def list_folder(root: Path, settings: Settings) -> Listing:
    """List all files below a folder; links, devices, sockets and FIFOs are listed and refused.

    Raises:
        SourceRefused: a folder in it is nested too deeply.
    """
    with _named_by_its_path(root):
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
def _named_by_its_path(root: Path) -> Iterator[None]:
    """Turn the refusal of a path that is longer than the system's limit into one that says so."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        why = "a folder in it is nested so deeply that its path is longer than the system allows"
        raise SourceRefused("source", f"{root}", why, "move what is in it further up") from error


def _list(root: Path, settings: Settings) -> tuple[list[Entry], list[str]]:
    entries: list[Entry] = []
    folders: list[str] = []
    for name, found in _walk(root):
        if found.is_dir(follow_symlinks=False):
            folders.append(name)
            continue
        try:
            size_bytes = found.stat(follow_symlinks=False).st_size
        except FileNotFoundError:  # it went while the folder was read
            continue
        entries.append(Entry(name, size_bytes, _refusal(found) or too_large(size_bytes, settings)))
        if len(entries) > settings.max_archive_files:
            break
    return entries, folders


def _refusal(found: os.DirEntry[str]) -> str | None:
    if found.is_symlink():
        return "it is a symbolic link"
    return None if found.is_file(follow_symlinks=False) else "it is not a regular file"


def _walk(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield every path below a folder, sorted and relative to it, without following links."""
    pending = [""]
    while pending:
        folder = pending.pop()
        for found in _children(root / folder, is_root=not folder):
            name = f"{folder}/{found.name}" if folder else found.name
            yield name, found
            if found.is_dir(follow_symlinks=False):
                pending.append(name)


def _children(folder: Path, *, is_root: bool) -> list[os.DirEntry[str]]:
    """Return what is in a folder, sorted; nothing of one that went while the folders above it were read."""
    try:
        with os.scandir(folder) as scan:
            return sorted(scan, key=lambda item: item.name)
    except FileNotFoundError:
        if is_root:
            raise
        return []
