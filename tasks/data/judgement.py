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
from tasks.data.texts import counted, listed, listed_files, reasons_text, shortened
from tasks.run.errors import DataRefused
from tasks.run.records import SPLITS, Quarantined
from tasks.run.settings import Settings

_NEXT = "add photos or classes where they are too few; mend, replace or remove files that cannot be used"

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
    layout: Layout,
    images: Sequence[LabelledImage],
    quarantined: Sequence[Quarantined],
    settings: Settings,
    leaks: Sequence[str] = (),
) -> list[str]:
    """Return why data is unfit for training: too many broken images, fewer than two classes, a class without an image.

    `leaks` tell of photos that were taken out before, which may be why a class has none.
    """
    missing = _class_problems(layout, count_images(layout.classes, images))
    broken = _broken_problems(len(images), quarantined, settings.max_quarantined_fraction)
    return [*broken, *missing, *(leaks if missing else ()), *(layout.warnings if missing else ())]


def refuse(problems: Sequence[str]) -> None:
    """Refuse data that has problems.

    Raises:
        DataRefused: there is one; the message names all.
    """
    if problems:
        raise DataRefused("data gate", "; ".join(problems), "a model trained on it could not be trusted", _NEXT)


def warnings_of(
    layout: Layout, images: Sequence[LabelledImage], settings: Settings, leaks: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the warnings for data that is fit for training; `leaks` tell of photos that were taken out before."""
    counts = count_images(layout.classes, images)
    return (*layout.warnings, *leaks, *_imbalance_warnings(counts, settings), *_repeat_warnings(images))


def note_warnings(noted: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """Return a warning for each kind of note about how pictures were read; `noted` are names with their notes."""
    by_note: dict[str, list[str]] = defaultdict(list)
    for name, notes in noted:
        for note in notes:
            by_note[note].append(name)
    return [f"{counted(len(files), 'image')}: {note}: {listed_files(files)}" for note, files in sorted(by_note.items())]


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
    problems = []
    for split, by_class in counts.items():
        empty = [shortened(name) for name, count in by_class.items() if count == 0]
        if empty:
            of_few = f" (a class needs {len(layout.made)} photos to be split)" if split in layout.made else ""
            problems.append(f"no good {split} image of class {listed(empty)}{of_few}")
    return problems


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
    are_copies = counted(len(copies), "image is an exact copy", "images are exact copies")
    warnings = [f"{are_copies} of another image in the same split: {listed(sorted(copies))}"]
    in_two = counted(len(mixed), "image is", "images are")
    warnings += [f"{in_two} in more than one class: {listed(sorted(mixed))}"] if mixed else []
    return warnings if copies else []
