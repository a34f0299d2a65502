"""A workbench on the server that all tests share."""

from collections.abc import Iterator

import pytest

from tests.conftest import RunningLocalAws
from tests.localaws.sagemaker.endpoints.endpoint_models import Workbench, workbench


@pytest.fixture(scope="module")
def bench(localaws: RunningLocalAws) -> Iterator[Workbench]:
    with workbench(localaws) as made:
        yield made
