"""List the archives in a folder, a zip or a tar without photos of its own, one level deep, as folders of their names.

In a folder, zips and tars are read in place. Compressed tars, and all archives in an archive, are first unpacked to the
folder of a staging. Tables of labels that lie beside the archives are read.
"""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from tasks.data import names
from tasks.data.archive import beginning_of, list_archive
from tasks.data.compressed import is_compressed, readable
from tasks.data.entries import REPEATED, Entry, Kind, Listing, check_bounds, points_outside, too_large
from tasks.data.spool import Pieces, Spool
from tasks.data.zip_source import bytes_at
from tasks.run.errors import SourceRefused
from tasks.run.progress import Progress
from tasks.run.settings import Settings

_COMPRESSIONS = ("gz", "zst", "bz2", "xz")
_COMPRESSED = (*(f".tar.{each}" for each in _COMPRESSIONS), ".tgz", ".tzst", ".tbz2", ".txz")
_ENDINGS = (".zip", ".tar", *_COMPRESSED)
_BESIDE = "it lies beside the archives in the archive, and only what is in them is read"


def inner_archives(listing: Listing) -> list[str]:
    """Return the names of the archives in an archive or folder that has no image of its own."""
    if any(_is_own(each.name) for each in listing.entries if names.is_image_name(each.name.split("/"))):
        return []
    return [each.name for each in listing.entries if _is_archive(each) and _is_own(each.name)]


def _is_archive(entry: Entry) -> bool:
    return entry.name.lower().endswith(_ENDINGS) and entry.refusal != REPEATED


def is_unpacked(name: str) -> bool:
    """Tell whether an archive in a folder has to be unpacked, by its name."""
    return name.lower().endswith(_COMPRESSED)


def list_in_folder(folder: Listing, inner: Sequence[str], settings: Settings, spool: Spool | None) -> Listing:
    """Return the listing of a folder with the archives in it as folders of their names.

    An archive without images stays a file, and the files beside the archives are listed too. `spool` is needed only if
    some of them have to be unpacked.

    Raises:
        SourceRefused: an archive is damaged, or has archives in it and no image, or they exceed the limits.
        DiskFailed: one cannot be unpacked.
    """
    readable = {each.name for each in folder.entries if each.refusal in {None, too_large(each.size_bytes, settings)}}
    found: dict[str, Listing] = {}
    for number, name in enumerate(each for each in inner if each in readable):
        named = Path(f"{folder.path}/{name}")
        path = folder.root / name
        if spool is not None and is_compressed(beginning_of(path)):
            path = spool.decompress(path, f"{number}.archive", named)
        listing = list_archive(path, settings, named)
        _refuse_deeper(listing)
        if any(names.is_image_name(entry.name.split("/")) for entry in listing.entries):
            found[name] = listing
    if not found:
        return folder
    beside = (_moved(each, each.name, each.name) for each in folder.entries if each.name not in found)
    parts = [_below(listing, _folder_of(name)) for name, listing in found.items()]
    joined = _joined(folder.path, folder.root, [*parts, replace(folder, entries=tuple(beside))])
    check_bounds(joined, settings)
    return joined


def list_in_archive(outside: Listing, inner: Sequence[str], spool: Spool) -> Listing:
    """Unpack the archives in an archive and list them together; of several, each is a folder of its name.

    What lies beside them in the outer archive is listed. A photo there is refused, so that it is told of; a table of
    labels is read.

    Raises:
        SourceRefused: one is damaged, or has archives in it and no image, or they exceed the limits.
        DiskFailed: one cannot be unpacked.
    """
    wanted = set(inner)
    entries = {each.name: each for each in outside.entries if each.name in wanted and _is_archive(each)}
    total = sum(each.size_bytes for each in entries.values())
    spool.check(total)
    parts = [Listing(spool.named, "zip", tuple(_beside(outside, wanted)), ())]
    with readable(spool.named), _members(outside) as members, spool.progress("unpack", total, "B") as counter:
        for number, name in enumerate(inner):
            found = _unpacked(members.open(entries[name]), name, number, spool, counter)
            parts.append(_below(found, "" if len(inner) == 1 else _folder_of(name)))
    return _joined(spool.named, spool.folder, parts)


def _unpacked(stream: Pieces, name: str, number: int, spool: Spool, counter: Progress) -> Listing:
    named = Path(f"{spool.named}: {name}")
    path = spool.write(stream, f"{number}.archive", named, counter)
    if is_compressed(beginning_of(path)):
        packed, path = path, spool.decompress(path, f"{number}.unpacked", named)
        spool.remove(packed)
    listing = list_archive(path, spool.settings, named)
    _refuse_deeper(listing)
    return listing


def _beside(outside: Listing, inner: Collection[str]) -> Iterator[Entry]:
    """Yield what lies beside archives in one: photos are refused, a README is not, and tables and lists are read."""
    root = str(outside.root.resolve())
    for each in (each for each in outside.entries if each.name not in inner or not _is_archive(each)):
        path = each.name.split("/")
        if each.refusal is None and names.may_name_classes(path):
            yield _moved(each, each.name, root)
        elif names.suffix(path) or not names.is_document(path):
            yield Entry(each.name, each.size_bytes, each.refusal or _BESIDE)


@dataclass(frozen=True)
class _Members:
    """The members of a zip or of a tar, to be read as streams."""

    kind: Kind
    file: BinaryIO
    archive: zipfile.ZipFile | None
    places: Mapping[int, zipfile.ZipInfo] = field(default_factory=dict)

    def open(self, entry: Entry) -> Pieces:
        """Return what an entry holds; by its place, because a zip may hold its name twice."""
        if self.archive is None:
            return _TarMember(self.file, entry)
        member = self.places[entry.offset]
        is_last = self.archive.getinfo(entry.name) is member
        return self.archive.open(entry.name if is_last else member)  # of a name, zipfile's errors are for people


@contextmanager
def _members(outside: Listing) -> Iterator[_Members]:
    with outside.root.open("rb") as file:
        if outside.kind == "tar":
            yield _Members(outside.kind, file, None)
        else:
            with zipfile.ZipFile(file) as archive:
                places = {each.header_offset: each for each in archive.infolist()}
                yield _Members(outside.kind, file, archive, places)


class _TarMember:
    """The bytes of a tar's member."""

    def __init__(self, file: BinaryIO, entry: Entry) -> None:
        self._file, self._at, self._end = file, entry.offset, entry.offset + entry.size_bytes

    def read(self, size: int, /) -> bytes:
        piece = bytes_at(self._file, self._at, min(size, self._end - self._at))
        self._at += len(piece)
        return piece


def _folder_of(name: str) -> str:
    """Return an archive's name without its ending, with a slash."""
    ending = next(each for each in sorted(_ENDINGS, key=len, reverse=True) if name.lower().endswith(each))
    return name[: -len(ending)] + "/"


def _below(listing: Listing, folder: str) -> Listing:
    """Return the listing of an archive with all names below a folder, and its entries in its own file."""
    file = str(listing.root.resolve())
    entries = tuple(_moved(each, folder + each.name, file) for each in listing.entries)
    return replace(listing, entries=entries, folders=tuple(folder + each for each in listing.folders))


def _joined(path: Path | str, root: Path, parts: Sequence[Listing]) -> Listing:
    return Listing(
        path,
        "zip",
        tuple(entry for part in parts for entry in part.entries),
        tuple(folder for part in parts for folder in part.folders),
        root,
        any(part.has_old_names for part in parts),
    )


def _is_own(name: str) -> bool:
    return names.foreign_reason(name.split("/")) is None and not points_outside(name)


def _moved(entry: Entry, name: str, file: str) -> Entry:
    """Return an entry with another name, whose bytes are in this file."""
    place = (entry.offset, entry.packed_bytes, entry.method, entry.crc)
    return Entry(name, entry.size_bytes, entry.refusal, *place, file)


def _refuse_deeper(listing: Listing) -> None:
    inner = inner_archives(listing)
    if not inner:
        return
    are_zips = all(name.lower().endswith(".zip") for name in inner)
    kind = "a zip of zips in a zip" if are_zips else "an archive of archives in an archive"
    flat = "unpack the outer archive, and give one that has the images as --data"
    raise SourceRefused("source", f"{listing.path}", f"it is {kind}; one level is read", flat)
