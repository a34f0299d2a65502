"""Stage a dataset: find the source, decode and judge all of its images, and upload it to S3 if it is good.

`locate` and `judge_source` change nothing in AWS, and call it only to read a source that is in a bucket. They refuse
data that is unfit for training; only then does `tasks.data.upload` send anything. `tasks.data.judgement_cache`
remembers the sources that were judged good, so that unchanged data is neither decoded nor sent again.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tasks.account.bucket import ensure_bucket
from tasks.data.bucket_source import fetch_archive, fetch_objects, list_prefix, place_of
from tasks.data.download import download
from tasks.data.entries import Listing
from tasks.data.image_judgement import ImageLimits
from tasks.data.judgement_cache import Findings, JudgementCache, LocatedSource, staging_parameters
from tasks.data.layout import Layout, dataset_digest, judge, read_layout
from tasks.data.sample import NAME as SAMPLE
from tasks.data.sample import make_sample
from tasks.data.shards import StagedImage
from tasks.data.unpacking import list_unpacked
from tasks.data.upload import JudgedDataset, UploadSummary, upload
from tasks.data.worker_pool import Decoded, Rejected, decode_all
from tasks.run.aws import Aws
from tasks.run.disk import disk_boundary
from tasks.run.errors import SourceRefused
from tasks.run.escaping import valid_text
from tasks.run.handle import Run
from tasks.run.numbers import whole_number
from tasks.run.own_files import remove_tree
from tasks.run.progress import ProgressFactory
from tasks.run.records import DatasetRef, Quarantined
from tasks.run.settings import Settings
from tasks.run.source_name import file_path, is_s3, is_url, source_name, whole_source


@dataclass(frozen=True)
class StagingOutcome:
    """The result of staging: the staged dataset, the judged one, and the summary of the upload."""

    dataset: DatasetRef
    judged: JudgedDataset
    sent: UploadSummary


def locate(source: str, settings: Settings, progress: ProgressFactory) -> LocatedSource:
    """Return the local path of a source: a URL is downloaded, `sample` is written to a folder, a path is used as it is.

    A URL may be given by the name under which this process keeps it (`tasks.run.source_name`). Of a prefix in a bucket
    only the listing is read; its path is where its objects will be.

    Raises:
        SourceRefused: the path does not exist, or the URL is not allowed.
        DownloadFailed: the URL could not be fetched.
        AwsFailed: S3 refused or did not answer.
    """
    if source == SAMPLE:
        return LocatedSource(source, SAMPLE, make_sample(settings.home))
    if is_s3(source):
        return _in_bucket(source, Aws(settings), progress)
    if is_url(source):
        whole, name = whole_source(source), source_name(source)
        path = download(whole, settings, progress)
        return LocatedSource(name, path.stem, path, url=name)
    path = Path(file_path(source) or source).expanduser()
    if not os.path.exists(path):  # noqa: PTH110 Path.exists() raises for a name that is too long
        why = "there is no such file or folder"
        raise SourceRefused(
            "source", source_name(source), why, "give a URL, an archive, a folder or 'sample' as --data"
        )
    return LocatedSource(valid_text(source), valid_text(path.stem or path.resolve().name), path)


def _in_bucket(source: str, aws: Aws, progress: ProgressFactory) -> LocatedSource:
    """Download an archive in a bucket, or list a prefix."""
    place = place_of(source)
    if place.is_archive:
        path = fetch_archive(aws, place, progress)
        return LocatedSource(source, path.stem, path, url=place.uri)
    objects = list_prefix(aws, place)
    return LocatedSource(source, place.name, objects.listing.root, objects=objects)


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
        AwsFailed: S3 refused to read an object of the source, or did not answer.
    """
    objects = source.objects
    listing = objects.listing if objects else list_unpacked(source.path, settings, spool_dir, progress)
    layout = read_layout(listing)
    if objects is not None:
        fetch_objects(Aws(settings), objects, [candidate.index for candidate in layout.candidates], progress)
    outcomes = decode_all(
        listing,
        [candidate.index for candidate in layout.candidates],
        limits=_limits(settings),
        processes=settings.staging_processes,
        spool_dir=spool_dir,
        progress=progress,
    )
    images, rejected = _split_outcomes(listing, layout, outcomes)
    quarantined = (*layout.quarantined, *rejected)
    labelled = [image.labelled for image in images]
    warnings = judge(layout, labelled, quarantined, settings)
    digest = dataset_digest(layout.classes, labelled, staging_parameters(settings))
    findings = Findings(quarantined, warnings, layout.ignored)
    return JudgedDataset(source, digest, layout.classes, tuple(images), findings)


def judge_and_upload(
    source: LocatedSource, cache: JudgementCache, run: Run, progress: ProgressFactory
) -> StagingOutcome:
    """Decode and judge a source; if it is good, create or adopt the bucket and upload the dataset.

    Raises:
        SourceRefused, DataRefused, KennelError: as `judge_source` raises them; nothing in AWS was changed.
        OwnershipRefused, AwsFailed, LedgerRefused: as `ensure_bucket`, `upload` and `Ledger` raise them.
    """
    with spool_directory(run.settings) as spool_dir:
        judged = judge_source(source, run.settings, spool_dir, progress)
        cache.store(judged.judgement)
        ensure_bucket(run)
        dataset, sent = upload(judged, run, progress)
    return StagingOutcome(dataset, judged, sent)


def _split_outcomes(
    listing: Listing, layout: Layout, outcomes: Sequence[Decoded | Rejected]
) -> tuple[list[StagedImage], list[Quarantined]]:
    """Separate the decoded images from the rejected ones."""
    class_index = {name: index for index, name in enumerate(layout.classes)}
    images: list[StagedImage] = []
    rejected: list[Quarantined] = []
    for candidate, outcome in zip(layout.candidates, outcomes, strict=True):
        name = listing.entries[candidate.index].name
        if isinstance(outcome, Rejected):
            rejected.append(Quarantined(valid_text(name), outcome.reason))
        else:
            index = class_index[candidate.class_name]
            images.append(StagedImage(candidate.split, index, candidate.class_name, name, outcome))
    return images, rejected


def _limits(settings: Settings) -> ImageLimits:
    return ImageLimits(settings.shortest_side_px, settings.jpeg_quality, settings.max_image_pixels)
