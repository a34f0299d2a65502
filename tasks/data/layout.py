"""Is this a dataset that a model can be trained on? Decided before anything is created anywhere.

The layout is `train|valid|test/<class>/<image>`, below at most one leading folder. Pure functions on listings and
digests; no I/O, no AWS. Exact duplicates across splits are found by sha256 of the source; near duplicates are not.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tasks.data.archive import Listing
from tasks.run.errors import DataRefused, SourceRefused
from tasks.run.records import SPLITS
from tasks.run.settings import Settings

SPLIT_FOLDERS = {
    "train": "train",
    "valid": "validation",
    "validation": "validation",
    "val": "validation",
    "test": "test",
}
"""Names that a split's folder may have, in any case, and the split that each means."""

_JUNK = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})
_SHOWN = 5
_NEXT = "correct the data and run the same command again"

Counts = Mapping[str, Mapping[str, int]]
"""split → class → number of images"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry (by its index in the listing) that should be an image of a class in a split."""

    index: int
    split: str
    class_name: str


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A file that is left out, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Layout:
    """What the names of a source say. `classes` are in index order; `ignored` counts files that no one would miss."""

    classes: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    quarantined: tuple[Quarantined, ...]
    ignored: int
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """What the gate looks at: a good image's split, class, exact name and source digest."""

    split: str
    class_name: str
    name: str
    source_sha256: str


def read_layout(listing: Listing) -> Layout:
    """Sort a listing's files into splits and classes by their folders.

    Raises:
        SourceRefused: no split folder is found, one is missing or there twice, or images lie in an unknown folder.
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
            quarantined.append(Quarantined(entry.name, entry.refusal))
        elif _is_junk(entry.name) or len(parts) < 2:
            ignored += 1
        elif len(parts) == 2:
            quarantined.append(Quarantined(entry.name, "it is not in the folder of a class"))
        else:
            candidates.append(Candidate(index, splits[parts[0]], parts[1]))
    classes = {candidate.class_name for candidate in candidates} | _class_folders(listing, root, splits)
    return Layout(
        tuple(sorted(classes)), tuple(candidates), tuple(quarantined), ignored, tuple(_twin_warnings(classes))
    )


def count_images(classes: Sequence[str], images: Iterable[LabelledImage]) -> dict[str, dict[str, int]]:
    """Return split → class → n with every split and every class present, zero included."""
    found = Counter((image.split, image.class_name) for image in images)
    return {split: {name: found[split, name] for name in classes} for split in SPLITS}


def judge(
    layout: Layout, images: Sequence[LabelledImage], quarantined: Sequence[Quarantined], settings: Settings
) -> tuple[str, ...]:
    """Return warnings for data that can be trained on.

    Raises:
        DataRefused: naming every problem: too many broken images, fewer than two classes, a class without images in a
            split, or the same image in two splits.
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
    """Return the hex sha256 that names a dataset: classes in order, every (split, class, source), how it was staged."""
    digest = hashlib.sha256(json.dumps([list(classes), dict(sorted(parameters.items()))]).encode())
    for split, class_name, source in sorted((i.split, i.class_name, i.source_sha256) for i in images):
        digest.update(json.dumps([split, class_name, source]).encode())
    return digest.hexdigest()


def reasons_text(quarantined: Sequence[Quarantined]) -> str:
    """Return the first few quarantined files with their reasons, for a message."""
    shown = [f"{printable(item.name)}: {item.reason}" for item in quarantined[:_SHOWN]]
    more = len(quarantined) - len(shown)
    return ", ".join(shown) + (f", and {more} more" if more else "")


def _is_junk(name: str) -> bool:
    return any((part.startswith(".") and part != "..") or part in _JUNK for part in name.split("/"))


def _root(listing: Listing, names: Sequence[str]) -> int:
    """Return how many leading folders to skip: 0 or 1."""
    first = {name.split("/")[0] for name in names}
    if any(part.lower() in SPLIT_FOLDERS for part in first):
        return 0
    second = {parts[1] for parts in (name.split("/") for name in names) if len(parts) > 1}
    if len(first) == 1 and any(part.lower() in SPLIT_FOLDERS for part in second):
        return 1
    found = ", ".join(printable(part) for part in sorted(first)[:_SHOWN]) or "nothing"
    why = "images must lie in train/<class>/, valid/<class>/ and test/<class>/, below at most one folder"
    raise SourceRefused("data layout", f"{listing.path} holds {found}", why, "lay the images out so and run again")


def _split_folders(listing: Listing, names: Sequence[str], root: int) -> dict[str, str]:
    """Return folder → split for what lies below the root; unknown folders that hold files are refused."""
    folders = {parts[root] for parts in (name.split("/") for name in names) if len(parts) > root + 1}
    unknown = sorted(folder for folder in folders if folder.lower() not in SPLIT_FOLDERS)
    if unknown:
        raise SourceRefused("data layout", f"unknown folder {printable(unknown[0])}", *_unknown(unknown[0]))
    splits = {folder: SPLIT_FOLDERS[folder.lower()] for folder in sorted(folders)}
    counted = Counter(splits.values())
    missing = [split for split in SPLITS if split not in counted]
    if missing:
        why = "training needs a train, a validation and a test split"
        raise SourceRefused("data layout", f"{listing.path} has no {' and no '.join(missing)} folder", why, _NEXT)
    twice = next((split for split, count in counted.items() if count > 1), None)
    if twice:
        both = " and ".join(folder for folder, split in splits.items() if split == twice)
        raise SourceRefused("data layout", f"{both} are both there", f"each would be the {twice} split", _NEXT)
    return splits


def _unknown(folder: str) -> tuple[str, str]:
    close = difflib.get_close_matches(folder.lower(), SPLIT_FOLDERS, n=1)
    hint = f"did you mean {close[0]}?" if close else "move it out of the dataset"
    return "its images would silently be left out of every split", f"{hint} Then run the same command again"


def _class_folders(listing: Listing, root: int, splits: Mapping[str, str]) -> set[str]:
    """Return the classes that have a folder, empty ones too."""
    found = (name.split("/")[root:] for name in listing.folders if not _is_junk(name))
    return {parts[1] for parts in found if len(parts) == 2 and parts[0] in splits}


def _twin_warnings(classes: Iterable[str]) -> list[str]:
    twins: dict[str, list[str]] = defaultdict(list)
    for name in sorted(classes):
        twins[unicodedata.normalize("NFC", name).casefold()].append(name)
    return [
        f"classes {', '.join(printable(name) for name in names)} differ only in case or in Unicode form"
        for names in twins.values()
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
        empty = [printable(name) for name, count in by_class.items() if count == 0]
        if empty:
            more = f" and {len(empty) - _SHOWN} more" if len(empty) > _SHOWN else ""
            problems.append(f"no good {split} image of class {', '.join(empty[:_SHOWN])}{more}")
    return problems


def _leak_problems(images: Sequence[LabelledImage]) -> list[str]:
    """Exact duplicates across splits would make the test accuracy a lie."""
    first: dict[str, LabelledImage] = {}
    leaks = []
    for image in images:
        seen = first.setdefault(image.source_sha256, image)
        if seen.split != image.split:
            leaks.append(f"{printable(seen.name)} = {printable(image.name)}")
    if not leaks:
        return []
    more = f" and {len(leaks) - _SHOWN} more" if len(leaks) > _SHOWN else ""
    return [f"the same image is in two splits, {len(leaks)} times: {', '.join(leaks[:_SHOWN])}{more}"]


def _imbalance_warnings(counts: Counts, settings: Settings) -> list[str]:
    train = counts["train"]
    least, most = min(train, key=train.__getitem__), max(train, key=train.__getitem__)
    if train[most] <= settings.imbalance_warning_ratio * train[least]:
        return []
    few, many = f"{train[least]} of {printable(least)}", f"{train[most]} of {printable(most)}"
    return [f"classes are unbalanced: {many} and {few} to train on"]


def _repeat_warnings(images: Sequence[LabelledImage]) -> list[str]:
    classes: dict[str, set[str]] = defaultdict(set)
    for image in images:
        classes[image.source_sha256].add(image.class_name)
    repeats = len(images) - len(classes)
    contradictions = sum(1 for found in classes.values() if len(found) > 1)
    warnings = [f"{repeats} images are exact copies of another of their split"] if repeats else []
    return warnings + ([f"{contradictions} images are in two classes at once"] if contradictions else [])


def printable(name: str) -> str:
    """Return a name that is safe to print: control characters and lone surrogates escaped, long ones cut."""
    text = name.encode("unicode_escape").decode() if not name.isprintable() else name
    return text if len(text) <= 120 else f"{text[:117]}..."
