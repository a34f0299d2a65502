"""Examine a source: read, decode and judge all of it; a source in a bucket is read there, and nothing is changed.

What is found is told whether or not the data is fit for training: `tasks.data.staging` refuses what has problems, and
an inspection shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tasks.data.archive import Reader
from tasks.data.bucket_source import fetch_objects, read_remote
from tasks.data.entries import Listing
from tasks.data.image_judgement import ImageLimits
from tasks.data.judgement import LabelledImage, dataset_digest, note_warnings, problems_of, warnings_of
from tasks.data.judgement_cache import Findings, LocatedSource, staging_parameters
from tasks.data.layout import Candidate, Layout, read_layout
from tasks.data.leakage import Pair, find_leaks, leak_warnings, same_pairs, taken_out
from tasks.data.photo_groups import group_note, group_pairs, group_warning
from tasks.data.repeats import class_warnings, contradictions, copy_warnings
from tasks.data.shards import SpoolReader, StagedImage
from tasks.data.split_notes import reason_of_shares, split_note
from tasks.data.split_record import SplitRecord
from tasks.data.splits import Photo, distribute
from tasks.data.unpacking import list_unpacked
from tasks.data.worker_pool import Decoded, Rejected, decode_all
from tasks.run.aws import Aws
from tasks.run.escaping import valid_text
from tasks.run.options import DataOptions
from tasks.run.progress import ProgressFactory
from tasks.run.records import Quarantined
from tasks.run.settings import Settings


@dataclass(frozen=True)
class Examined:
    """All that was found in a source; `problems` is empty for data that is fit for training.

    `images` are those of the dataset, `everything` also has what was taken out because it is in two splits, and
    `twins` are the pairs of images that are the same or nearly. `made` has the splits of photos that their
    folders do not tell, by the hex sha256 of their bytes. `doubts` are those of the warnings by which the classes may
    not be the ones that are meant.
    """

    source: LocatedSource
    digest: str
    classes: tuple[str, ...]
    images: tuple[StagedImage, ...]
    everything: tuple[StagedImage, ...]
    twins: tuple[tuple[StagedImage, StagedImage], ...]
    findings: Findings
    problems: tuple[str, ...]
    made: Mapping[str, str]
    doubts: tuple[str, ...] = ()


def examine_source(source: LocatedSource, settings: Settings, spool_dir: Path, progress: ProgressFactory) -> Examined:
    """Read, decode and judge a whole source, and write its staged bytes to `spool_dir`.

    Raises:
        SourceRefused: the source cannot be read safely, or has no layout that is known.
        KennelError: an image worker could not start.
        DiskFailed: the staged images cannot be written.
        AwsFailed: S3 refused to read an object of the source, or did not answer.
    """
    listing, layout = _laid_out(source, settings, spool_dir, progress)
    outcomes = decode_all(
        listing,
        [candidate.index for candidate in layout.candidates],
        limits=limits_of(settings),
        processes=settings.staging_processes,
        spool_dir=spool_dir,
        progress=progress,
    )
    known = SplitRecord(source.options, settings).read() if layout.made else {}
    with SpoolReader() as spools:
        return judge_decoded(source, settings, (listing, layout), outcomes, staged=spools.read, known=known)


def judge_decoded(
    source: LocatedSource,
    settings: Settings,
    laid_out: tuple[Listing, Layout],
    outcomes: Sequence[Decoded | Rejected],
    *,
    staged: Callable[[Decoded], bytes],
    known: Mapping[str, str],
) -> Examined:
    """Judge a source of which all candidates are decoded, here or on other machines; nothing is read but by `staged`.

    `outcomes` are in the order of the layout's candidates, `staged` returns an image's staged bytes, and `known` are
    the splits that photos without one have from earlier stagings, by the hex sha256 of their bytes.
    """
    listing, layout = laid_out
    decoded, rejected = _separated(listing, layout, outcomes)
    pairs, uncompared = _same_pairs([image for _, image in decoded], staged)
    splits = _splits(source, layout, decoded, pairs, known)
    everything = _staged(listing, layout, decoded, splits)
    before = [image.labelled for image in everything]
    images, labelled, leaks, told = _without_leaks(everything, before, pairs, source.options)
    broken = (*layout.quarantined, *rejected)
    contradicting = contradictions(before)
    problems = problems_of(layout, labelled, broken, settings)
    problems += [] if source.options.keep_duplicates else contradicting
    alike = class_warnings(before, pairs)
    repeats = [*told, *copy_warnings(labelled), *alike]
    repeats += contradicting if source.options.keep_duplicates else []
    placed = zip((each.group for each, _ in decoded), splits, strict=True)
    repeats += group_warning(layout.group, placed) if layout.group else []
    warnings = (*warnings_of(layout, labelled, settings, repeats), *uncompared, *_notes_of(images))
    told_splits = [] if problems else _split_notes(source.options, layout, decoded, labelled, pairs, known)
    notes = (*layout.notes, *told_splits)
    digest = dataset_digest(layout.classes, labelled, staging_parameters(settings))
    findings = Findings((*broken, *leaks), warnings, layout.ignored, layout.unused, notes)
    return Examined(
        source=source,
        digest=digest,
        classes=layout.classes,
        images=tuple(images),
        everything=tuple(everything),
        twins=tuple((everything[one], everything[other]) for one, other in pairs),
        findings=findings,
        problems=tuple(problems),
        made={
            image.source_sha256: split
            for (candidate, image), split in zip(decoded, splits, strict=True)
            if candidate.split is None
        },
        doubts=(*layout.doubts, *alike),
    )


def _laid_out(
    source: LocatedSource, settings: Settings, spool_dir: Path, progress: ProgressFactory
) -> tuple[Listing, Layout]:
    """Return what a source has and how it is laid out; photos of a bucket are fetched."""
    level = source.options.class_folder
    if (objects := source.objects) is not None:
        aws = Aws(settings)
        layout = read_layout(objects.listing, partial(read_remote, aws, objects, progress), level)
        fetch_objects(aws, objects, [candidate.index for candidate in layout.candidates], progress)
        return objects.listing, layout
    listing = list_unpacked(source.path, settings, spool_dir, progress)
    with Reader(listing.root, listing.kind) as reader:
        return listing, read_layout(listing, reader.read, level)


def _separated(
    listing: Listing, layout: Layout, outcomes: Sequence[Decoded | Rejected]
) -> tuple[list[tuple[Candidate, Decoded]], list[Quarantined]]:
    """Separate the decoded images from the rejected ones."""
    decoded: list[tuple[Candidate, Decoded]] = []
    rejected: list[Quarantined] = []
    for candidate, outcome in zip(layout.candidates, outcomes, strict=True):
        if isinstance(outcome, Rejected):
            rejected.append(Quarantined(valid_text(listing.entries[candidate.index].name), outcome.reason))
        else:
            decoded.append((candidate, outcome))
    return decoded, rejected


def _same_pairs(images: Sequence[Decoded], staged: Callable[[Decoded], bytes]) -> tuple[list[Pair], list[str]]:
    digests, thumbnails = [each.source_sha256 for each in images], [each.thumbnail for each in images]
    return same_pairs(digests, thumbnails, lambda n: staged(images[n]))


def _splits(
    source: LocatedSource,
    layout: Layout,
    decoded: Sequence[tuple[Candidate, Decoded]],
    pairs: Sequence[Pair],
    known: Mapping[str, str],
) -> list[str]:
    """Return the split of each image: that of its folder, or the one that it gets."""
    pool = {n: place for place, n in enumerate(n for n, (each, _) in enumerate(decoded) if each.split is None)}
    photos = [Photo(decoded[n][0].class_name, decoded[n][1].source_sha256) for n in pool]
    together = [*group_pairs([each.group for each, _ in decoded]), *pairs]
    among = [(pool[one], pool[other]) for one, other in together if one in pool and other in pool]
    shares = {split: source.options.shares[split] for split in layout.made}
    made = distribute(photos, among, shares, seed=source.options.split_seed, known=known) if pool else []
    return [each.split or made[pool[n]] for n, (each, _) in enumerate(decoded)]


def _staged(
    listing: Listing, layout: Layout, decoded: Sequence[tuple[Candidate, Decoded]], splits: Sequence[str]
) -> list[StagedImage]:
    class_index = {name: index for index, name in enumerate(layout.classes)}
    return [
        StagedImage(split, class_index[each.class_name], each.class_name, listing.entries[each.index].name, image)
        for (each, image), split in zip(decoded, splits, strict=True)
    ]


def _without_leaks(
    images: Sequence[StagedImage], labelled: Sequence[LabelledImage], pairs: Sequence[Pair], options: DataOptions
) -> tuple[list[StagedImage], list[LabelledImage], list[Quarantined], list[str]]:
    """Return the images that stay, twice, those that are taken out as they are in two splits, and the warnings."""
    leaks = find_leaks(labelled, pairs)
    told = leak_warnings(labelled, leaks, are_kept=options.keep_duplicates)
    if options.keep_duplicates:
        return list(images), list(labelled), [], told
    out = {leak.index for leak in leaks}
    kept = [n for n in range(len(images)) if n not in out]
    return [images[n] for n in kept], [labelled[n] for n in kept], taken_out(labelled, leaks), told


def _notes_of(images: Sequence[StagedImage]) -> list[str]:
    return note_warnings((image.name, image.decoded.notes) for image in images)


def _split_notes(
    options: DataOptions,
    layout: Layout,
    decoded: Sequence[tuple[Candidate, Decoded]],
    images: Sequence[LabelledImage],
    pairs: Sequence[Pair],
    known: Mapping[str, str],
) -> list[str]:
    if not layout.made:
        return []
    has_twins = any(decoded[one][0].split is None for one, _ in pairs)
    has_known = any(photo.source_sha256 in known for _, photo in decoded)
    why = reason_of_shares(layout.group, has_twins=has_twins, has_known=has_known)
    kept = [group_note(layout.group, (each.group for each, _ in decoded))] if layout.group else []
    return [*kept, split_note(options, layout.made, (image.split for image in images), why)]


def limits_of(settings: Settings) -> ImageLimits:
    """Return the limits of an image that the settings name."""
    staged = (settings.shortest_side_px, settings.jpeg_quality)
    return ImageLimits(*staged, settings.max_image_pixels, settings.max_image_bytes)
