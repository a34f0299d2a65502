"""A strict server whose emulated minute lasts half a second."""

from collections.abc import Iterator

import pytest

from localaws.strictness import STRICT
from tests.localaws.scaled_server import ScaledServer, scaled_server
from tests.polling import wait_until


@pytest.fixture(scope="module")
def strict() -> Iterator[ScaledServer]:
    with scaled_server("--strict") as server:
        yield server


def wait_for_roles(server: ScaledServer) -> None:
    """Return when every service of the server sees the roles that were made until now."""
    made = server.now()
    wait_until(lambda: server.now() > made + STRICT.identities.most, "the roles to be seen")
