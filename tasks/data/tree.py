"""Find the folder of a source that holds its splits or its classes, by looking at where the photos are.

The words and rules by which a folder is taken for a split, for the photos of a test without labels, or for annotations
are here. These are pure functions on paths.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from tasks.data.names import Path
from tasks.data.texts import counted, shortened

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "valid": "validation",
    "val": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "holdout": "test",
}
"""Maps the words that name a split's folder, in lower case, to the split."""

_UNLABELLED_WORDS = frozenset({"pred", "prediction", "predictions", "unlabeled", "unlabelled", "submission"})
_WRAPPER_WORDS = frozenset(
    {"images", "image", "img", "imgs", "photos", "photo", "pictures", "jpg", "jpeg", "data", "jpegimages"}
)
_ANNOTATION_WORDS = frozenset(
    {"annotation", "annotations", "mask", "masks", "trimaps", "segmentation", "segmentations", "labels"}
)
_PART = re.compile(r"(?i)(.*[ _-])?part[ _-]?\d+")
_SHOWN_FOLDERS = 8


class Tree:
    """The folders of a source that have photos in or below them."""

    def __init__(self, photos: Iterable[Path]) -> None:
        self._below: Counter[Path] = Counter()
        self._direct = Counter(photo[:-1] for photo in photos)
        self._children: dict[Path, set[str]] = defaultdict(set)
        for folder, count in self._direct.items():
            self._below[folder] += count
            for depth, name in enumerate(folder):
                self._below[folder[:depth]] += count
                self._children[folder[:depth]].add(name)

    def direct(self, folder: Path) -> int:
        """Return the number of photos in a folder itself."""
        return self._direct[folder]

    def below(self, folder: Path) -> int:
        """Return the number of photos in a folder and below it."""
        return self._below[folder]

    def children(self, folder: Path) -> list[str]:
        """Return the names of the folders with photos in a folder; beside `images`, not those of annotations."""
        names = sorted(self._children.get(folder, ()))
        is_wrapped = any(is_wrapper(name) for name in names)
        return [name for name in names if not (is_wrapped and is_annotation(name))]

    def folders(self) -> list[Path]:
        """Return the folders that have photos in themselves."""
        return sorted(self._direct)

    def picture(self) -> str:
        """Return the first two levels of folders with their numbers of photos, for a message."""
        folders = sorted(self._children.get((), ()))
        parts = [self._folder_text((name,)) for name in folders[:_SHOWN_FOLDERS]]
        parts += (
            [f"and {counted(len(folders) - _SHOWN_FOLDERS, 'more folder')}"] if len(folders) > _SHOWN_FOLDERS else []
        )
        flat = [f"{counted(self.direct(()), 'photo')} in no folder"] if self.direct(()) else []
        return "; ".join([*parts, *flat]) or "no photo"

    def _folder_text(self, folder: Path) -> str:
        while not self.direct(folder) and len(inner := sorted(self._children.get(folder, ()))) == 1:
            folder = (*folder, inner[0])
        inner = sorted(self._children.get(folder, ()))
        shown = [f"{shortened(each)}/ {self.below((*folder, each)):,}" for each in inner[:3]]
        more = [f"and {len(inner) - 3} more"] if len(inner) > 3 else []
        tail = f" ({', '.join([*shown, *more])})" if inner else ""
        return f"{shortened('/'.join(folder))}/ {counted(self.below(folder), 'photo')}{tail}"


@dataclass(frozen=True)
class Base:
    """The folder that holds the splits (`splits` maps their folders to them) or, without splits, the classes."""

    folder: Path
    splits: dict[str, str]


def find_base(tree: Tree) -> Base:
    """Return the outermost folder whose children are splits, or else the first one that has photos or several folders.

    A folder that has only one folder with photos in it, and no photo, is passed, whatever its name is.
    """
    folder: Path = ()
    while True:
        every = tree.children(folder)
        children = [name for name in every if not name.startswith(".")]
        if holds_splits(tree, folder):
            return Base(folder, {name: found for name in children if (found := split_of(name))})
        is_only = len(children) == 1 and (len(every) == 1 or tree.children((*folder, children[0])))
        if tree.direct(folder) or not is_only:
            return Base(folder, {})
        folder = (*folder, children[0])


def inner_folder(tree: Tree, folder: Path) -> Path:
    """Return where a split's classes are: below folders that only repeat its name, or wrap everything in it."""
    while not tree.direct(folder) and len(children := tree.children(folder)) == 1:
        inner = (*folder, children[0])
        repeats = split_of(children[0]) is not None and split_of(children[0]) == split_of(folder[-1])
        wraps = is_wrapper(children[0]) or (not tree.direct(inner) and len(tree.children(inner)) > 1)
        if not repeats and not wraps and not is_unlabelled(children[0]):
            break
        folder = inner
    return folder


def split_of(name: str) -> str | None:
    """Return the split that one of the words of a folder's name means: seg_train, TrainImages, test1; else None."""
    found = {SPLIT_WORDS[word] for word in words_of(name) if word in SPLIT_WORDS}
    return found.pop() if len(found) == 1 else None


def is_split_word(name: str) -> bool:
    """Tell whether a folder's whole name is a word for a split."""
    return name.casefold().rstrip("0123456789") in SPLIT_WORDS


def is_unlabelled(name: str) -> bool:
    """Tell whether a folder's name says that its photos are without labels."""
    return not _UNLABELLED_WORDS.isdisjoint(words_of(name))


def is_wrapper(name: str) -> bool:
    """Tell whether a folder's name says only that photos are in it, so that it is no class."""
    return name.casefold() in _WRAPPER_WORDS or _PART.fullmatch(name) is not None


def is_annotation(name: str) -> bool:
    """Tell whether a folder's name says that masks or labels are in it, so that it is no class."""
    return name.casefold() in _ANNOTATION_WORDS


def holds_splits(tree: Tree, folder: Path) -> bool:
    """Tell whether the folders in a folder are splits, by their names."""
    children = [name for name in tree.children(folder) if not name.startswith(".")]
    splits = {name: split_of(name) for name in children if split_of(name)}
    exact = [name for name in splits if is_split_word(name)]
    if len(set(splits.values())) > 1:
        return bool(exact) or all(name in splits or is_unlabelled(name) for name in children)
    with_classes = [name for name in exact if tree.children((*folder, name))]
    return bool(with_classes) and len(children) > 1


def words_of(name: str) -> list[str]:
    """Return the words of a folder's name in lower case: TrainImages has train and images, détest is one word."""
    runs = re.findall(r"[^\W\d_]+", name)
    parts = (re.findall(r"[A-Z]?[a-z]+|[A-Z]+", run) if run.isascii() else [run] for run in runs)
    return [word.casefold() for part in parts for word in part]
