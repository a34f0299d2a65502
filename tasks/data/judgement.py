"""Decide whether a dataset is fit for training, before anything is created on AWS.

These are pure functions on images, without I/O. Photos in two splits were taken out before (`tasks.data.leakage`).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tasks.data.layout import Layout
from tasks.data.texts import counted, enumerated, listed, listed_files, reasons_text, shortened
from tasks.run.errors import DataRefused
from tasks.run.records import SPLITS, Quarantined
from tasks.run.settings import Settings

NEXT = "add photos or classes where they are too few; mend, replace or remove files that cannot be used"
WHAT_TO_DO = f"{NEXT}; docs/troubleshooting.md, My data is refused, tells what each refusal means"

Counts = Mapping[str, Mapping[str, int]]
"""Maps a split to a class to the number of images."""


class LabelledImage(NamedTuple):
    """The properties of a decoded image that `judge` reads."""

    split: str
    class_name: str
    name: str
    source_sha256: str


def count_images(classes: Sequence[str], images: Iterable[LabelledImage]) -> dict[str, dict[str, int]]:
    """Count the images by split and class; every split and every class is present, even with zero images."""
    found = Counter((image.split, image.class_name) for image in images)
    return {split: {name: found[split, name] for name in classes} for split in SPLITS}


def problems_of(
    layout: Layout, images: Sequence[LabelledImage], quarantined: Sequence[Quarantined], settings: Settings
) -> list[str]:
    """Return why data is unfit for training: too many broken files, fewer than two classes, a class without a photo."""
    missing = _class_problems(layout, count_images(layout.classes, images))
    return [*_broken_problems(len(images), quarantined, settings.max_quarantined_fraction), *missing]


def refuse(problems: Sequence[str], warnings: Sequence[str] = ()) -> None:
    """Refuse data that has problems; the warnings may tell why it has them.

    Raises:
        DataRefused: there is one; the message names all.
    """
    if problems:
        raise DataRefused(
            "data gate", "; ".join([*problems, *warnings]), "a model trained on it could not be trusted", NEXT
        )


def warnings_of(
    layout: Layout, images: Sequence[LabelledImage], settings: Settings, more: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the warnings for data; `more` tell of photos that are there several times."""
    counts = count_images(layout.classes, images)
    return (*layout.warnings, *more, *_imbalance_warnings(counts, settings))


def note_warnings(noted: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """Return a warning for each kind of note about how pictures were read; `noted` are names with their notes."""
    by_note: dict[str, list[str]] = defaultdict(list)
    for name, notes in noted:
        for note in notes:
            by_note[note].append(name)
    return [f"{counted(len(files), 'photo')}: {note}: {listed_files(files)}" for note, files in sorted(by_note.items())]


def dataset_digest(classes: Sequence[str], images: Iterable[LabelledImage], parameters: Mapping[str, object]) -> str:
    """Return the hex sha256 that identifies a dataset: of its classes, images and staging parameters."""
    digest = hashlib.sha256(json.dumps([list(classes), dict(sorted(parameters.items()))]).encode())
    quoted = {name: json.dumps(name) for name in classes}
    for split, class_name, source in sorted((i.split, i.class_name, i.source_sha256) for i in images):
        digest.update(f'["{split}", {quoted[class_name]}, "{source}"]'.encode())
    return digest.hexdigest()


def _broken_problems(good: int, quarantined: Sequence[Quarantined], allowed: float) -> list[str]:
    total = good + len(quarantined)
    if len(quarantined) <= allowed * total:
        return []
    share = f"{len(quarantined)} of {counted(total, 'file')} cannot be used, more than the {allowed:.1%} allowed"
    return [f"{share} ({reasons_text(quarantined)})"]


def _class_problems(layout: Layout, counts: Counts) -> list[str]:
    if len(layout.classes) < 2:
        return [f"{counted(len(layout.classes), 'class', 'classes')} found, at least 2 are needed"]
    if problem := _without_common_class(counts):
        return [problem]
    lacking: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in layout.classes:
        if splits := tuple(split for split, by_class in counts.items() if by_class[name] == 0):
            lacking[splits].append(name)
    return [_lacking_text(layout, counts, splits, names) for splits, names in lacking.items()]


def _without_common_class(counts: Counts) -> str | None:
    """Return which split has only classes that train does not have."""
    present = {split: [name for name, count in by_class.items() if count] for split, by_class in counts.items()}
    for split in SPLITS[1:]:
        if present["train"] and present[split] and set(present["train"]).isdisjoint(present[split]):
            shown = f"train has {enumerated(present['train'])}, {split} has {enumerated(present[split])}"
            return f"train and {split} have no class in common: {shown}; give the same classes the same names"
    return None


def _lacking_text(layout: Layout, counts: Counts, splits: Sequence[str], names: Sequence[str]) -> str:
    """Return that classes have no photos in some splits, and how many they need where the splits are made."""
    classes = (
        f"the class {shortened(names[0])}" if len(names) == 1 else f"the classes {listed([*map(shortened, names)])}"
    )
    text = f"no usable photo of {classes} in {enumerated(splits)}"
    is_too_small = any(counts[split][names[0]] for split in layout.made) and set(splits) <= set(layout.made)
    return f"{text} (to be split, a class needs {len(layout.made)} different photos)" if is_too_small else text


def _imbalance_warnings(counts: Counts, settings: Settings) -> list[str]:
    train = counts["train"]
    least, most = min(train, key=train.__getitem__), max(train, key=train.__getitem__)
    if not train[least] or train[most] <= settings.imbalance_warning_ratio * train[least]:
        return []
    few, many = f"{train[least]} of {shortened(least)}", f"{train[most]} of {shortened(most)}"
    return [f"the classes are unbalanced: the train split has {many} and {few}"]
