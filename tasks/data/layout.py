"""Decide whether a dataset is fit for training, before anything is created on AWS.

The layout is `train|valid|test/<class>/<image>`, below at most one leading folder. These are pure functions on listings
and digests, without I/O. Exact copies across splits are found by the sha256 of the source; near duplicates are not.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tasks.data.entries import Listing
from tasks.run.errors import DataRefused, SourceRefused
from tasks.run.escaping import valid_text
from tasks.run.records import SPLITS, Quarantined
from tasks.run.settings import Settings

SPLIT_FOLDERS = {
    "train": "train",
    "valid": "validation",
    "validation": "validation",
    "val": "validation",
    "test": "test",
}
"""Maps the names that a split's folder may have, in lower case, to the split."""

_JUNK = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
_SHOWN = 5
_NEXT = "correct the data and run the same command again"

Counts = Mapping[str, Mapping[str, int]]
"""Maps a split to a class to the number of images."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry, by its index in the listing, that should be an image of a class in a split."""

    index: int
    split: str
    class_name: str


@dataclass(frozen=True)
class Layout:
    """The layout of a source, from its names; `classes` are in index order, and `ignored` counts irrelevant files."""

    classes: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    quarantined: tuple[Quarantined, ...]
    ignored: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """The properties of a decoded image that `judge` reads."""

    split: str
    class_name: str
    name: str
    source_sha256: str


def read_layout(listing: Listing) -> Layout:
    """Assign a listing's files to splits and classes by their folders.

    Raises:
        SourceRefused: no split's folder is found, one is missing or exists twice, images are in an unknown folder, or
            the name of a class is not UTF-8 or is blank.
    """
    names = [entry.name for entry in listing.entries if not _is_junk(entry.name)] + list(listing.folders)
    root = _root(listing, names)
    splits = _split_folders(listing, names, root)
    candidates: list[Candidate] = []
    quarantined: list[Quarantined] = []
    ignored = 0
    for index, entry in enumerate(listing.entries):
        parts = entry.name.split("/")[root:]
        if entry.refusal is not None:
            quarantined.append(Quarantined(valid_text(entry.name), entry.refusal))
        elif _is_junk(entry.name) or len(parts) < 2:
            ignored += 1
        elif len(parts) == 2:
            quarantined.append(Quarantined(valid_text(entry.name), "it is not in the folder of a class"))
        else:
            candidates.append(Candidate(index, splits[parts[0]], parts[1]))
    classes = {candidate.class_name for candidate in candidates} | _class_folders(listing, root, splits)
    _refuse_unusable(classes)
    first = {each.class_name: listing.entries[each.index].name for each in reversed(candidates)}
    warnings = tuple(_similar_name_warnings(classes, first))
    return Layout(tuple(sorted(classes)), tuple(candidates), tuple(quarantined), ignored, warnings)


def count_images(classes: Sequence[str], images: Iterable[LabelledImage]) -> dict[str, dict[str, int]]:
    """Count the images by split and class; every split and every class is present, even with zero images."""
    found = Counter((image.split, image.class_name) for image in images)
    return {split: {name: found[split, name] for name in classes} for split in SPLITS}


def judge(
    layout: Layout, images: Sequence[LabelledImage], quarantined: Sequence[Quarantined], settings: Settings
) -> tuple[str, ...]:
    """Return the warnings for data that is fit for training.

    Raises:
        DataRefused: too many images are broken, there are fewer than two classes, a class has no image in a split, or
            the same image is in two splits; the message names every problem.
    """
    counts = count_images(layout.classes, images)
    problems = [
        *_broken_problems(len(images), quarantined, settings.max_quarantined_fraction),
        *_class_problems(layout.classes, counts),
        *_leak_problems(images),
    ]
    if problems:
        raise DataRefused("data gate", "; ".join(problems), "a model trained on it could not be trusted", _NEXT)
    return (*layout.warnings, *_imbalance_warnings(counts, settings), *_repeat_warnings(images))


def dataset_digest(classes: Sequence[str], images: Iterable[LabelledImage], parameters: Mapping[str, object]) -> str:
    """Return the hex sha256 that identifies a dataset: of its classes, images and staging parameters."""
    digest = hashlib.sha256(json.dumps([list(classes), dict(sorted(parameters.items()))]).encode())
    for split, class_name, source in sorted((i.split, i.class_name, i.source_sha256) for i in images):
        digest.update(json.dumps([split, class_name, source]).encode())
    return digest.hexdigest()


def reasons_text(quarantined: Sequence[Quarantined], count: int | None = None) -> str:
    """Return the first of `count` quarantined files with their reasons, for a message."""
    shown = [f"{shortened(item.name)}: {item.reason}" for item in quarantined[:_SHOWN]]
    more = (len(quarantined) if count is None else count) - len(shown)
    return ", ".join(shown) + (f", and {more} more" if more else "")


def _is_junk(name: str) -> bool:
    return any((part.startswith(".") and part != "..") or part in _JUNK for part in name.split("/"))


def _root(listing: Listing, names: Sequence[str]) -> int:
    """Return the number of leading folders to skip, which is 0 or 1."""
    first = {name.split("/")[0] for name in names}
    if any(part.lower() in SPLIT_FOLDERS for part in first):
        return 0
    second = {parts[1] for parts in (name.split("/") for name in names) if len(parts) > 1}
    if len(first) == 1 and any(part.lower() in SPLIT_FOLDERS for part in second):
        return 1
    found = ", ".join(shortened(part) for part in sorted(first)[:_SHOWN]) or "nothing"
    why = "images must lie in train/<class>/, valid/<class>/ and test/<class>/, below at most one folder"
    raise SourceRefused("data layout", f"{listing.path} contains {found}", why, _NEXT)


def _split_folders(listing: Listing, names: Sequence[str], root: int) -> dict[str, str]:
    """Map the folders below the root to their splits, and refuse unknown folders that contain files."""
    folders = {parts[root] for parts in (name.split("/") for name in names) if len(parts) > root + 1}
    unknown = sorted(folder for folder in folders if folder.lower() not in SPLIT_FOLDERS)
    if unknown:
        raise SourceRefused("data layout", f"unknown folder {shortened(unknown[0])}", *_unknown(unknown[0]))
    splits = {folder: SPLIT_FOLDERS[folder.lower()] for folder in sorted(folders)}
    counted = Counter(splits.values())
    missing = [split for split in SPLITS if split not in counted]
    if missing:
        why = "training needs a train, a validation and a test split"
        raise SourceRefused("data layout", f"{listing.path} has no {' and no '.join(missing)} folder", why, _NEXT)
    twice = next((split for split, count in counted.items() if count > 1), None)
    if twice:
        both = " and ".join(folder for folder, split in splits.items() if split == twice)
        raise SourceRefused("data layout", f"the folders {both} both exist", f"both mean the {twice} split", _NEXT)
    return splits


def _unknown(folder: str) -> tuple[str, str]:
    close = difflib.get_close_matches(folder.lower(), SPLIT_FOLDERS, n=1)
    hint = f"rename it to {close[0]}, if you meant that" if close else "move it out of the dataset"
    return "its images would not be in any split", f"{hint}; then run the same command again"


def _class_folders(listing: Listing, root: int, splits: Mapping[str, str]) -> set[str]:
    """Return the classes that have a folder, including those without images."""
    found = (name.split("/")[root:] for name in listing.folders if not _is_junk(name))
    return {parts[1] for parts in found if len(parts) == 2 and parts[0] in splits}


def _refuse_unusable(classes: Iterable[str]) -> None:
    why = "the name of a class is a label of the model, and no file or answer could have this one"
    for name in sorted(classes):
        if valid_text(name) != name:
            raise SourceRefused("data layout", f"the name of the class {shortened(name)} is not UTF-8", why, _NEXT)
        if not _seen(name):
            raise SourceRefused("data layout", f"the name of the class {name!a} is blank", why, _NEXT)


def _seen(name: str) -> str:
    """Return a name without what a person does not see: invisible characters, and blanks at its ends."""
    return "".join(each for each in name if unicodedata.category(each) not in {"Cf", "Cc"}).strip()


def _similar_name_warnings(classes: Iterable[str], first: Mapping[str, str]) -> list[str]:
    """Warn of classes whose names look alike; `first` has the name of a file of each class that has one."""
    similar: dict[str, list[str]] = defaultdict(list)
    for name in sorted(classes):
        similar[unicodedata.normalize("NFC", _seen(name)).casefold()].append(name)
    return [
        f"classes {', '.join(shortened(name) for name in names)} look alike (case, Unicode form, blanks): "
        + _listed([shortened(first.get(name, f"no file of {name}")) for name in names])
        for names in similar.values()
        if len(names) > 1
    ]


def _broken_problems(good: int, quarantined: Sequence[Quarantined], allowed: float) -> list[str]:
    total = good + len(quarantined)
    if len(quarantined) <= allowed * total:
        return []
    share = f"{len(quarantined)} of {total} files cannot be used, more than the {allowed:.1%} allowed"
    return [f"{share} ({reasons_text(quarantined)})"]


def _class_problems(classes: Sequence[str], counts: Counts) -> list[str]:
    if len(classes) < 2:
        return [f"{len(classes)} class found, at least 2 are needed"]
    problems = []
    for split, by_class in counts.items():
        empty = [shortened(name) for name, count in by_class.items() if count == 0]
        if empty:
            problems.append(f"no good {split} image of class {_listed(empty)}")
    return problems


def _leak_problems(images: Sequence[LabelledImage]) -> list[str]:
    """Return a problem if exact copies are in two splits, because they would make the test accuracy too high."""
    first: dict[str, LabelledImage] = {}
    leaks = []
    for image in images:
        seen = first.setdefault(image.source_sha256, image)
        if seen.split != image.split:
            leaks.append(f"{shortened(seen.name)} = {shortened(image.name)}")
    return [f"the same image is in two splits, {len(leaks)} times: {_listed(leaks)}"] if leaks else []


def _imbalance_warnings(counts: Counts, settings: Settings) -> list[str]:
    train = counts["train"]
    least, most = min(train, key=train.__getitem__), max(train, key=train.__getitem__)
    if train[most] <= settings.imbalance_warning_ratio * train[least]:
        return []
    few, many = f"{train[least]} of {shortened(least)}", f"{train[most]} of {shortened(most)}"
    return [f"the classes are unbalanced: the train split has {many} and {few}"]


def _repeat_warnings(images: Sequence[LabelledImage]) -> list[str]:
    """Warn of exact copies in a split and of images in two classes, with the first files."""
    first: dict[str, LabelledImage] = {}
    copies, mixed = [], []
    for image in images:
        seen = first.setdefault(image.source_sha256, image)
        if seen is image:
            continue
        same = f"{shortened(seen.name)} = {shortened(image.name)}"
        copies.append(same)
        if seen.class_name != image.class_name:
            mixed.append(f"{shortened(seen.class_name)} and {shortened(image.class_name)} ({same})")
    warnings = [f"{len(copies)} images are exact copies of another image in their split: {_listed(copies)}"]
    warnings += [f"{len(mixed)} images are in more than one class: {_listed(mixed)}"] if mixed else []
    return warnings if copies else []


def _listed(texts: Sequence[str]) -> str:
    """Return the first texts and the number of the others."""
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


def shortened(name: str) -> str:
    """Return a name as valid Unicode of at most 120 characters, for a message."""
    text = valid_text(name)
    return text if len(text) <= 120 else f"{text[:117]}..."
