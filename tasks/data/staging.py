"""Stage a dataset: find the source, decode and judge all of its images, and upload it to S3 if it is good.

`locate` and `judge_source` make no AWS call; they refuse data that is unfit for training. Only then does
`tasks.data.upload` send anything. `tasks.data.judgement_cache` remembers the sources that were judged good, so that
unchanged data is neither decoded nor sent again.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tasks.account.bucket import ensure_bucket
from tasks.data.archive import Listing, Reader, list_source
from tasks.data.download import download
from tasks.data.image_judgement import ImageLimits
from tasks.data.judgement import LabelledImage, dataset_digest, judge, note_warnings
from tasks.data.judgement_cache import Findings, JudgementCache, LocatedSource, staging_parameters
from tasks.data.layout import Candidate, Layout, read_layout
from tasks.data.leakage import Pair, find_leaks, leak_warnings, same_pairs, taken_out
from tasks.data.left_out import refused_listed
from tasks.data.sample import NAME as SAMPLE
from tasks.data.sample import make_sample
from tasks.data.shards import SpoolReader, StagedImage
from tasks.data.split_record import SplitRecord
from tasks.data.splits import Photo, distribute
from tasks.data.upload import JudgedDataset, UploadSummary, upload
from tasks.data.worker_pool import Decoded, Rejected, decode_all
from tasks.run.disk import disk_boundary
from tasks.run.errors import SourceRefused
from tasks.run.escaping import valid_text
from tasks.run.handle import Run
from tasks.run.numbers import whole_number
from tasks.run.options import DataOptions
from tasks.run.own_files import remove_tree
from tasks.run.progress import ProgressFactory
from tasks.run.records import SPLITS, DatasetRef, Quarantined
from tasks.run.settings import Settings
from tasks.run.source_name import is_url, source_name, whole_source


@dataclass(frozen=True)
class StagingOutcome:
    """The result of staging: the staged dataset, the judged one, and the summary of the upload."""

    dataset: DatasetRef
    judged: JudgedDataset
    sent: UploadSummary


def locate(
    source: str, settings: Settings, progress: ProgressFactory, options: DataOptions = DataOptions()
) -> LocatedSource:
    """Return the local path of a source: a URL is downloaded, `sample` is written to a folder, a path is used as it is.

    A URL may be given by the name under which this process keeps it (`tasks.run.source_name`).

    Raises:
        SourceRefused: the path does not exist, or the URL is not allowed.
        DownloadFailed: the URL could not be fetched.
    """
    if source == SAMPLE:
        return LocatedSource(source, SAMPLE, make_sample(settings.home), options=options)
    if is_url(source):
        whole, name = whole_source(source), source_name(source)
        path = download(whole, settings, progress)
        return LocatedSource(name, path.stem, path, url=name, options=options)
    path = Path(source).expanduser()
    if not os.path.exists(path):  # noqa: PTH110 Path.exists() raises for a name that is too long
        why = "there is no such file or folder"
        raise SourceRefused("source", source_name(source), why, "give a URL, a .zip, a folder or 'sample' as --data")
    return LocatedSource(valid_text(source), valid_text(path.stem or path.resolve().name), path, options=options)


@contextmanager
def spool_directory(settings: Settings) -> Iterator[Path]:
    """Create a folder for staged bytes and delete it at the end; first delete folders that killed processes left."""
    parent = settings.home / "staging"
    with disk_boundary("staging", parent):
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in parent.iterdir():
        owner = whole_number(left.name.partition("-")[0])
        if owner is not None and not psutil.pid_exists(owner):
            remove_tree(left)
    directory = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def judge_source(
    source: LocatedSource, settings: Settings, spool_dir: Path, progress: ProgressFactory
) -> JudgedDataset:
    """Read, decode and judge a whole source, and write its staged bytes to `spool_dir`.

    Raises:
        SourceRefused: the source cannot be read safely, or is not laid out as train|valid|test/<class>/<image>.
        DataRefused: the source was read and is unfit for training.
        KennelError: an image worker could not start.
        DiskFailed: the staged images cannot be written.
    """
    listing = list_source(source.path, settings)
    with Reader(listing.path, is_zip=listing.is_zip) as reader:
        layout = read_layout(listing, reader.read)
    outcomes = decode_all(
        listing,
        [candidate.index for candidate in layout.candidates],
        limits=_limits(settings),
        processes=settings.staging_processes,
        spool_dir=spool_dir,
        progress=progress,
    )
    decoded, rejected = _separated(listing, layout, outcomes)
    pairs = _same_pairs([image for _, image in decoded])
    record = SplitRecord(source, settings)
    splits = _splits(source, layout, decoded, pairs, record.read() if layout.made else {})
    everything = _staged(listing, layout, decoded, splits)
    images, leaks, told = _without_leaks(everything, pairs, source.options)
    broken = (*layout.quarantined, *rejected)
    labelled = [image.labelled for image in images]
    with refused_listed((*broken, *leaks, *layout.unused), source.name, settings):
        warnings = (*judge(layout, labelled, broken, settings, told), *_notes_of(images))
    if layout.made:
        pool = (n for n, (candidate, _) in enumerate(decoded) if candidate.split is None)
        record.add({decoded[n][1].source_sha256: splits[n] for n in pool})
    notes = (*layout.notes, *_split_notes(source.options, layout, labelled))
    digest = dataset_digest(layout.classes, labelled, staging_parameters(settings))
    findings = Findings((*broken, *leaks), warnings, layout.ignored, layout.unused, notes)
    return JudgedDataset(source, digest, layout.classes, tuple(images), findings)


def judge_and_upload(
    source: LocatedSource, cache: JudgementCache, run: Run, progress: ProgressFactory
) -> StagingOutcome:
    """Decode and judge a source; if it is good, create or adopt the bucket and upload the dataset.

    Raises:
        SourceRefused, DataRefused, KennelError: as `judge_source` raises them; no AWS call was made.
        OwnershipRefused, AwsFailed, LedgerRefused: as `ensure_bucket`, `upload` and `Ledger` raise them.
    """
    with spool_directory(run.settings) as spool_dir:
        judged = judge_source(source, run.settings, spool_dir, progress)
        cache.store(judged.judgement)
        ensure_bucket(run)
        dataset, sent = upload(judged, run, progress)
    return StagingOutcome(dataset, judged, sent)


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


def _same_pairs(images: Sequence[Decoded]) -> list[Pair]:
    digests, thumbnails = [each.source_sha256 for each in images], [each.thumbnail for each in images]
    with SpoolReader() as spools:
        return same_pairs(digests, thumbnails, lambda n: spools.read(images[n]))


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
    among = [(pool[one], pool[other]) for one, other in pairs if one in pool and other in pool]
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
    images: Sequence[StagedImage], pairs: Sequence[Pair], options: DataOptions
) -> tuple[list[StagedImage], list[Quarantined], list[str]]:
    """Return the images that stay, those that are taken out because they are in two splits, and the warnings."""
    labelled: list[LabelledImage] = [image.labelled for image in images]
    leaks = find_leaks(labelled, pairs)
    told = leak_warnings(labelled, leaks, are_kept=options.keep_duplicates)
    if options.keep_duplicates:
        return list(images), [], told
    out = {leak.index for leak in leaks}
    return [image for n, image in enumerate(images) if n not in out], taken_out(labelled, leaks), told


def _notes_of(images: Sequence[StagedImage]) -> list[str]:
    return note_warnings((image.name, image.decoded.notes) for image in images)


def _split_notes(options: DataOptions, layout: Layout, images: Sequence[LabelledImage]) -> list[str]:
    if not layout.made:
        return []
    counts = Counter(image.split for image in images)
    shown = ", ".join(f"{counts[split]:,} {split}" for split in SPLITS)
    lacking = "splits" if len(layout.made) == len(SPLITS) else f"{' and no '.join(layout.made[1:])} split"
    return [f"the data has no {lacking}: made {options.split}, seed {options.split_seed}, by kennel: {shown} images"]


def _limits(settings: Settings) -> ImageLimits:
    staged = (settings.shortest_side_px, settings.jpeg_quality)
    return ImageLimits(*staged, settings.max_image_pixels, settings.max_image_bytes)
