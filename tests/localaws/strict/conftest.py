"""A strict server whose emulated minute lasts half a second."""

from collections.abc import Iterator

import pytest

from tests.localaws.scaled_server import ScaledServer, scaled_server


@pytest.fixture(scope="module")
def strict() -> Iterator[ScaledServer]:
    with scaled_server("--strict") as server:
        yield server
