"""Fetches real images for a load test from the staged test split."""

from __future__ import annotations

from pathlib import Path

from tasks.run.aws import Aws
from tasks.run.disk import disk_boundary
from tasks.run.errors import StageFailed
from tasks.run.records import DatasetRef
from tasks.serving.staged_images import read_test_images


def fetch_test_images(aws: Aws, dataset: DatasetRef, folder: Path, *, count: int) -> list[Path]:
    """Write up to `count` images of the test split into `folder`, always the same ones, and return their paths.

    Raises:
        StageFailed: the test split holds no image.
        MalformedAnswer: a shard is not what was staged.
        AwsFailed: S3 refused.
    """
    with disk_boundary("loadtest", folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    paths: list[Path] = []
    for image in read_test_images(aws, dataset, count=count):
        path = folder / image.name.replace("/", "-")
        with disk_boundary("loadtest", path, len(image.content)):
            path.write_bytes(image.content)
        paths.append(path)
    if not paths:
        what = f"{dataset.split_uri('test')} holds no image"
        raise StageFailed("loadtest", what, "a load test sends images of the test split", "kennel run")
    return paths
