"""Fetches real images for a load test from the staged test split."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

from tasks.run.aws import Aws
from tasks.run.disk import disk_boundary
from tasks.run.errors import StageFailed, aws_boundary
from tasks.run.records import DatasetRef


def fetch_test_images(aws: Aws, dataset: DatasetRef, folder: Path, *, count: int) -> list[Path]:
    """Write up to `count` images of the test split into `folder`, always the same ones, and return their paths.

    Only as many shards are read as needed.

    Raises:
        StageFailed: the test split holds no image.
        AwsFailed: S3 refused.
    """
    with disk_boundary("loadtest", folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    paths: list[Path] = []
    for name, content in _members(aws, dataset):
        path = folder / name.replace("/", "-")
        with disk_boundary("loadtest", path, len(content)):
            path.write_bytes(content)
        paths.append(path)
        if len(paths) == count:
            break
    if not paths:
        what = f"{dataset.split_uri('test')} holds no image"
        raise StageFailed("loadtest", what, "a load test sends images of the test split", "kennel run")
    return paths


def _members(aws: Aws, dataset: DatasetRef) -> Iterator[tuple[str, bytes]]:
    """Yield (member name, JPEG bytes) for each image of the test split, in the order of shards and members."""
    s3, prefix = aws.client("s3"), dataset.split_uri("test").removeprefix(f"s3://{dataset.bucket}/")
    with aws_boundary(dataset.split_uri("test")):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=dataset.bucket, Prefix=prefix)
        keys = sorted(item["Key"] for page in pages for item in page.get("Contents", []))
        for key in keys:
            body = s3.get_object(Bucket=dataset.bucket, Key=key)["Body"]
            with body, tarfile.open(fileobj=body, mode="r|") as tar:
                for member in tar:
                    file = tar.extractfile(member)
                    if file is not None:
                        yield member.name, file.read()
