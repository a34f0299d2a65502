"""A place of its own for each test that stages into a bucket."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.account.objects import delete_prefix
from tests.conftest import RunningLocalAws
from tests.tasks.data.workplace import Workplace, bucket_exists


@pytest.fixture
def place(localaws: RunningLocalAws, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Workplace]:
    name = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]
    yield (work := Workplace(localaws.url, tmp_path, f"kennel-test-{name}"))
    if bucket_exists(work):
        delete_prefix(work.aws, work.aws.bucket, "datasets/")
        work.s3.delete_bucket(Bucket=work.aws.bucket)
