"""Reads the first images of the staged test split from its shards in S3."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tasks.run.aws import Aws
from tasks.run.errors import MalformedAnswer, StageFailed, aws_boundary
from tasks.run.records import DatasetRef
from tasks.run.streamed import bounded_members, read_streamed

_MEMBER = re.compile(r"([0-9]{5})/[0-9]{8}\.jpg")
"""What `tasks.data.shards.member_name` returns."""

_UNREADABLE = (tarfile.TarError, ValueError, LookupError, OverflowError, EOFError)


@dataclass(frozen=True)
class TestImage:
    """An image of the staged test split. `name` is its member name in its shard, `content` a JPEG file."""

    name: str
    label: str
    content: bytes

    __test__ = False


def read_test_images(aws: Aws, dataset: DatasetRef, *, count: int) -> list[TestImage]:
    """Return up to `count` images of the test split, always the same ones; only as much is read as needed.

    Raises:
        MalformedAnswer: a shard is not what was staged.
        AwsFailed: S3 refused, or did not answer.
    """
    s3, prefix = aws.client("s3"), dataset.split_uri("test").removeprefix(f"s3://{dataset.bucket}/")
    found: list[TestImage] = []
    with aws_boundary(dataset.split_uri("test")):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=dataset.bucket, Prefix=prefix)
        for key in sorted(item["Key"] for page in pages for item in page.get("Contents", [])):
            found += _read_shard(aws, dataset, key, count - len(found))
            if len(found) == count:
                break
    return found


def read_test_image(aws: Aws, dataset: DatasetRef) -> TestImage:
    """Return the first image of the test split, always the same one.

    Raises:
        StageFailed: the split holds no image.
        MalformedAnswer: a shard is not what was staged.
        AwsFailed: S3 refused, or did not answer.
    """
    found = read_test_images(aws, dataset, count=1)
    if not found:
        why = "it was staged without one, or what was there was removed"
        raise StageFailed(
            "test images", f"{dataset.split_uri('test')} holds no image", why, "kennel run, which stages it"
        )
    return found[0]


def _read_shard(aws: Aws, dataset: DatasetRef, key: str, count: int) -> list[TestImage]:
    def read(body: Any) -> list[TestImage]:
        with tarfile.open(fileobj=body, mode="r|") as tar:
            return list(islice(_images(tar, dataset), count))

    try:
        return read_streamed(aws, "s3", "get_object", "Body", read, Bucket=dataset.bucket, Key=key)[1]
    except _UNREADABLE as error:
        uri = f"s3://{dataset.bucket}/{key}"
        what = f"{uri} is not the shard that was staged ({type(error).__name__}: {error})"
        why = "the object was damaged in S3, or what answers is not S3"
        anew = "kennel run with the same data, which stages a damaged shard anew; or look at what answers (curl -i)"
        raise MalformedAnswer("test images", what, why, anew, is_reading=True) from error


def _images(tar: tarfile.TarFile, dataset: DatasetRef) -> Iterator[TestImage]:
    for member in bounded_members(tar):
        match, file = _MEMBER.fullmatch(member.name), tar.extractfile(member)
        if match is None or file is None:
            raise ValueError(f"its member {member.name!r} is no staged image")
        if int(match[1]) >= len(dataset.classes):
            raise ValueError(f"its member {member.name!r} is of a class that the dataset does not have")
        yield TestImage(member.name, dataset.classes[int(match[1])], file.read())
