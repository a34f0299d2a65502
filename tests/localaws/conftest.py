"""A localaws whose time runs 120 times as fast, for all tests of clocks, alarms and scaling."""

from collections.abc import Iterator

import pytest

from tests.localaws.scaled_server import ScaledServer, scaled_server


@pytest.fixture(scope="session")
def fast_server() -> Iterator[ScaledServer]:
    """One server at the default scale: name what you make in it so that tests cannot meet."""
    with scaled_server() as running:
        yield running
