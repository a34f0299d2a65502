"""Makes the page of an inspection: one file without scripts, with small copies of the photos that it speaks of."""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from tasks.data.judgement import WHAT_TO_DO
from tasks.data.shards import StagedImage
from tasks.data.texts import counted
from tasks.inspection.captions import apart, breakable
from tasks.inspection.examples import examples_of
from tasks.inspection.record import FoundPair, FoundPhoto, Inspection, TrainingTime
from tasks.page.rendering import rendered_from, style
from tasks.run.records import Quarantined

TEMPLATES = Path(__file__).with_name("templates")
SHOWN, SHOWN_PAIRS, SHOWN_NAMES = 24, 12, 5
SOME_CLASSES, MANY_CLASSES = 12, 150
"""So many classes are shown at first. Beyond `MANY_CLASSES` each has one photo, beyond four times as many none."""

_SIDE, _SMALL_SIDE, _QUALITY = 224, 72, 70


def inspection_page(found: Inspection, images: Mapping[str, StagedImage], when: str, doubts: Sequence[str] = ()) -> str:
    """Return the page; `images` are the staged ones by name, and `when` is the time that it tells.

    `doubts` are those of the warnings by which the classes may not be the ones that are meant.
    """
    return str(
        rendered_from(
            TEMPLATES,
            "inspection.html.j2",
            found=found,
            when=when,
            cure=WHAT_TO_DO,
            style=style(),
            size=f"{found.staged_bytes / 1e6:,.1f} MB",
            splits=[(split, f"{sum(by_class.values()):,}") for split, by_class in found.counts.items()],
            training=None if found.training is None else training_text(found.training),
            suspects=_photos(found.suspects[:SHOWN], images),
            pairs=_pairs(found, images),
            twins=_twins_text(found.pairs),
            doubts=doubts,
            warned=counted(len(found.warnings), "warning"),
            read="Read it" if len(found.warnings) == 1 else "Read them",
            outliers=_outliers(found, images),
            classes=_classes(found, images),
            some=SOME_CLASSES,
            left_out=_by_reason(found.left_out),
            sides=_sides(found),
        )
    )


def training_text(training: TrainingTime) -> str:
    """Return what training takes and costs, in a sentence or two."""
    price = "at an unknown price"
    if training.usd is not None:
        price = f"at {training.usd_per_hour:.4g} USD an hour, about {training.usd:.2g} USD"
    return (
        f"Training makes {training.passes:,} passes through the network, {training.seconds:,.0f} s at the "
        f"{training.photos_per_second:,.0f} photos a second of this machine ({training.hardware}). On "
        f"{training.instance}, if it is as fast as this machine, and billed for {training.billed:,.0f} s at least: "
        f"{price}."
    )


def _photos(found: Iterable[FoundPhoto], images: Mapping[str, StagedImage]) -> list[dict[str, object]]:
    return [
        {**asdict(photo), "name": breakable(photo.name), "picture": _picture(images.get(photo.name), _SIDE)}
        for photo in found
    ]


def _pairs(found: Inspection, images: Mapping[str, StagedImage]) -> list[dict[str, object]]:
    return [
        {
            "kind": "the same" if pair.is_exact else "nearly the same",
            "file": breakable(file),
            "folder": folder and breakable(f"{folder}/"),
            "photos": [
                (_picture(images.get(pair.name), _SIDE // 2), breakable(one), f"{pair.label}, {pair.split}"),
                (_picture(images.get(pair.twin), _SIDE // 2), breakable(two), f"{pair.twin_label}, {pair.twin_split}"),
            ],
        }
        for pair in found.pairs[:SHOWN_PAIRS]
        for folder, one, two, file in [apart(pair.name, pair.twin)]
    ]


def _twins_text(pairs: Sequence[FoundPair]) -> str:
    """Return what the pairs of photos that are the same or nearly have in common."""
    exact = sum(pair.is_exact for pair in pairs)
    classes = sum(pair.label != pair.twin_label for pair in pairs)
    splits = sum(pair.split != pair.twin_split for pair in pairs)
    kinds = ((exact, "the same"), (len(pairs) - exact, "nearly the same, as pictures of one scene are"))
    text = f"Of {counted(len(pairs), 'pair')} of photos, "
    text += " and ".join(f"{count:,} {'is' if count == 1 else 'are'} {kind}" for count, kind in kinds if count) + "."
    if classes:
        text += f" In {counted(classes, 'pair')} the two have different classes: one of the labels is wrong."
    if splits:
        text += f" In {counted(splits, 'pair')} they are in two splits, which makes the accuracy look too good."
    return (
        text if classes or splits else f"{text} The two of each pair are in one class and one split, which is no fault."
    )


def _outliers(
    found: Inspection, images: Mapping[str, StagedImage]
) -> list[tuple[str, str, list[dict[str, object]], int]]:
    kinds: tuple[tuple[str, str, Sequence[FoundPhoto]], ...] = (
        ("Dark photos", "They are much darker than the others.", found.dark),
        ("Bright photos", "They are much brighter than the others.", found.bright),
        ("Blurred photos", "They have much less detail than the others: a blur, or a plain background.", found.blurred),
    )
    return [
        (title, text, _photos(photos[:SHOWN], images), max(0, len(photos) - SHOWN))
        for title, text, photos in kinds
        if photos
    ]


def _by_reason(left_out: Iterable[Quarantined]) -> list[tuple[str, str, str]]:
    """Return how many files are not used for a reason, the reason, and the first names."""
    names: dict[str, list[str]] = defaultdict(list)
    for item in left_out:
        names[item.reason].append(item.name)
    ordered = sorted(names.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    return [(f"{len(files):,}", reason, ", ".join(sorted(files)[:SHOWN_NAMES])) for reason, files in ordered]


def _sides(found: Inspection) -> str:
    least, median, most = found.shortest_sides
    shown = f"{least} px" if least == most else f"{least} to {most} px (median {median} px)"
    small = found.smaller_than_crop
    text = f"The shortest side of the photos is {shown}."
    if not small:
        return f"{text} None is smaller than the {found.crop} px that the network sees."
    are = "All" if small == found.images else f"{small:,}"
    return (
        f"{text} {are} of them are smaller than the {found.crop} px that the network sees, and are enlarged. That is "
        "no fault: they have less detail, which matters only if the classes differ in fine detail."
    )


def _classes(found: Inspection, images: Mapping[str, StagedImage]) -> list[dict[str, object]]:
    each = 3 if len(found.classes) <= MANY_CLASSES else 1 if len(found.classes) <= 4 * MANY_CLASSES else 0
    examples = examples_of(images, found.pairs, each)
    totals = {name: sum(by_class[name] for by_class in found.counts.values()) for name in found.classes}
    most = max(totals.values(), default=0) or 1
    return [
        {
            "name": name,
            "counts": [f"{by_class[name]:,}" for by_class in found.counts.values()],
            "all": f"{totals[name]:,}",
            "percent": round(100 * totals[name] / most),
            "pictures": [_picture(image, _SMALL_SIDE) for image in examples.get(name, ())],
        }
        for name in found.classes
    ]


def _picture(image: StagedImage | None, side: int) -> str | None:
    """Return a staged photo as a `data:` URI of a small JPEG; None for one that was not staged."""
    from PIL import Image

    if image is None:
        return None
    with image.decoded.spool.open("rb") as spool:
        spool.seek(image.decoded.offset)
        data = spool.read(image.decoded.size_bytes)
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as photo:
        photo.draft("RGB", (side, side))
        photo.thumbnail((side, side))
        content = io.BytesIO()
        photo.convert("RGB").save(content, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
