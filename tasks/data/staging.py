"""Stage a dataset: find the source, decode and judge all of its images, and upload it to S3 if it is good.

`locate` and `judge_source` change nothing in AWS, and call it only to read a source that is in a bucket. They refuse
data that is unfit for training; only then does `tasks.data.upload` send anything. `tasks.data.judgement_cache`
remembers the sources that were judged good, so that unchanged data is neither decoded nor sent again.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from tasks.account.bucket import ensure_bucket
from tasks.data.bucket_source import fetch_archive, list_prefix, place_of
from tasks.data.download import download
from tasks.data.entries import FORMS
from tasks.data.examination import examine_source
from tasks.data.judgement import refuse
from tasks.data.judgement_cache import Findings, JudgementCache, LocatedSource
from tasks.data.left_out import refused_listed
from tasks.data.sample import NAME as SAMPLE
from tasks.data.sample import make_sample
from tasks.data.split_record import SplitRecord
from tasks.data.upload import JudgedDataset, UploadSummary, upload
from tasks.run.aws import Aws
from tasks.run.disk import disk_boundary
from tasks.run.errors import SourceRefused
from tasks.run.escaping import valid_text
from tasks.run.handle import Run
from tasks.run.numbers import whole_number
from tasks.run.options import DataOptions
from tasks.run.own_files import remove_tree
from tasks.run.progress import ProgressFactory
from tasks.run.records import DatasetRef
from tasks.run.settings import Settings
from tasks.run.source_name import file_path, is_s3, is_url, source_name, whole_source


@dataclass(frozen=True)
class StagingOutcome:
    """The result of staging: the staged dataset, what was found in the source, and the summary of the upload."""

    dataset: DatasetRef
    findings: Findings
    sent: UploadSummary


def locate(
    source: str, settings: Settings, progress: ProgressFactory, options: DataOptions = DataOptions()
) -> LocatedSource:
    """Return the local path of a source: a URL is downloaded, `sample` is written to a folder, a path is used as it is.

    A URL may be given by the name under which this process keeps it (`tasks.run.source_name`). Of a prefix in a bucket
    only the listing is read; its path is where its objects will be.

    Raises:
        SourceRefused: the path does not exist, or the URL is not allowed.
        DownloadFailed: the URL could not be fetched.
        AwsFailed: S3 refused or did not answer.
    """
    if source == SAMPLE:
        return LocatedSource(source, SAMPLE, make_sample(settings.home), options=options)
    if is_s3(source):
        return replace(_in_bucket(source, Aws(settings), progress), options=options)
    if is_url(source):
        whole, name = whole_source(source), source_name(source)
        path = download(whole, settings, progress)
        return LocatedSource(name, _name_of(path), path, url=name, options=options)
    path = Path(file_path(source) or source).expanduser()
    if not os.path.exists(path):  # noqa: PTH110 Path.exists() raises for a name that is too long
        raise SourceRefused("source", source_name(source), "there is no such file or folder", FORMS)
    name = valid_text(_name_of(path) or path.resolve().name)
    return LocatedSource(valid_text(source), name, path, options=options)


def _name_of(path: Path) -> str:
    """Return what the dataset of a file or folder is called: x of x.zip and of x.tar.zst."""
    return Path(path.stem).stem if path.stem.lower().endswith(".tar") else path.stem


def _in_bucket(source: str, aws: Aws, progress: ProgressFactory) -> LocatedSource:
    """Download an archive in a bucket, or list a prefix."""
    place = place_of(source)
    if place.is_archive:
        path = fetch_archive(aws, place, progress)
        return LocatedSource(source, _name_of(path), path, url=place.uri)
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
        SourceRefused: the source cannot be read safely, or has no layout that is known.
        DataRefused: the source was read and is unfit for training.
        KennelError: an image worker could not start.
        DiskFailed: the staged images cannot be written.
        AwsFailed: S3 refused to read an object of the source, or did not answer.
    """
    examined = examine_source(source, settings, spool_dir, progress)
    findings = examined.findings
    with refused_listed((*findings.quarantined, *findings.unused), source.name, settings):
        refuse(examined.problems, findings.warnings)
    if examined.made:
        SplitRecord(source.options, settings).add(examined.made)
    return JudgedDataset(source, examined.digest, examined.classes, examined.images, findings)


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
    return StagingOutcome(dataset, judged.findings, sent)
