"""Keeps the photos that were hard beside the model: looks them up in images.jsonl, and reads them from their shards."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tasks.evaluation.record import HardPhoto
from tasks.run.aws import Aws
from tasks.run.errors import KennelError, MalformedAnswer, aws_boundary
from tasks.run.record_store import write_atomically
from tasks.run.records import DatasetRef
from tasks.run.sealed import parse_json
from tasks.run.streamed import bounded_members, read_streamed, read_whole
from tasks.run.waiting import say


@dataclass(frozen=True)
class _Row:
    """What images.jsonl says of an image: its shard's key after the dataset's prefix, and the name in the source."""

    image: str
    shard: str
    name: str
    sha256: str

    @staticmethod
    def of(line: bytes) -> _Row | None:
        """Read a line; None for an image of another split."""
        found = parse_json(line)
        if found["split"] != "test":
            return None
        return _Row(*(str(found[name]) for name in ("member", "shard", "name", "sha256")))


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


def _named(photo: HardPhoto, row: _Row | None) -> HardPhoto:
    return photo if row is None else replace(photo, name=row.name, sha256=row.sha256)


def _written(photo: HardPhoto, found: Mapping[str, bytes], folder: Path, base: Path) -> HardPhoto:
    content = found.get(photo.image)
    if content is None:
        say(f"WARNING: {photo.image} is not in its shard, or is not the image that was staged")
        return photo
    path = folder / photo.image.replace("/", "-")
    write_atomically(path, content)
    return replace(photo, file=path.relative_to(base).as_posix())


def _rows(aws: Aws, dataset: DatasetRef, wanted: set[str]) -> dict[str, _Row]:
    """Return what images.jsonl says of some images of the test split.

    Raises:
        MalformedAnswer: the file is not what was staged.
        AwsFailed: S3 refused, or did not answer.
    """
    key = f"{dataset.prefix}/images.jsonl"
    with aws_boundary(f"s3://{dataset.bucket}/{key}"):
        content = read_streamed(aws, "s3", "get_object", "Body", read_whole, Bucket=dataset.bucket, Key=key)[1]
    try:
        rows = [_Row.of(line) for line in content.splitlines() if b'"test"' in line]  # the others are many
    except (ValueError, TypeError, LookupError) as error:
        raise _malformed(f"s3://{dataset.bucket}/{key}", error) from error
    return {row.image: row for row in rows if row is not None and row.image in wanted}


def _contents(aws: Aws, dataset: DatasetRef, rows: Iterable[_Row]) -> dict[str, bytes]:
    """Return the staged bytes of each image by its name; an image whose bytes were not staged is left out.

    Raises:
        MalformedAnswer, AwsFailed: as `_rows`.
    """
    shards: dict[str, list[_Row]] = {}
    for row in rows:
        shards.setdefault(row.shard, []).append(row)
    found: dict[str, bytes] = {}
    for shard, images in sorted(shards.items()):
        found |= _members(aws, dataset, shard, {row.image: row.sha256 for row in images})
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
        raise _malformed(uri, error) from error
    return {name: data for name, data in found.items() if hashlib.sha256(data).hexdigest() == wanted[name]}


def _malformed(uri: str, error: Exception) -> MalformedAnswer:
    what, why = f"{uri} is not what was staged ({type(error).__name__}: {error})", "the object was damaged in S3"
    anew = "kennel run with the same data, which stages a damaged dataset anew"
    return MalformedAnswer("photos of the test split", what, why, anew, is_reading=True)
