"""List a source of any kind, and unpack what cannot be read in place: a compressed tar, and archives in an archive.

The archives in a folder, a zip or a tar without photos are folders of their names (`tasks.data.inner_archives`).

A source is unpacked to files with names of kennel's own in the folder of a staging, which is deleted at its end. What
is written is limited by KENNEL_MAX_ARCHIVE_BYTES and KENNEL_MAX_ARCHIVE_RATIO while it is written. A kind is recognised
by the content and not by the name: a server may send `photos.tar.gz` as `download?id=7`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tasks.data.archive import beginning_of, list_archive, list_source
from tasks.data.compressed import decompressed, is_compressed
from tasks.data.entries import Listing, check_bounds
from tasks.data.inner_archives import inner_archives, is_unpacked, list_in_archive, list_in_folder
from tasks.data.spool import BLOCK_BYTES, Spool, require_archive
from tasks.run.errors import SourceRefused
from tasks.run.progress import ProgressFactory
from tasks.run.settings import Settings

_FOREIGN = {b"Rar!": "a RAR archive", b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive"}


def list_unless_packed(path: Path, settings: Settings) -> Listing | None:
    """List a source if that needs no unpacking, else None; of a compressed one only the beginning is read.

    Raises:
        SourceRefused: as `list_unpacked` raises it.
    """
    if not _is_compressed(path):
        listing = list_source(path, settings)
        inner = inner_archives(listing)
        if not inner:
            return listing
        if listing.kind != "folder" or any(map(is_unpacked, inner)):
            return None
        return list_in_folder(listing, inner, settings, None)
    with decompressed(path, path) as stream:
        require_archive(stream.read(BLOCK_BYTES), path)
    return None


def list_unpacked(path: Path, settings: Settings, spool_dir: Path, progress: ProgressFactory) -> Listing:
    """List a source of any kind; what cannot be read in place is unpacked to `spool_dir`, where it is read later.

    Raises:
        SourceRefused: it is damaged, of no kind that is read, nested more deeply, or exceeds the limits.
        DiskFailed: it cannot be unpacked.
    """
    if _is_compressed(path):
        spool = Spool(path, settings, spool_dir, progress, path.stat().st_size)
        listing = list_archive(spool.decompress(path, "source.archive", path), settings, path)
    else:
        listing = list_source(path, settings)
    if inner := inner_archives(listing):
        spool = _inner_spool(listing, inner, spool_dir, settings, progress)
        is_folder = listing.kind == "folder"
        listing = (
            list_in_folder(listing, inner, settings, spool) if is_folder else list_in_archive(listing, inner, spool)
        )
    check_bounds(listing, settings)
    return listing


def _inner_spool(
    listing: Listing, inner: Sequence[str], spool_dir: Path, settings: Settings, progress: ProgressFactory
) -> Spool:
    """Return the folder of its own that the archives in a source are unpacked to; it is made when it is needed."""
    source = Path(listing.path)
    wanted = set(inner)
    packed = sum(each.size_bytes for each in listing.entries if each.name in wanted)
    return Spool(
        source, settings, spool_dir / "archives", progress, packed if source.is_dir() else source.stat().st_size
    )


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
