"""Sort the files of a source by their names: photos, masks, files of other programs, and those that cannot be read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tasks.data import names
from tasks.data.entries import Listing
from tasks.data.masks import mask_folders
from tasks.data.names import Names, Path
from tasks.data.texts import counted, enumerated, joined, listed, shortened
from tasks.data.tree import Tree
from tasks.run.escaping import valid_text
from tasks.run.records import Quarantined

_FEW = 3
MASK = "it is a mask of the photo of the same name"


@dataclass(frozen=True)
class Others:
    """The files that are not photos: hidden or system files by what they are known by, the rest by their endings."""

    system: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    files: list[Path] = field(default_factory=list)

    def total(self) -> int:
        """Return the number of all of them."""
        return self.system.total() + self.endings.total()

    def text(self) -> str:
        """Return their numbers by kind, the most frequent first; "" for none."""
        count = self.system.total()
        marks = listed([shortened(mark) for mark, _ in self.system.most_common()])
        parts = [f"{counted(count, 'hidden or system file')} ({marks})"] if count else []
        return joined([*parts, *(f"{n:,} {shortened(kind)}" for kind, n in self.endings.most_common() if n)])

    def example(self) -> str:
        """Return the names of the files, in brackets, if there are few."""
        if not 0 < len(self.files) <= _FEW:
            return ""
        return f" ({enumerated(['/'.join(path) for path in sorted(self.files)])})"

    def add(self, path: Path) -> None:
        """Count a file by its ending."""
        self.endings[_ending(path)] += 1
        self.files.append(path)

    def remove(self, path: Path) -> None:
        """Take a file out that is used."""
        if path in self.files:
            self.endings[_ending(path)] -= 1
            self.files.remove(path)


def _ending(path: Path) -> str:
    return f".{names.suffix(path)}" if names.suffix(path) else "without an ending"


@dataclass(frozen=True)
class Contents:
    """The entries of a listing, photos and unused ones by their index, and the folders that photos are in.

    `has_images`: some names are those of images, so a file whose name has no known ending is no photo by its name.
    """

    photos: tuple[int, ...]
    unused: tuple[tuple[int, str], ...]
    refused: tuple[Quarantined, ...]
    others: Others
    tree: Tree
    has_images: bool


def sort_files(listing: Listing, found: Names) -> Contents:
    """Sort the entries of a listing by their normalised names."""
    pictures = [names.is_image_name(path) for path in found.files]
    has_images = any(pictures)
    foreign = [names.foreign_reason(path) for path in found.files]
    kinds = list(zip(found.files, pictures, foreign, strict=True))
    masks = mask_folders([path for path, is_picture, reason in kinds if is_picture and not reason])
    photos, unused, refused, shown = [], [], [], []
    others = Others()
    for index, (entry, (path, is_picture, reason)) in enumerate(zip(listing.entries, kinds, strict=True)):
        if reason is None and path[-1].startswith("."):
            reason = "its name begins with a dot, which hides it"
        if reason is None and masks and is_picture and path[:-1] in masks:
            reason = MASK
        if reason is not None and is_picture and not names.is_shadow(path):
            unused.append((index, reason))
        elif reason is not None:
            others.system[names.foreign_mark(path)] += bool(path[-1])
        elif not is_picture and names.is_other_name(path):
            if path[-1]:
                others.add(path)
        elif entry.refusal is not None:
            refused.append(Quarantined(valid_text(entry.name), entry.refusal))
            shown.append((path, is_picture))
        else:
            photos.append(index)
            shown.append((path, is_picture))
    tree = Tree(path for path, is_picture in shown if is_picture or not has_images)
    return Contents(tuple(photos), tuple(unused), tuple(refused), others, tree, has_images)
