"""Keeps the photos that were hard beside the model: looks them up in images.jsonl, and reads them from their shards."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.evaluation.record import HardPhoto
from tasks.evaluation.staged_photos import StagedPhoto, damaged, read_staged_photos
from tasks.run.aws import Aws
from tasks.run.errors import KennelError, aws_boundary
from tasks.run.record_store import write_atomically
from tasks.run.records import DatasetRef
from tasks.run.streamed import bounded_members, read_streamed
from tasks.run.waiting import say


def keep_photos(
    aws: Aws, dataset: DatasetRef, photos: Sequence[HardPhoto], folder: Path, base: Path
) -> list[HardPhoto]:
    """Write the photos into a folder, and return them with their names and with their paths relative to `base`.

    What cannot be fetched is said, and is no error: the evaluation is as good without it.
    """
    if not photos:
        return []
    try:
        rows = _rows(aws, dataset, {photo.image for photo in photos})
        named = [_named(photo, rows.get(photo.image)) for photo in photos]
        found = _contents(aws, dataset, rows.values())
    except KennelError as error:
        say(f"WARNING: the photos that were hard are not kept: {error.what}: {error.why}")
        return list(photos)
    return [_written(photo, found, folder, base) for photo in named]


def read_photos(aws: Aws, dataset: DatasetRef, images: set[str]) -> dict[str, bytes]:
    """Return the staged bytes of some images of the test split by their names, without those that were not staged.

    Raises:
        MalformedAnswer: the dataset in S3 is not what was staged.
        AwsFailed: S3 refused, or did not answer.
    """
    return _contents(aws, dataset, _rows(aws, dataset, images).values())


def _named(photo: HardPhoto, row: StagedPhoto | None) -> HardPhoto:
    return photo if row is None else replace(photo, name=row.name, sha256=row.sha256)


def _written(photo: HardPhoto, found: Mapping[str, bytes], folder: Path, base: Path) -> HardPhoto:
    content = found.get(photo.image)
    if content is None:
        say(f"WARNING: {photo.image} is not in its shard, or is not the image that was staged")
        return photo
    path = folder / photo.image.replace("/", "-")
    write_atomically(path, content)
    return replace(photo, file=path.relative_to(base).as_posix())


def _rows(aws: Aws, dataset: DatasetRef, wanted: set[str]) -> dict[str, StagedPhoto]:
    """Return what is known of some images of the test split, by their names.

    Raises:
        MalformedAnswer: images.jsonl is not what was staged.
        AwsFailed: S3 refused, or did not answer.
    """
    rows = read_staged_photos(aws, dataset.bucket, dataset.prefix, "test")
    return {row.member: row for row in rows if row.member in wanted}


def _contents(aws: Aws, dataset: DatasetRef, rows: Iterable[StagedPhoto]) -> dict[str, bytes]:
    """Return the staged bytes of each image by its name; an image whose bytes were not staged is left out.

    Raises:
        MalformedAnswer, AwsFailed: as `_rows`.
    """
    shards: dict[str, list[StagedPhoto]] = {}
    for row in rows:
        shards.setdefault(row.shard, []).append(row)
    found: dict[str, bytes] = {}
    for shard, images in sorted(shards.items()):
        found |= _members(aws, dataset, shard, {row.member: row.sha256 for row in images})
    return found


def _members(aws: Aws, dataset: DatasetRef, shard: str, wanted: Mapping[str, str]) -> dict[str, bytes]:
    key = f"{dataset.prefix}/{shard}"

    def read(body: Any) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        with tarfile.open(fileobj=body, mode="r|") as tar:
            for member in bounded_members(tar):
                file = tar.extractfile(member) if member.name in wanted else None
                if file is not None:
                    found[member.name] = file.read()
                if len(found) == len(wanted):
                    break
        return found

    uri = f"s3://{dataset.bucket}/{key}"
    try:
        with aws_boundary(uri):
            found = read_streamed(aws, "s3", "get_object", "Body", read, Bucket=dataset.bucket, Key=key)[1]
    except (tarfile.TarError, ValueError, LookupError, OverflowError, EOFError) as error:
        raise damaged(uri, error) from error
    return {name: data for name, data in found.items() if hashlib.sha256(data).hexdigest() == wanted[name]}
