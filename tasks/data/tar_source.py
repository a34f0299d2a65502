"""List a tar that is not compressed, and read its members in place.

Links, hard links, devices and sparse members are listed and refused. Headers are read only up to a bounded size, so
that a tar cannot fill the memory with a name.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tasks.data.entries import Entry, Listing, refusal_of
from tasks.data.zip_source import bytes_at
from tasks.run.errors import SourceRefused
from tasks.run.settings import Settings

MAGIC, MAGIC_AT = b"ustar", 257
_LONGEST_HEADER = 2**20
_KINDS = {tarfile.SYMTYPE: "it is a symbolic link", tarfile.LNKTYPE: "it is a hard link"}


def list_tar(path: Path, settings: Settings, named: Path | str | None = None) -> Listing:
    """List a tar; `named` is what messages call it.

    Raises:
        SourceRefused: it is damaged or cut.
    """
    seen: set[str] = set()
    entries: list[Entry] = []
    folders: list[str] = []
    try:
        for member in _members(path):
            if member.isdir():
                folders.append(member.name.rstrip("/"))
                continue
            entries.append(_entry(member, seen, settings))
            if len(entries) > settings.max_archive_files:
                break
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        again = "make the tar anew, or download it again"
        raise SourceRefused("source", f"{named or path}", f"it is not a readable tar: {error}", again) from error
    return Listing(named or path, "tar", tuple(entries), tuple(folders), path)


def read_tarred(file: BinaryIO, entry: Entry) -> bytes:
    """Return the bytes of a tar's member.

    Raises:
        Unreadable: the tar ends before them, or they cannot be read.
    """
    return bytes_at(file, entry.offset, entry.size_bytes)


class _Headers(io.FileIO):
    """A tar of which only short pieces are read, as long as tarfile reads headers."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header in it is longer than {_LONGEST_HEADER} bytes")
        return super().read(size)


def _members(path: Path) -> Iterator[tarfile.TarInfo]:
    with _Headers(path) as file, tarfile.open(fileobj=file, mode="r:", errorlevel=2) as tar:
        while (member := tar.next()) is not None:
            yield member
            tar.members.clear()  # type: ignore[attr-defined]  # else it keeps a record of every member


def _entry(member: tarfile.TarInfo, seen: set[str], settings: Settings) -> Entry:
    kind = _KINDS.get(member.type) or (None if member.isreg() and not member.issparse() else "it is not a regular file")
    size_bytes = 0 if kind else member.size
    refusal = kind or refusal_of(member.name, size_bytes, seen, settings)
    return Entry(member.name, size_bytes, refusal, member.offset_data, size_bytes)
