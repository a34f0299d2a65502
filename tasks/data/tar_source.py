"""List a tar that is not compressed, and read its members in place.

Links, hard links, devices and sparse members are listed and refused. Headers are read only up to a bounded size, so
that a tar cannot fill the memory with a name. A tar must have its end, a block of zeros with nothing but zeros behind
it: tarfile takes a damaged header for the end, and would leave out the photos behind it.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tasks.data.entries import Entry, Listing, refusal_of
from tasks.data.texts import shortened
from tasks.data.zip_source import bytes_at
from tasks.run.errors import SourceRefused

if TYPE_CHECKING:
    from tasks.run.settings import Settings  # an import of 0.2 s that a worker does without

_MAGIC, _MAGIC_AT = b"ustar", 257
_LONGEST_HEADER = 2**20
_PIECE_BYTES = 2**20
_KINDS = {tarfile.SYMTYPE: "it is a symbolic link", tarfile.LNKTYPE: "it is a hard link"}


def begins_tar(beginning: bytes) -> bool:
    """Tell whether a file that begins with these 512 bytes is a tar: by `ustar`, or in an old one by its checksum."""
    if beginning[_MAGIC_AT:].startswith(_MAGIC):
        return True
    try:
        tarfile.TarInfo.frombuf(beginning, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def list_tar(path: Path, settings: Settings, named: Path | str | None = None) -> Listing:
    """List a tar; `named` is what messages call it.

    Raises:
        SourceRefused: it is damaged or cut, or something lies behind its end.
    """
    again = "make the tar anew, or download it again"
    seen: set[str] = set()
    entries: list[Entry] = []
    folders: list[str] = []
    try:
        for member in _members(path):
            if member.isdir():
                folders.append(member.name.rstrip("/"))
            else:
                entries.append(_entry(member, seen, settings))
            if len(entries) + len(folders) > settings.max_archive_files:
                break
    except RecursionError as error:
        why = "it is a damaged tar: it has too many headers for one member"
        raise SourceRefused("source", f"{named or path}", why, again) from error
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        raise SourceRefused("source", f"{named or path}", f"it is a damaged or cut tar: {error}", again) from error
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
    """Yield the members of a tar.

    Raises:
        tarfile.ReadError: it is damaged or cut, or something lies behind its end.
    """
    with _Headers(path) as file, tarfile.open(fileobj=file, mode="r:", errorlevel=2) as tar:
        at, last = 0, "its beginning"
        while (member := tar.next()) is not None:
            last = shortened(member.name)
            if member.size < 0 or tar.offset <= at:
                raise tarfile.ReadError(f"{last} has a size that leads back: {member.size}")
            at = tar.offset
            yield member
            tar.members.clear()  # type: ignore[attr-defined]  # else it keeps a record of every member
        _require_end(file, tar.offset, last)


def _require_end(file: _Headers, at: int, last: str) -> None:
    """Return if a block of zeros is there, and nothing but zeros behind it.

    Raises:
        tarfile.ReadError: it is something else, or the file ends before it.
    """
    file.seek(at)
    block = file.read(tarfile.BLOCKSIZE)
    if any(block):
        raise tarfile.ReadError(f"the header at byte {at}, behind {last}, cannot be read")
    if len(block) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError(f"it has no end: it is cut at byte {at}, behind {last}")
    while piece := file.read(_PIECE_BYTES):
        if any(piece):
            beyond = file.tell() - len(piece.lstrip(b"\0"))
            raise tarfile.ReadError(f"its end is behind {last}, and there is more at byte {beyond}; is it two tars?")


def _entry(member: tarfile.TarInfo, seen: set[str], settings: Settings) -> Entry:
    kind = _KINDS.get(member.type) or (None if member.isreg() and not member.issparse() else "it is not a regular file")
    size_bytes = 0 if kind else member.size
    refusal = kind or refusal_of(member.name, size_bytes, seen, settings)
    return Entry(member.name, size_bytes, refusal, member.offset_data, size_bytes)
