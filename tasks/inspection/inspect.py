"""Inspect a source: read and judge it as staging does, then look at photos and labels; nothing is changed in AWS."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.data.examination import Examined, examine_source
from tasks.data.judgement import count_images
from tasks.data.judgement_cache import LocatedSource
from tasks.data.shards import StagedImage
from tasks.data.staging import spool_directory
from tasks.inspection.accuracy import expected_accuracy
from tasks.inspection.page import inspection_page
from tasks.inspection.record import Accuracy, FoundPair, FoundPhoto, Inspection
from tasks.inspection.sampling import stratified
from tasks.inspection.survey import Survey, survey
from tasks.inspection.training_time import training_time
from tasks.run.progress import ProgressFactory
from tasks.run.record_store import write_atomically
from tasks.run.sealed import seal
from tasks.run.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tasks.inspection.neighbours import Suspect
    from tasks.inspection.outliers import Outlier

RECORD, PAGE = "inspection.json", "inspection.html"
BACKBONE = "efficientnet_lite0"
CROP_PX = 224
"""The backbone's crop: smaller photos are enlarged."""

FEWEST_EMBEDDED = 20
BLURRED = "much less sharp than the others"


def inspect_source(
    source: LocatedSource, settings: Settings, progress: ProgressFactory, folder: Path, *, sample: int
) -> Inspection:
    """Inspect a source, and write inspection.json and inspection.html to `folder`; embed at most `sample` photos.

    Raises:
        SourceRefused: the source cannot be read, or has no layout that is known.
        AwsFailed: the source is in a bucket that cannot be read.
        StageFailed, WaitTimedOut, DiskFailed, KennelError: as `examine_source` and `survey` raise them.
    """
    begun = time.monotonic()
    with spool_directory(settings) as spool:
        examined = examine_source(source, settings, spool, progress)
        images = examined.images
        labels, digests = [each.class_index for each in images], [each.decoded.source_sha256 for each in images]
        chosen = stratified(labels, digests, sample)
        counts = count_images(examined.classes, [image.labelled for image in images])
        splits = {split: sum(by_class.values()) for split, by_class in counts.items()}
        photos = [image.decoded for image in images]
        looked = survey(photos, chosen, splits["train"], BACKBONE, settings, progress) if images else None
        found = _inspection(examined, counts, chosen, looked)
        training = None if looked is None else training_time(splits, looked, settings)
        found = replace(found, training=training, seconds=time.monotonic() - begun)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / RECORD, seal(asdict(found), indent=1))
        when = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
        page = inspection_page(found, {image.name: image for image in examined.everything}, when, examined.doubts)
        write_atomically(folder / PAGE, page.encode())
    return found


def _inspection(
    examined: Examined, counts: Mapping[str, Mapping[str, int]], chosen: Sequence[int], looked: Survey | None
) -> Inspection:
    images = examined.images
    suspects, accuracy = judge_labels(images, chosen, looked, examined)
    return Inspection(
        source=examined.source.label,
        name=examined.source.name,
        digest=examined.digest,
        problems=examined.problems,
        warnings=examined.findings.warnings,
        notes=examined.findings.notes,
        images=len(images),
        classes=examined.classes,
        counts=counts,
        shortest_sides=_shortest_sides(images),
        smaller_than_crop=sum(min(image.decoded.source_size) < CROP_PX for image in images),
        crop=CROP_PX,
        staged_bytes=sum(image.decoded.size_bytes for image in images),
        left_out=(*examined.findings.quarantined, *examined.findings.unused),
        pairs=found_pairs(examined),
        **_odd_photos(images, looked),
        suspects=suspects,
        embedded=0 if looked is None else len(chosen),
        accuracy=accuracy,
        training=None,
        seconds=0.0,
    )


def _shortest_sides(images: Sequence[StagedImage]) -> tuple[int, int, int]:
    sides = sorted(min(image.decoded.source_size) for image in images)
    return (sides[0], sides[len(sides) // 2], sides[-1]) if sides else (0, 0, 0)


def found_pairs(examined: Examined) -> tuple[FoundPair, ...]:
    """Return all pairs of photos that are the same or nearly, those in two classes first, then those in two splits."""
    pairs = [_pair(one, two) for one, two in examined.twins]
    return tuple(
        sorted(pairs, key=lambda pair: (pair.label == pair.twin_label, pair.split == pair.twin_split, pair.name))
    )


def _pair(one: StagedImage, two: StagedImage) -> FoundPair:
    is_exact = one.decoded.source_sha256 == two.decoded.source_sha256
    return FoundPair(one.name, one.split, one.class_name, two.name, two.split, two.class_name, is_exact)


def _odd_photos(images: Sequence[StagedImage], looked: Survey | None) -> dict[str, tuple[FoundPhoto, ...]]:
    """Return the photos that look unlike the others, by the members of the inspection that have them."""
    import numpy as np

    from tasks.inspection import outliers

    def photos(found: Sequence[Outlier], text: str) -> tuple[FoundPhoto, ...]:
        return tuple(_found(images[each.row], text.format(each.value)) for each in found)

    levels = outliers.brightness_of([image.decoded.thumbnail for image in images])
    sharpness = np.zeros(0) if looked is None else looked.sharpness.astype(np.float64)
    level = "a mean level of {:.0f} of 255"
    return {
        "dark": photos(outliers.too_dark(levels), level),
        "bright": photos(outliers.too_bright(levels), level),
        "blurred": photos(outliers.too_blurred(sharpness), BLURRED),
    }


def _found(image: StagedImage, text: str) -> FoundPhoto:
    return FoundPhoto(image.name, image.split, image.class_name, text)


def judge_labels(
    images: Sequence[StagedImage], chosen: Sequence[int], looked: Survey | None, examined: Examined
) -> tuple[tuple[FoundPhoto, ...], Accuracy | None]:
    """Return the photos whose label may be wrong, and the accuracy that is expected; none from too few photos."""
    import numpy as np

    from tasks.inspection import neighbours

    if looked is None or len(chosen) < FEWEST_EMBEDDED or len(examined.classes) < 2:
        return (), None
    labels = np.array([images[index].class_index for index in chosen])
    features = neighbours.unit_length(looked.features)
    groups = _groups(images, chosen, examined)
    rows, cosines = neighbours.nearest(features, groups)
    votes = neighbours.votes_of(rows, cosines, labels, len(examined.classes))
    _, alone = np.unique(groups, return_index=True)  # one of each group of twins: a copy is no evidence
    line = neighbours.linear_answers(features[alone], labels[alone], len(examined.classes))
    suspects = tuple(
        _suspected(images[chosen[each.row]], each, examined.classes) for each in neighbours.suspects_of(votes, labels)
    )
    return suspects, expected_accuracy(votes[alone].argmax(axis=1), line, labels[alone], BACKBONE)


def _groups(images: Sequence[StagedImage], chosen: Sequence[int], examined: Examined) -> NDArray[np.int64]:
    """Return a number for each chosen photo that it shares with its twins."""
    import numpy as np

    place = {images[index].name: row for row, index in enumerate(chosen)}
    group = np.arange(len(chosen))
    for one, two in examined.twins:
        if one.name in place and two.name in place:
            first, second = group[place[one.name]], group[place[two.name]]
            group[group == second] = first
    return group


def _suspected(image: StagedImage, suspect: Suspect, classes: Sequence[str]) -> FoundPhoto:
    return _found(image, f"{suspect.share:.0%} of its neighbours are {classes[suspect.other]}")
