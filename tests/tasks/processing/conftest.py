"""A place to stage by jobs: a workplace behind a proxy that counts what goes over it, and a bucket of photos."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import RunningLocalAws
from tests.tasks.processing.photo_buckets import PhotoBucket, photo_bucket


@pytest.fixture
def photos(localaws: RunningLocalAws, tmp_path: Path) -> Iterator[PhotoBucket]:
    with photo_bucket(localaws, tmp_path, f"photos-{secrets.token_hex(6)}") as made:
        yield made
