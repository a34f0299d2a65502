"""Unpack what cannot be read in place: a compressed tar, and the zips in a zip, one level deep.

The zips in a folder without photos are read in place, as folders of their names.

A source is unpacked to files with names of kennel's own in the folder of a staging, which is deleted at its end. What
is written is limited by KENNEL_MAX_ARCHIVE_BYTES and KENNEL_MAX_ARCHIVE_RATIO while it is written. A kind is recognised
by the content and not by the name: a server may send `photos.tar.gz` as `download?id=7`.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.data import names
from tasks.data.archive import beginning_of, list_archive, list_source
from tasks.data.compressed import Stream, decompressed, is_compressed, readable
from tasks.data.entries import Entry, Listing, beyond_ratio, check_bounds, points_outside, too_large
from tasks.data.tar_source import begins_tar
from tasks.run.disk import disk_boundary
from tasks.run.errors import SourceRefused
from tasks.run.own_files import ANEW, open_own
from tasks.run.progress import Progress, ProgressFactory
from tasks.run.settings import Settings

_PIECE_BYTES = 2**20
_BLOCK_BYTES = 512
_ZIP_MAGIC = b"PK"
_BESIDE = "it lies beside the zips in the zip, and only what is in them is read"
_DOCUMENTS = frozenset({"readme", "license", "licence", "copying", "copyright", "notice", "authors", "changelog"})
"""Files without an ending, in lower case, that are no photos."""

_FOREIGN = {b"Rar!": "a RAR archive", b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive"}


@dataclass(frozen=True)
class _Limits:
    """Where a source is unpacked to, and how much of it; `named` is what messages call it."""

    named: Path
    settings: Settings
    spool_dir: Path
    progress: ProgressFactory


def list_unless_packed(path: Path, settings: Settings) -> Listing | None:
    """List a source if that needs no unpacking, else None; of a compressed one only the beginning is read.

    Raises:
        SourceRefused: as `list_unpacked` raises it.
    """
    if not _is_compressed(path):
        listing = list_source(path, settings)
        if listing.kind == "folder":
            return _with_zips(listing, settings)
        return None if _inner_zips(listing) else listing
    with decompressed(path) as stream:
        _require_archive(stream.read(_BLOCK_BYTES), path)
    return None


def list_unpacked(path: Path, settings: Settings, spool_dir: Path, progress: ProgressFactory) -> Listing:
    """List a source of any kind; what cannot be read in place is unpacked to `spool_dir`, where it is read later.

    Raises:
        SourceRefused: it is damaged, of no kind that is read, nested more deeply, or exceeds the limits.
        DiskFailed: it cannot be unpacked.
    """
    limits = _Limits(path, settings, spool_dir, progress)
    packed = _is_compressed(path)
    listing = list_archive(_decompress(limits), settings, path) if packed else list_source(path, settings)
    if listing.kind == "folder":
        listing = _with_zips(listing, settings)
    elif inner := _inner_zips(listing):
        listing = _list_inner(listing, inner, limits)
    check_bounds(listing, settings)
    return listing


def _is_compressed(path: Path) -> bool:
    """Tell whether a source is a compressed file.

    Raises:
        SourceRefused: it is an archive of a kind that is not read.
    """
    if not path.is_file():
        return False
    beginning = beginning_of(path)
    for magic, kind in _FOREIGN.items():
        if beginning.startswith(magic):
            more = "unpack it, and give the folder as --data"
            raise SourceRefused("source", f"{path}", f"it is {kind}, which kennel does not read", more)
    return is_compressed(beginning)


def _require_archive(beginning: bytes, named: Path) -> None:
    if not (begins_tar(beginning) or beginning.startswith(_ZIP_MAGIC)):
        more = "give the folder or the archive that it was made of as --data"
        raise SourceRefused("source", f"{named}", "it is compressed, and holds neither a tar nor a zip", more)


def _decompress(limits: _Limits) -> Path:
    """Write what the compressed source holds to the spool and return its path."""
    target = limits.spool_dir / "source.archive"
    with limits.progress("unpack", None, "B") as counter, decompressed(limits.named) as stream:
        _write(stream, target, limits, counter)
    return target


def _write(stream: Stream, target: Path, limits: _Limits, counter: Progress) -> None:
    """Write a stream to a file of the spool, within the limits.

    Raises:
        SourceRefused: it exceeds the limits, is damaged, or is no archive.
        DiskFailed: it cannot be written.
    """
    size_bytes = 0
    with disk_boundary("unpack", target), os.fdopen(open_own(target, ANEW), "wb") as file:
        while True:
            with readable(limits.named):
                piece = stream.read(_PIECE_BYTES)
            if not size_bytes:
                _require_archive(piece[:_BLOCK_BYTES], limits.named)
            if not piece:
                return
            file.write(piece)
            size_bytes += len(piece)
            counter.advance(len(piece))
            _check(size_bytes, limits)


def _check(size_bytes: int, limits: _Limits) -> None:
    """Return if the source may unpack to this size.

    Raises:
        SourceRefused: it exceeds the limits.
    """
    settings = limits.settings
    variable = "KENNEL_MAX_ARCHIVE_RATIO"
    why = beyond_ratio(size_bytes, limits.named.stat().st_size, settings)
    if size_bytes > settings.max_archive_bytes:
        variable = "KENNEL_MAX_ARCHIVE_BYTES"
        why = f"it has more than {variable}={settings.max_archive_bytes} bytes unpacked"
    if why is not None:
        raise SourceRefused("source", f"{limits.named}", why, f"if you trust the source, raise {variable}")


def _inner_zips(listing: Listing) -> list[str]:
    """Return the names of the zips in a zip or folder that has no image of its own."""
    if listing.kind == "tar":
        return []
    if any(_is_own(each.name) for each in listing.entries if names.is_image_name(each.name.split("/"))):
        return []
    return [each.name for each in listing.entries if each.name.lower().endswith(".zip") and _is_own(each.name)]


def _is_own(name: str) -> bool:
    return names.foreign_reason(name.split("/")) is None and not points_outside(name)


def _has_images(listing: Listing) -> bool:
    return any(names.is_image_name(entry.name.split("/")) for entry in listing.entries)


def _with_zips(folder: Listing, settings: Settings) -> Listing:
    """Return the listing of a folder; the zips in one that has no image are folders of their names.

    A zip without images stays a file, and the files beside the zips are listed too.

    Raises:
        SourceRefused: a zip is damaged, or has zips in it and no image, or they exceed the limits.
    """
    readable = {each.name for each in folder.entries if each.refusal in {None, too_large(each.size_bytes, settings)}}
    zips = {}
    for name in (each for each in _inner_zips(folder) if each in readable):
        found = list_archive(folder.root / name, settings, Path(f"{folder.path}/{name}"))
        _refuse_deeper(found)
        if _has_images(found):
            zips[name] = found
    if not zips:
        return folder
    beside = (each._replace(file=each.name) for each in folder.entries if each.name not in zips)
    inner = (_below(found, name[: -len(".zip")], name) for name, found in zips.items())
    listing = _joined(folder, [*inner, replace(folder, entries=tuple(beside))])
    check_bounds(listing, settings)
    return listing


def _below(listing: Listing, folder: str, file: str) -> Listing:
    """Return the listing of a zip with all names below a folder, and its entries in a file of the root."""
    entries = tuple(each._replace(name=f"{folder}/{each.name}", file=file) for each in listing.entries)
    return replace(listing, entries=entries, folders=tuple(f"{folder}/{each}" for each in listing.folders))


def _joined(whole: Listing, parts: Sequence[Listing]) -> Listing:
    return Listing(
        whole.path,
        "zip",
        tuple(entry for part in parts for entry in part.entries),
        tuple(folder for part in parts for folder in part.folders),
        whole.root,
        any(part.has_old_names for part in parts),
    )


def _refuse_deeper(listing: Listing) -> None:
    if _inner_zips(listing):
        flat = "unpack the outer zip, and give one that has the images as --data"
        raise SourceRefused("source", f"{listing.path}", "it is a zip of zips in a zip; one level is read", flat)


def _list_inner(outside: Listing, inner: list[str], limits: _Limits) -> Listing:
    """Unpack the zips in a zip and list them together; of several, each is a folder of its name.

    What lies beside them in the outer zip is listed and refused, so that a photo there is told of.

    Raises:
        SourceRefused, DiskFailed: as `list_unpacked` raises them.
    """
    root = limits.spool_dir / "zips"
    with disk_boundary("unpack", root):
        root.mkdir(mode=0o700)
    entries = _beside(outside, set(inner))
    folders: list[str] = []
    are_old = False
    with readable(limits.named), zipfile.ZipFile(outside.root) as outer:
        total = sum(outer.getinfo(name).file_size for name in inner)
        _check(total, limits)
        with limits.progress("unpack", total, "B") as counter:
            for number, name in enumerate(inner):
                found = _list_one(outer, name, root / f"{number}.zip", limits, counter)
                folder = "" if len(inner) == 1 else name[: -len(".zip")] + "/"
                entries += [each._replace(name=folder + each.name, file=found.root.name) for each in found.entries]
                folders += [folder + each for each in found.folders]
                are_old |= found.has_old_names
    return Listing(limits.named, "zip", tuple(entries), tuple(folders), root, are_old)


def _beside(outside: Listing, inner: Collection[str]) -> list[Entry]:
    """Return what lies beside the zips in a zip, refused: a photo there is told of, and a README is not."""
    return [
        each._replace(refusal=each.refusal or _BESIDE)
        for each in outside.entries
        if not (each.name in inner or each.name.rpartition("/")[2].lower() in _DOCUMENTS)
    ]


def _list_one(outer: zipfile.ZipFile, name: str, target: Path, limits: _Limits, counter: Progress) -> Listing:
    shown = Path(f"{limits.named}: {name}")
    with readable(shown), outer.open(name) as stream:
        _write(stream, target, limits, counter)
    listing = list_archive(target, limits.settings, shown)
    _refuse_deeper(listing)
    return listing
