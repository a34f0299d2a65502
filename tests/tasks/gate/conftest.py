"""A bucket of the gate's tests, with the datasets that an endpoint's model and a challenger were trained on."""

from collections.abc import Iterator

import pytest

from tasks.account.objects import delete_prefix
from tests.conftest import RunningLocalAws
from tests.tasks.data.workplace import Workplace


@pytest.fixture(scope="module")
def place(localaws: RunningLocalAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A workplace with a bucket of the module's own."""
    folder = tmp_path_factory.mktemp("gate")
    yield (work := Workplace(localaws.url, folder, f"kennel-{folder.name}-gate"))
    for prefix in ("datasets/", "runs/"):
        delete_prefix(work.aws, work.aws.bucket, prefix)
    work.s3.delete_bucket(Bucket=work.aws.bucket)
