"""What a source of images consists of: its entries, its listing, and the limits that every kind of source has.

No file is ever written under a name from a source, so `../` cannot do harm; such entries are refused anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from tasks.run.errors import SourceRefused

if TYPE_CHECKING:
    from tasks.run.settings import Settings  # an import of 0.2 s that a worker does without

FORMS = "give a URL, an archive, a folder or 'sample' as --data"

SMALL_BYTES = 2**20
"""Below this size the compression ratio is not checked, because a small picture of one colour may reach 500:1."""

MAY_UNPACK_BYTES = 100 * SMALL_BYTES
"""A whole archive may unpack to this size whatever its compression ratio is."""

MOST_FOLDERS = 100
"""A file below more folders is refused, because the memory for the ends of its name grows with their square."""

REPEATED = "the archive holds this name twice"
Kind = Literal["zip", "tar", "folder"]


class Entry(NamedTuple):
    """One file of a source; `name` is exact, with `/` between folders, and `refusal` says why it must not be read.

    `offset` and `packed_bytes` are the place of its bytes in a zip or tar; `method` and `crc` are of a zip. `file` is
    where the bytes are: "" is the listing's `root` itself or, in a folder, the file of this name; another one is an
    archive, relative to the root or absolute, or with the entry's own name a plain file.
    """

    name: str
    size_bytes: int
    refusal: str | None = None
    offset: int = 0
    packed_bytes: int = 0
    method: int = 0
    crc: int = 0
    file: str = ""


@dataclass(frozen=True)
class Listing:
    """The content of a source: its files in the source's order, and the names of its folders.

    `path` is what messages name. `root` is the file or folder that has the bytes, of the kind that `kind` says; it is
    another one than `path` when the source was unpacked, or its objects were downloaded. `has_old_names`: names
    of a zip that are not marked as UTF-8 are not ASCII, so they were read in the code page of MS-DOS.
    """

    path: Path | str
    kind: Kind
    entries: tuple[Entry, ...]
    folders: tuple[str, ...]
    root: Path = Path()
    has_old_names: bool = False


class Unreadable(Exception):
    """The bytes of an entry cannot be read; the message is the reason for the quarantine."""


def points_outside(name: str) -> bool:
    """Tell whether a name leads out of the folder that it would be unpacked to."""
    return name.startswith("/") or ".." in name.split("/") or (len(name) > 1 and name[1] == ":")


def refusal_of(name: str, size_bytes: int, seen: set[str], settings: Settings) -> str | None:
    """Return why an archive's entry of this name and size is refused, if it is, and add the name to those seen."""
    is_repeated = name in seen
    seen.add(name)
    if is_repeated:
        return REPEATED
    if points_outside(name):
        return "its path points outside the archive"
    return too_deep(name) or too_large(size_bytes, settings)


def too_deep(name: str) -> str | None:
    """Return why a file of this name is refused that is below too many folders, if it is."""
    count = name.count("/") + name.count("\\")
    return f"it is below {count:,} folders; at most {MOST_FOLDERS} are allowed" if count > MOST_FOLDERS else None


def too_large(size_bytes: int, settings: Settings) -> str | None:
    """Return why an image of this size is refused, if it is."""
    if size_bytes <= settings.max_image_bytes:
        return None
    return f"it has {size_bytes} bytes; at most KENNEL_MAX_IMAGE_BYTES={settings.max_image_bytes} are allowed"


def beyond_ratio(size_bytes: int, packed_bytes: int, settings: Settings) -> str | None:
    """Return why an archive that unpacks to this size is refused as a bomb, if it is."""
    if size_bytes <= max(MAY_UNPACK_BYTES, settings.max_archive_ratio * packed_bytes):
        return None
    return f"it unpacks to {size_bytes} bytes from only {packed_bytes} compressed bytes, so it is a zip bomb"


def check_bounds(listing: Listing, settings: Settings) -> None:
    """Return if a listing is within the limits of the settings.

    Raises:
        SourceRefused: it has too many files and folders, or too many bytes, or unpacks to far more than it has.
    """
    size_bytes = sum(entry.size_bytes for entry in listing.entries)
    if len(listing.entries) + len(listing.folders) > settings.max_archive_files:
        variable = "KENNEL_MAX_ARCHIVE_FILES"
        why: str | None = f"it has more than {variable}={settings.max_archive_files} files and folders"
    elif size_bytes > settings.max_archive_bytes:
        variable = "KENNEL_MAX_ARCHIVE_BYTES"
        why = f"it has {size_bytes} bytes unpacked, more than {variable}={settings.max_archive_bytes}"
    else:
        variable = "KENNEL_MAX_ARCHIVE_RATIO"
        why = _beyond_ratio(listing, settings) if listing.kind == "zip" else None
    if why is not None:
        raise SourceRefused("source", f"{listing.path}", why, f"if you trust the source, raise {variable}")


def _beyond_ratio(listing: Listing, settings: Settings) -> str | None:
    """Return why the archives of a listing are refused as bombs; plain files beside them do not count."""
    packed = [entry for entry in listing.entries if not entry.file or entry.file != entry.name]
    return beyond_ratio(sum(each.size_bytes for each in packed), sum(each.packed_bytes for each in packed), settings)
