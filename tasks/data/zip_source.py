"""List a zip and read its members in place, without unpacking it.

Zips of more than 4 GiB (zip64) and those that were written to a stream are read by the directory at their end, which
has all sizes. Overlapping members and those that unpack to far more than they have are refused.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tasks.data.entries import FORMS, SMALL_BYTES, Entry, Listing, Unreadable, refusal_of
from tasks.run.errors import SourceRefused

if TYPE_CHECKING:
    from tasks.run.settings import Settings  # an import of 0.2 s that a worker does without

ENCRYPTED = "it is encrypted"
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_UTF_8 = 0x800
_LOCAL_SIGNATURE = b"PK\x03\x04"


def members_of(path: Path, named: Path | str) -> list[zipfile.ZipInfo]:
    """Return the members of a zip from its directory; `named` is what an error calls it.

    Raises:
        SourceRefused: it is no zip, or is damaged, its members overlap, or all of them are encrypted.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise SourceRefused("source", f"{named}", f"it is not a readable zip: {error}", FORMS) from error
    _refuse_overlaps(named, members)
    files = [member for member in members if not member.is_dir()]
    if files and all(member.flag_bits & 0x1 for member in files):
        unpack = "unpack it with its password, and give the folder as --data"
        raise SourceRefused("source", f"{named}", f"all of its {len(files)} files are encrypted", unpack)
    return members


def list_zip(path: Path, settings: Settings, named: Path | str | None = None) -> Listing:
    """List a zip; members that are links, encrypted or suspicious are listed and refused.

    Raises:
        SourceRefused: as `members_of` raises it.
    """
    members = members_of(path, named or path)
    seen: set[str] = set()
    entries = [_entry(member, seen, settings) for member in members if not member.is_dir()]
    folders = tuple(member.filename.rstrip("/") for member in members if member.is_dir())
    is_old = any(not (member.flag_bits & _UTF_8 or member.filename.isascii()) for member in members)
    return Listing(named or path, "zip", tuple(entries), folders, path, is_old)


def read_zipped(file: BinaryIO, entry: Entry) -> bytes:
    """Return the bytes of a zip's member.

    Raises:
        Unreadable: they are damaged, or their number differs from the listing.
    """
    header = bytes_at(file, entry.offset, _LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or header[:4] != _LOCAL_SIGNATURE:
        raise Unreadable("its header in the zip is damaged")
    *_, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
    start = entry.offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
    data = _unpack(bytes_at(file, start, entry.packed_bytes), entry)
    if len(data) != entry.size_bytes or zlib.crc32(data) != entry.crc:
        raise Unreadable("its checksum in the zip does not match its bytes")
    return data


def bytes_at(file: BinaryIO, offset: int, size: int) -> bytes:
    """Return what an archive says that it has there; its offsets and sizes may be any 64-bit numbers.

    Raises:
        Unreadable: the place is beyond the end of the file, or cannot be read.
    """
    if offset + size > os.fstat(file.fileno()).st_size:
        raise Unreadable("its place in the archive is beyond the end of the file")
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


def _entry(member: zipfile.ZipInfo, seen: set[str], settings: Settings) -> Entry:
    refusal = refusal_of(member.filename, member.file_size, seen, settings) or _refusal(member, settings)
    place = (member.header_offset, member.compress_size, member.compress_type, member.CRC)
    return Entry(member.filename, member.file_size, refusal, *place)


def _refusal(member: zipfile.ZipInfo, settings: Settings) -> str | None:
    if stat.S_ISLNK(member.external_attr >> 16):
        return "it is a symbolic link"
    if member.flag_bits & 0x1:
        return ENCRYPTED
    if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return f"its compression method {member.compress_type} is not supported"
    if member.compress_type == zipfile.ZIP_STORED and member.compress_size != member.file_size:
        return "its sizes in the zip contradict each other"
    if member.file_size > max(SMALL_BYTES, settings.max_archive_ratio * member.compress_size):
        return f"it unpacks to {member.file_size} bytes from only {member.compress_size} compressed bytes"
    return None


def _refuse_overlaps(named: Path | str, members: list[zipfile.ZipInfo]) -> None:
    """Refuse members that share bytes: a small zip of them can unpack to terabytes.

    Source: D. Fifield, "A better zip bomb", 2019.
    """
    end = 0
    for offset, packed_bytes in sorted((member.header_offset, member.compress_size) for member in members):
        if offset < end:
            why = "members of the zip overlap, so it is a zip bomb"
            raise SourceRefused("source", f"{named}", why, "do not use this file")
        end = offset + _LOCAL_HEADER.size + packed_bytes
