"""Read a dataset from a zip or a folder without unpacking it, and refuse hostile content.

A source is listed once; the bytes of an entry are read directly from the zip or the file when they are needed. No file
is ever written under a name from the source, so `../` cannot do harm; such entries are refused anyway. The number of
files, the total size, the size of an image and the compression ratio are limited, and overlapping entries are refused.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tasks.run.errors import SourceRefused
from tasks.run.settings import Settings

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_LOCAL_SIGNATURE = b"PK\x03\x04"
_SMALL_BYTES = 2**20
"""Below this size the compression ratio is not checked, because a small picture of one colour may reach 500:1."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a source; `name` is exact, with `/` between folders, and `refusal` says why it must not be read.

    For a zip, `offset`, `packed_bytes`, `method` and `crc` describe its compressed bytes.
    """

    name: str
    size_bytes: int
    refusal: str | None = None
    offset: int = 0
    packed_bytes: int = 0
    method: int = 0
    crc: int = 0


@dataclass(frozen=True)
class Listing:
    """The content of a source: its files in the source's order, and the names of its folders."""

    path: Path
    is_zip: bool
    entries: tuple[Entry, ...]
    folders: tuple[str, ...]


class Unreadable(Exception):
    """The bytes of an entry cannot be read; the message is the reason for the quarantine."""


def list_source(path: Path, settings: Settings) -> Listing:
    """List the content of a zip or a folder.

    Raises:
        SourceRefused: the path does not exist, is neither a zip nor a folder, is damaged, or exceeds the limits of the
            settings.
    """
    if path.is_dir():
        with _named_by_its_path(path):
            entries, folders = _list_folder(path, settings)
        listing = Listing(path, False, tuple(entries), tuple(folders))
    elif path.is_file():
        listing = _list_zip(path, settings)
    else:
        why = "it is neither a file nor a folder" if os.path.lexists(path) else "there is no such file or folder"
        raise SourceRefused("source", f"{path}", why, "check the path given as --data")
    _check_bounds(listing, settings)
    return listing


class Reader:
    """Reads entries of one source and keeps its zip open; threads and processes must not share it."""

    def __init__(self, path: Path, *, is_zip: bool) -> None:
        self._path = path
        self._zip: BinaryIO | None = path.open("rb") if is_zip else None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        if self._zip is not None:
            self._zip.close()

    def read(self, entry: Entry) -> bytes:
        """Return an entry's bytes.

        Raises:
            Unreadable: the bytes are damaged, or their number differs from the listing.
        """
        return self._from_zip(self._zip, entry) if self._zip is not None else _from_folder(self._path, entry)

    def _from_zip(self, file: BinaryIO, entry: Entry) -> bytes:
        header = _bytes_at(file, entry.offset, _LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or header[:4] != _LOCAL_SIGNATURE:
            raise Unreadable("its header in the zip is damaged")
        *_, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
        start = entry.offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
        data = _unpack(_bytes_at(file, start, entry.packed_bytes), entry)
        if len(data) != entry.size_bytes or zlib.crc32(data) != entry.crc:
            raise Unreadable("its checksum in the zip does not match its bytes")
        return data


def _bytes_at(file: BinaryIO, offset: int, size: int) -> bytes:
    """Return what a zip says that it has there; its offsets and sizes may be any 64-bit numbers."""
    if offset + size > os.fstat(file.fileno()).st_size:
        raise Unreadable("its place in the zip is beyond the end of the file")
    try:
        return os.pread(file.fileno(), size, offset)
    except OSError as error:
        raise Unreadable(f"it cannot be read: {error.strerror}") from error


def _unpack(packed: bytes, entry: Entry) -> bytes:
    if entry.method == zipfile.ZIP_STORED:
        return packed
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, entry.size_bytes + 1)
    except zlib.error as error:
        raise Unreadable(f"its bytes in the zip are damaged: {error}") from error


def _from_folder(root: Path, entry: Entry) -> bytes:
    try:
        descriptor = os.open(root / entry.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(entry.size_bytes + 1)
    except OSError as error:
        raise Unreadable(f"it cannot be read: {error.strerror}") from error
    if len(data) != entry.size_bytes:
        raise Unreadable("it changed while it was being staged")
    return data


def _list_zip(path: Path, settings: Settings) -> Listing:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        why = f"it is not a readable zip: {error}"
        raise SourceRefused("source", f"{path}", why, "give a .zip, a folder, a URL or 'sample' as --data") from error
    _refuse_overlaps(path, members)
    seen: set[str] = set()
    entries: list[Entry] = []
    for member in members:
        if member.is_dir():
            continue
        refusal = "the archive holds this name twice" if member.filename in seen else _refusal(member, settings)
        seen.add(member.filename)
        entries.append(_entry(member, refusal))
    folders = tuple(member.filename.rstrip("/") for member in members if member.is_dir())
    return Listing(path, True, tuple(entries), folders)


def _entry(member: zipfile.ZipInfo, refusal: str | None) -> Entry:
    place = (member.header_offset, member.compress_size, member.compress_type, member.CRC)
    return Entry(member.filename, member.file_size, refusal, *place)


def _refusal(member: zipfile.ZipInfo, settings: Settings) -> str | None:
    if _points_outside(member.filename):
        return "its path points outside the archive"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "it is a symbolic link"
    if member.flag_bits & 0x1:
        return "it is encrypted"
    if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return f"its compression method {member.compress_type} is not supported"
    if member.compress_type == zipfile.ZIP_STORED and member.compress_size != member.file_size:
        return "its sizes in the zip contradict each other"
    if member.file_size > max(_SMALL_BYTES, settings.max_archive_ratio * member.compress_size):
        return f"it unpacks to {member.file_size} bytes from only {member.compress_size} compressed bytes"
    return _too_large(member.file_size, settings)


def _too_large(size_bytes: int, settings: Settings) -> str | None:
    if size_bytes <= settings.max_image_bytes:
        return None
    return f"it has {size_bytes} bytes, more than the {settings.max_image_bytes} allowed for one image"


def _points_outside(name: str) -> bool:
    return name.startswith("/") or ".." in name.split("/") or (len(name) > 1 and name[1] == ":")


def _refuse_overlaps(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuse members that share bytes: a small zip of them can unpack to terabytes.

    Source: D. Fifield, "A better zip bomb", 2019.
    """
    end = 0
    for offset, packed_bytes in sorted((member.header_offset, member.compress_size) for member in members):
        if offset < end:
            why = "members of the zip overlap, so it is a zip bomb"
            raise SourceRefused("source", f"{path}", why, "do not use this file")
        end = offset + _LOCAL_HEADER.size + packed_bytes


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


def _list_folder(root: Path, settings: Settings) -> tuple[list[Entry], list[str]]:
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
        entries.append(Entry(name, size_bytes, _file_refusal(found) or _too_large(size_bytes, settings)))
        if len(entries) > settings.max_archive_files:
            break
    return entries, folders


def _file_refusal(found: os.DirEntry[str]) -> str | None:
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


def _check_bounds(listing: Listing, settings: Settings) -> None:
    size_bytes = sum(entry.size_bytes for entry in listing.entries)
    packed_bytes = sum(entry.packed_bytes for entry in listing.entries)
    if len(listing.entries) > settings.max_archive_files:
        variable = "KENNEL_MAX_ARCHIVE_FILES"
        why = f"it has more than {variable}={settings.max_archive_files} files"
    elif size_bytes > settings.max_archive_bytes:
        variable = "KENNEL_MAX_ARCHIVE_BYTES"
        why = f"it has {size_bytes} bytes unpacked, more than {variable}={settings.max_archive_bytes}"
    elif listing.is_zip and size_bytes > max(100 * _SMALL_BYTES, settings.max_archive_ratio * packed_bytes):
        variable = "KENNEL_MAX_ARCHIVE_RATIO"
        why = f"it unpacks to {size_bytes} bytes from only {packed_bytes} compressed bytes, so it is a zip bomb"
    else:
        return
    raise SourceRefused("source", f"{listing.path}", why, f"if you trust the source, raise {variable}")
