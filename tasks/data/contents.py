"""Sort the files of a source by their names: photos, files of other programs, and those that cannot be read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from tasks.data import names
from tasks.data.entries import Listing
from tasks.data.names import Names, Path
from tasks.data.tree import Tree
from tasks.run.escaping import valid_text
from tasks.run.records import Quarantined


@dataclass(frozen=True)
class Contents:
    """The entries of a listing, photos and unused ones by their index, and the folders that photos are in.

    `has_images`: some names are those of images, so a file whose name has no known ending is no photo by its name.
    """

    photos: tuple[int, ...]
    unused: tuple[tuple[int, str], ...]
    refused: tuple[Quarantined, ...]
    others: Counter[str]
    tree: Tree
    has_images: bool


def sort_files(listing: Listing, found: Names) -> Contents:
    """Sort the entries of a listing by their normalised names."""
    has_images = any(map(names.is_image_name, found.files))
    photos, unused, refused, shown = [], [], [], []
    others: Counter[str] = Counter()
    for index, (entry, path) in enumerate(zip(listing.entries, found.files, strict=True)):
        reason = names.foreign_reason(path)
        if reason is None and path[-1].startswith("."):
            reason = "its name begins with a dot, which hides it"
        if reason is not None and names.is_image_name(path) and not names.is_shadow(path):
            unused.append((index, reason))
        elif reason is not None or names.is_other_name(path):
            others[_kind(path, reason)] += bool(path[-1])
        elif entry.refusal is not None:
            refused.append(Quarantined(valid_text(entry.name), entry.refusal))
            shown.append(path)
        else:
            photos.append(index)
            shown.append(path)
    tree = Tree(path for path in shown if names.is_image_name(path) or not has_images)
    return Contents(tuple(photos), tuple(unused), tuple(refused), others, tree, has_images)


def _kind(path: Path, reason: str | None) -> str:
    if reason is not None:
        return f"of another program ({reason.removeprefix('it is ')})"
    return f".{names.suffix(path)}"
