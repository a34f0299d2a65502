"""The server with the fast clock, and a workbench on it."""

from collections.abc import Iterator

import pytest

from tests.localaws.sagemaker.endpoints.endpoint_models import Workbench, workbench
from tests.localaws.scaled_server import ScaledServer


@pytest.fixture(scope="module")
def server(fast_server: ScaledServer) -> ScaledServer:
    return fast_server


@pytest.fixture(scope="module")
def bench(server: ScaledServer) -> Iterator[Workbench]:
    with workbench(server.localaws) as made:
        yield made
