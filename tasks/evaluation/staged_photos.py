"""Reads images.jsonl of a staged dataset: what is known of each photo, and in which shard it lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.run.aws import Aws
from tasks.run.errors import MalformedAnswer, aws_boundary
from tasks.run.sealed import parse_json
from tasks.run.streamed import read_streamed, read_whole


@dataclass(frozen=True)
class StagedPhoto:
    """What images.jsonl says of a photo.

    `name` is that in the source; `shard` is a key after the dataset's prefix, in which the photo is called `member`;
    `sha256` is that of the staged file.
    """

    split: str
    label: str
    name: str
    sha256: str
    shard: str
    member: str

    @staticmethod
    def of(found: Mapping[str, Any]) -> StagedPhoto:
        """Return a line as it was parsed.

        Raises:
            LookupError: it lacks a member.
        """
        return StagedPhoto(*(str(found[name]) for name in ("split", "class", "name", "sha256", "shard", "member")))


def read_staged_photos(aws: Aws, bucket: str, prefix: str, split: str | None = None) -> list[StagedPhoto]:
    """Return the photos of a dataset; of one split, or of all.

    Raises:
        MalformedAnswer: images.jsonl is not what was staged.
        AwsFailed: S3 refused, or did not answer.
    """
    key = f"{prefix}/images.jsonl"
    uri, mark = f"s3://{bucket}/{key}", b"" if split is None else f'"{split}"'.encode()
    with aws_boundary(uri):
        content = read_streamed(aws, "s3", "get_object", "Body", read_whole, Bucket=bucket, Key=key)[1]
    try:
        photos = [StagedPhoto.of(parse_json(line)) for line in content.splitlines() if mark in line]
    except (ValueError, TypeError, LookupError) as error:
        raise damaged(uri, error) from error
    return [photo for photo in photos if split in (None, photo.split)]


def damaged(uri: str, error: Exception) -> MalformedAnswer:
    """Return the error of an object of a dataset that is not what was staged."""
    what, why = f"{uri} is not what was staged ({type(error).__name__}: {error})", "the object was damaged in S3"
    anew = "kennel run with the same data, which stages a damaged dataset anew"
    return MalformedAnswer("staged photos", what, why, anew, is_reading=True)
