"""Upload a judged dataset to S3: shards, images.jsonl, and manifest.json last.

The manifest commits the dataset: a dataset without one is incomplete. An object that is stored already is not sent
again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

from tasks.account import objects
from tasks.account.bucket import bucket_exists
from tasks.data.judgement import count_images
from tasks.data.judgement_cache import Findings, Judgement, LocatedSource
from tasks.data.shards import ShardPlan, StagedImage, image_rows, pack_shard, plan_shards
from tasks.run.aws import Aws
from tasks.run.errors import aws_boundary
from tasks.run.handle import Run
from tasks.run.ledger import crash_point
from tasks.run.progress import Progress, ProgressFactory
from tasks.run.records import SPLITS, DatasetRef
from tasks.run.sealed import Damaged, seal, unseal
from tasks.run.waiting import say

FORMAT = 1
LEFT_OUT_KEPT = 100
"""How many of the files that are left out a run's record names; the manifest of a first staging names all."""


@dataclass(frozen=True)
class JudgedDataset:
    """A dataset that was judged good; its staged bytes are in spool files until it is uploaded."""

    source: LocatedSource
    digest: str
    classes: tuple[str, ...]
    images: tuple[StagedImage, ...]
    findings: Findings

    @property
    def judgement(self) -> Judgement:
        """What the judgement cache stores of it."""
        return Judgement(self.digest, self.findings)

    @property
    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """The number of images by split and class."""
        return count_images(self.classes, [image.labelled for image in self.images])


class Judged(Protocol):
    """What the manifest of a dataset says, wherever its images were judged."""

    @property
    def source(self) -> LocatedSource: ...
    @property
    def digest(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def findings(self) -> Findings: ...
    @property
    def counts(self) -> Mapping[str, Mapping[str, int]]: ...


@dataclass(frozen=True)
class UploadSummary:
    """The numbers of objects that an upload sent, and of those that existed already."""

    sent: int = 0
    sent_bytes: int = 0
    already_there: int = 0

    @property
    def text(self) -> str:
        """The summary as a sentence for reports."""
        if self.sent == 0:
            return "The data is unchanged; nothing was sent."
        size = f"{self.sent_bytes / 1e6:,.1f} MB"
        return f"{self.sent} objects were sent ({size}); {self.already_there} existed already."


def find_staged(aws: Aws, judgement: Judgement, source: LocatedSource) -> DatasetRef | None:
    """Return a judged dataset if its manifest and all its shards are in the bucket and undamaged, else None.

    Raises:
        OwnershipRefused: the bucket belongs to another account or is in another region.
        AwsFailed: S3 refused a call, or did not answer.
    """
    prefix = dataset_prefix(judgement.digest)
    with aws_boundary(f"dataset {judgement.digest[:12]}"):
        is_there = bucket_exists(aws, aws.bucket)
    if not is_there:
        return None
    manifest = _read_manifest(objects.read_object(aws, aws.bucket, f"{prefix}/manifest.json"), judgement.digest)
    if manifest is None:
        return None
    stored = objects.list_objects(aws, aws.bucket, f"{prefix}/")
    try:
        shards = [shard for split in SPLITS for shard in manifest["splits"][split]]
        wanted = {f"{prefix}/{each['key']}": _content(each) for each in shards}
        with ThreadPoolExecutor(aws.settings.upload_threads) as pool:
            if not all(pool.map(partial(_holds, aws, stored), wanted, wanted.values())):
                return None
        return _reference(aws.bucket, manifest, source, judgement.findings)
    except (LookupError, TypeError, AttributeError) as error:
        say(f"WARNING: dataset {judgement.digest[:12]} is staged anew: its manifest lacks something ({error!r:.100})")
        return None


def _content(shard: Mapping[str, Any]) -> objects.Content:
    return objects.Content(shard["size_bytes"], str(shard["sha256"]), str(shard.get("md5")))


def _holds(aws: Aws, stored: Mapping[str, objects.StoredObject], key: str, content: objects.Content) -> bool:
    return objects.is_stored(aws, aws.bucket, stored.get(key), content)


def _read_manifest(content: bytes | None, digest: str) -> dict[str, Any] | None:
    """Return the manifest if it has this digest and format; return None if it is missing or damaged."""
    if content is None:
        return None
    try:
        manifest = unseal(content)
    except Damaged as error:
        say(f"WARNING: the manifest of dataset {digest[:12]} is not used, and it is staged anew: {error}")
        return None
    return manifest if (manifest.get("format"), manifest.get("digest")) == (FORMAT, digest) else None


def upload(judged: JudgedDataset, run: Run, progress: ProgressFactory) -> tuple[DatasetRef, UploadSummary]:
    """Send the objects that are missing: shards in parallel, images.jsonl, and manifest.json last.

    The bucket must exist. After a failure, the same call continues: objects that were sent are not sent again.

    Raises:
        OwnershipRefused: the bucket belongs to another account or is in another region.
        AwsFailed: S3 refused a call or did not answer, or an object was damaged during the upload.
    """
    bucket, prefix, settings = run.aws.bucket, dataset_prefix(judged.digest), run.settings
    staged = find_staged(run.aws, judged.judgement, judged.source)
    if staged is not None:
        run.ledger.adopt("s3-prefix", f"s3://{bucket}/{prefix}/")
        return staged, UploadSummary()
    plans = [p for split in SPLITS for p in plan_shards(judged.images, split, settings.shard_size_bytes)]
    stored = objects.list_objects(run.aws, bucket, f"{prefix}/")
    uploader = _Uploader(run.aws, bucket, prefix, stored)
    total = sum(image.decoded.size_bytes for image in judged.images)
    with run.ledger.create("s3-prefix", f"s3://{bucket}/{prefix}/", None):
        objects.abort_incomplete_uploads(run.aws, bucket, f"{prefix}/")
        with progress("upload", total, "B") as counter:
            shards = _send_shards(uploader, plans, settings.upload_threads, counter)
        uploader.send("images.jsonl", b"".join(image_rows(plans)), "application/jsonl")
        dataset = commit(run.aws, judged, shards, is_first=f"{prefix}/manifest.json" not in stored)
    return dataset, uploader.summary()


def commit(aws: Aws, judged: Judged, shards: Sequence[Mapping[str, Any]], *, is_first: bool) -> DatasetRef:
    """Put the manifest of a dataset whose shards are all stored, which makes it complete, and return its reference.

    With `is_first`, a manifest that somebody else has put meanwhile stays: of two processes that stage the same data,
    the second keeps the first's.

    Raises:
        AwsFailed: S3 refused or did not answer.
    """
    crash_point("manifest:before")
    manifest = _manifest(judged, shards)
    key, data = f"{dataset_prefix(judged.digest)}/manifest.json", seal(manifest, indent=1)
    objects.put_object(aws, aws.bucket, key, data, content_type="application/json", only_if_new=is_first)
    return _reference(aws.bucket, manifest, judged.source, judged.findings)


def dataset_prefix(digest: str) -> str:
    """Return the key prefix of a dataset, without a slash at its end."""
    return f"datasets/{digest}"


class _Uploader:
    """Puts objects below a prefix unless they exist already; it is used from several threads."""

    def __init__(self, aws: Aws, bucket: str, prefix: str, stored: Mapping[str, objects.StoredObject]) -> None:
        self._aws, self._bucket, self._prefix, self._stored = aws, bucket, prefix, stored
        self._sent: list[int] = []
        self._skipped: list[int] = []

    def send(self, key: str, data: bytes, content_type: str) -> None:
        """Put one object, or count it as skipped if it is stored already."""
        full = f"{self._prefix}/{key}"
        if objects.is_stored(self._aws, self._bucket, self._stored.get(full), objects.Content.of(data)):
            self._skipped.append(len(data))
            return
        objects.put_object(self._aws, self._bucket, full, data, content_type=content_type)
        self._sent.append(len(data))
        crash_point("shard:after")

    def summary(self) -> UploadSummary:
        """Return the summary of all calls so far."""
        return UploadSummary(len(self._sent), sum(self._sent), len(self._skipped))


def _send_shards(
    uploader: _Uploader, plans: Sequence[ShardPlan], threads: int, counter: Progress
) -> list[dict[str, Any]]:
    """Pack and send every shard, and return the shards' entries of the manifest; each thread holds one in memory."""

    def send(plan: ShardPlan) -> dict[str, Any]:
        data = pack_shard(plan)
        uploader.send(plan.key, data, "application/x-tar")
        counter.advance(sum(image.decoded.size_bytes for _, image in plan.images))
        return shard_row(plan, data)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(send, plans))


def shard_row(plan: ShardPlan, data: bytes) -> dict[str, Any]:
    """Return what the manifest says of a shard of these bytes."""
    digests = {"sha256": hashlib.sha256(data).hexdigest(), "md5": objects.md5_hex(data)}
    return {"key": plan.key, **digests, "size_bytes": len(data), "images": len(plan.images)}


def _manifest(judged: Judged, shards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    source = {"name": judged.source.label, "url": judged.source.url, "ignored_files": judged.findings.ignored}
    return {
        "format": FORMAT,
        "digest": judged.digest,
        "name": judged.source.name,
        "classes": list(judged.classes),
        "counts": {split: dict(by_class) for split, by_class in judged.counts.items()},
        "splits": {
            split: [dict(shard) for shard in shards if shard["key"].startswith(f"{split}/")] for split in SPLITS
        },
        "quarantined": [asdict(item) for item in judged.findings.quarantined],
        "warnings": list(judged.findings.warnings),
        "notes": list(judged.findings.notes),
        "source": source,
    }


def _reference(bucket: str, manifest: Mapping[str, Any], source: LocatedSource, findings: Findings) -> DatasetRef:
    return DatasetRef(
        bucket=bucket,
        prefix=dataset_prefix(manifest["digest"]),
        digest=manifest["digest"],
        name=manifest["name"],
        classes=tuple(manifest["classes"]),
        counts=manifest["counts"],
        size_bytes=sum(shard["size_bytes"] for shards in manifest["splits"].values() for shard in shards),
        quarantined=len(findings.quarantined),
        source=source.label,
        shards={split: len(shards) for split, shards in manifest["splits"].items()},
        warnings=findings.warnings,
        left_out=findings.quarantined[:LEFT_OUT_KEPT],
        notes=findings.notes,
        options=source.options.model_dump_json(exclude_defaults=True),
    )
