"""Staging a dataset: from what the user named to a manifest in S3, in two halves.

`locate` and `judge_source` touch no AWS: they find the bytes, decode every image and refuse data that no model should
be trained on. `upload` then sends shards and, last of all, the manifest, which is the commit marker. What was judged
good before is known from `tasks.data.judgement_cache`, so that unchanged data is neither decoded nor sent again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from tasks.account import objects
from tasks.account.bucket import bucket_exists, ensure_bucket
from tasks.data.archive import Listing, list_source
from tasks.data.decoding import Decoded, Rejected, decode_all
from tasks.data.download import download, is_url
from tasks.data.images import ImageLimits
from tasks.data.judgement_cache import JudgementCache, LocatedSource, staging_parameters
from tasks.data.layout import (
    Candidate,
    LabelledImage,
    Layout,
    Quarantined,
    count_images,
    dataset_digest,
    judge,
    read_layout,
)
from tasks.data.sample import NAME as SAMPLE
from tasks.data.sample import make_sample
from tasks.data.shards import ShardPlan, StagedImage, image_rows, pack, plan_shards
from tasks.run.aws import Aws
from tasks.run.errors import SourceRefused
from tasks.run.handle import Run
from tasks.run.ledger import crash_point
from tasks.run.progress import Progress, ProgressFactory
from tasks.run.records import SPLITS, DatasetRef
from tasks.run.settings import Settings

FORMAT = 1


@dataclass(frozen=True)
class JudgedDataset:
    """A dataset that passed the gate; its staged bytes lie in spool files until it is uploaded."""

    source: LocatedSource
    digest: str
    classes: tuple[str, ...]
    images: tuple[StagedImage, ...]
    quarantined: tuple[Quarantined, ...]
    ignored: int
    warnings: tuple[str, ...]

    @property
    def labelled(self) -> list[LabelledImage]:
        """The images as the gate sees them."""
        return [LabelledImage(i.split, i.class_name, i.name, i.source_sha256) for i in self.images]


@dataclass(frozen=True)
class UploadSummary:
    """What an upload did: shards put, and shards that were there already."""

    sent: int = 0
    sent_bytes: int = 0
    already_there: int = 0

    @property
    def text(self) -> str:
        """Say it to a person."""
        if self.sent == 0:
            return "Unchanged: nothing was sent."
        return f"{self.sent} objects sent ({self.sent_bytes / 1e6:,.1f} MB), {self.already_there} were there."


@dataclass(frozen=True)
class StagingOutcome:
    """A dataset that was staged just now, what the gate saw, and what was sent."""

    dataset: DatasetRef
    judged: JudgedDataset
    sent: UploadSummary


def locate(source: str, settings: Settings, progress: ProgressFactory) -> LocatedSource:
    """Bring a source to this machine: a URL is downloaded, `sample` written, a path taken as it is.

    Raises:
        SourceRefused: there is no such path.
        DownloadFailed: the URL could not be fetched.
    """
    if source == SAMPLE:
        return LocatedSource(source, SAMPLE, make_sample(settings.home))
    if is_url(source):
        path = download(source, settings, progress)
        return LocatedSource(source, path.stem, path, url=source)
    path = Path(source).expanduser()
    if not path.exists():
        why = "there is no such file or folder"
        raise SourceRefused("source", source, why, "give a URL, a .zip, a folder or 'sample' as --data")
    return LocatedSource(source, path.stem or path.resolve().name, path)


@contextmanager
def spool_directory(settings: Settings) -> Iterator[Path]:
    """Make a directory for staged bytes, removed at the end; what a killed process left is removed first."""
    parent = settings.home / "staging"
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in parent.iterdir():
        if not psutil.pid_exists(int(left.name.partition("-")[0])):
            shutil.rmtree(left)
    directory = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def judge_source(
    source: LocatedSource, settings: Settings, spool_dir: Path, progress: ProgressFactory
) -> JudgedDataset:
    """Read, decode and judge a whole source; its staged bytes are left in `spool_dir`.

    Raises:
        SourceRefused: it cannot be read safely, or is not laid out as train|valid|test/<class>/<image>.
        DataRefused: it was read, and no model should be trained on it.
    """
    listing = list_source(source.path, settings)
    layout = read_layout(listing)
    outcomes = decode_all(
        listing,
        [candidate.index for candidate in layout.candidates],
        limits=_limits(settings),
        processes=settings.staging_processes,
        spool_dir=spool_dir,
        progress=progress,
    )
    images, rejected = _sort_out(listing, layout, outcomes)
    quarantined = (*layout.quarantined, *rejected)
    labelled = [LabelledImage(i.split, i.class_name, i.name, i.source_sha256) for i in images]
    warnings = judge(layout, labelled, quarantined, settings)
    digest = dataset_digest(layout.classes, labelled, staging_parameters(settings))
    return JudgedDataset(source, digest, layout.classes, tuple(images), quarantined, layout.ignored, warnings)


def judge_and_upload(
    source: LocatedSource, cache: JudgementCache, run: Run, progress: ProgressFactory
) -> StagingOutcome:
    """Decode and judge a source; only when it is good, create or adopt the bucket and upload.

    Raises:
        SourceRefused, DataRefused: as `judge_source` says; no call was made to AWS.
        OwnershipRefused, AwsFailed, LedgerRefused: as `ensure_bucket`, `upload` and `Ledger` say.
    """
    with spool_directory(run.settings) as spool_dir:
        judged = judge_source(source, run.settings, spool_dir, progress)
        cache.store(judged.digest)
        ensure_bucket(run)
        dataset, sent = upload(judged, run, progress)
    return StagingOutcome(dataset, judged, sent)


def find_staged(aws: Aws, digest: str, source: LocatedSource) -> DatasetRef | None:
    """Return the dataset of a digest if it lies whole and undamaged in our bucket: its manifest and all its shards."""
    prefix = dataset_prefix(digest)
    if not bucket_exists(aws, aws.bucket):
        return None
    manifest = _read_manifest(objects.read_object(aws, aws.bucket, f"{prefix}/manifest.json"), digest)
    if manifest is None:
        return None
    stored = objects.list_objects(aws, aws.bucket, f"{prefix}/")
    for shard in (shard for split in SPLITS for shard in manifest["splits"][split]):
        found = stored.get(f"{prefix}/{shard['key']}")
        if found is None or (found.size_bytes, found.etag) != (shard["size_bytes"], shard.get("md5")):
            return None
    return _reference(aws.bucket, manifest, source)


def _read_manifest(content: bytes | None, digest: str) -> dict[str, Any] | None:
    """Return a manifest of this digest and format; None for none and for a damaged one, which is then replaced."""
    try:
        manifest = json.loads(content or b"null")
    except ValueError:
        return None
    is_ours = isinstance(manifest, dict) and (manifest.get("format"), manifest.get("digest")) == (FORMAT, digest)
    return manifest if is_ours else None


def upload(judged: JudgedDataset, run: Run, progress: ProgressFactory) -> tuple[DatasetRef, UploadSummary]:
    """Send what is not there yet: shards in parallel, images.jsonl, and manifest.json last. The bucket must exist.

    Raises:
        AwsFailed: S3 refused an object, or it arrived damaged; what was sent stays, and is not sent again.
    """
    bucket, prefix, settings = run.aws.bucket, dataset_prefix(judged.digest), run.settings
    staged = find_staged(run.aws, judged.digest, judged.source)
    if staged is not None:
        run.ledger.adopt("s3-prefix", f"s3://{bucket}/{prefix}/")
        return staged, UploadSummary()
    plans = [p for split in SPLITS for p in plan_shards(judged.images, split, settings.shard_size_bytes)]
    stored = objects.list_objects(run.aws, bucket, f"{prefix}/")
    sender = _Sender(run.aws, bucket, prefix, stored)
    total = sum(image.size_bytes for image in judged.images)
    with run.ledger.create("s3-prefix", f"s3://{bucket}/{prefix}/"):
        objects.abort_incomplete_uploads(run.aws, bucket, f"{prefix}/")
        with progress("upload", total, "B") as told:
            shards = _send_shards(sender, plans, settings.upload_threads, told)
        sender.send("images.jsonl", b"".join(image_rows(plans)), "application/jsonl")
        crash_point("manifest:before")
        manifest = _manifest(judged, shards)
        data = json.dumps(manifest, indent=1).encode() + b"\n"
        key = f"{prefix}/manifest.json"
        is_first = key not in stored  # of two that stage the same at once, the second leaves the first one's
        objects.put_object(run.aws, bucket, key, data, content_type="application/json", only_if_new=is_first)
    return _reference(bucket, manifest, judged.source), sender.summary()


def dataset_prefix(digest: str) -> str:
    """Return the key prefix of a dataset, without a slash at its end."""
    return f"datasets/{digest}"


class _Sender:
    """Puts objects below a prefix unless they are there; used from several threads."""

    def __init__(self, aws: Aws, bucket: str, prefix: str, stored: Mapping[str, objects.StoredObject]) -> None:
        self._aws, self._bucket, self._prefix, self._stored = aws, bucket, prefix, stored
        self._sent: list[int] = []
        self._skipped: list[int] = []

    def send(self, key: str, data: bytes, content_type: str) -> None:
        """Put one object, or note that it is there."""
        full = f"{self._prefix}/{key}"
        if objects.is_stored(self._stored.get(full), data):
            self._skipped.append(len(data))
            return
        objects.put_object(self._aws, self._bucket, full, data, content_type=content_type)
        self._sent.append(len(data))
        crash_point("shard:after")

    def summary(self) -> UploadSummary:
        """Return what was done so far."""
        return UploadSummary(len(self._sent), sum(self._sent), len(self._skipped))


def _send_shards(sender: _Sender, plans: Sequence[ShardPlan], threads: int, told: Progress) -> list[dict[str, Any]]:
    """Pack and send every shard; a shard is in memory only while it is sent."""

    def send(plan: ShardPlan) -> dict[str, Any]:
        data = pack(plan)
        sender.send(plan.key, data, "application/x-tar")
        told.advance(sum(image.size_bytes for _, image in plan.images))
        digests = {"sha256": hashlib.sha256(data).hexdigest(), "md5": objects.md5_hex(data)}
        return {"key": plan.key, **digests, "size_bytes": len(data), "images": len(plan.images)}

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(send, plans))


def _manifest(judged: JudgedDataset, shards: Sequence[dict[str, Any]]) -> dict[str, Any]:
    source = {"name": judged.source.label, "url": judged.source.url, "ignored_files": judged.ignored}
    return {
        "format": FORMAT,
        "digest": judged.digest,
        "name": judged.source.name,
        "classes": list(judged.classes),
        "counts": count_images(judged.classes, judged.labelled),
        "splits": {split: [shard for shard in shards if shard["key"].startswith(f"{split}/")] for split in SPLITS},
        "quarantined": [asdict(item) for item in judged.quarantined],
        "warnings": list(judged.warnings),
        "source": source,
    }


def _reference(bucket: str, manifest: Mapping[str, Any], source: LocatedSource) -> DatasetRef:
    return DatasetRef(
        bucket=bucket,
        prefix=dataset_prefix(manifest["digest"]),
        digest=manifest["digest"],
        name=manifest["name"],
        classes=tuple(manifest["classes"]),
        counts=manifest["counts"],
        size_bytes=sum(shard["size_bytes"] for shards in manifest["splits"].values() for shard in shards),
        quarantined=len(manifest["quarantined"]),
        source=source.label,
        shards={split: len(shards) for split, shards in manifest["splits"].items()},
    )


def _sort_out(
    listing: Listing, layout: Layout, outcomes: Sequence[Decoded | Rejected]
) -> tuple[list[StagedImage], list[Quarantined]]:
    class_index = {name: index for index, name in enumerate(layout.classes)}
    images: list[StagedImage] = []
    rejected: list[Quarantined] = []
    for candidate, outcome in zip(layout.candidates, outcomes, strict=True):
        name = listing.entries[candidate.index].name
        if isinstance(outcome, Rejected):
            rejected.append(Quarantined(name, outcome.reason))
        else:
            images.append(_staged(candidate, name, outcome, class_index[candidate.class_name]))
    return images, rejected


def _staged(candidate: Candidate, name: str, decoded: Decoded, class_index: int) -> StagedImage:
    return StagedImage(
        split=candidate.split,
        class_index=class_index,
        class_name=candidate.class_name,
        name=name,
        source_sha256=decoded.source_sha256,
        staged_sha256=decoded.staged_sha256,
        width=decoded.width,
        height=decoded.height,
        spool=decoded.spool,
        offset=decoded.offset,
        size_bytes=decoded.size_bytes,
    )


def _limits(settings: Settings) -> ImageLimits:
    return ImageLimits(settings.shortest_side_px, settings.jpeg_quality, settings.max_image_pixels)
