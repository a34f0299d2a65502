"""Strict servers: one whose emulated minute lasts half a second, one whose minute lasts half a minute."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from localaws.strictness import STRICT
from tests.localaws.scaled_server import ScaledServer, scaled_server
from tests.polling import wait_until

SLOW = 2  # at this scale the delays of roles last 3.7 to 6.3 s, which a busy machine needs for a call or two


@pytest.fixture(scope="module")
def strict() -> Iterator[ScaledServer]:
    with scaled_server("--strict") as server:
        yield with_patient_clients(server)


@pytest.fixture(scope="module")
def slow() -> Iterator[ScaledServer]:
    with scaled_server("--strict", scale=SLOW) as server:
        yield with_patient_clients(server)


def with_patient_clients(server: ScaledServer) -> ScaledServer:
    """Return the server with clients that ask again when they are throttled, as SDKs do and other tests' do not."""
    retries = {"mode": "standard", "total_max_attempts": 10}
    patient = {name: server.localaws.client(name, retries=retries) for name in ("logs", "sagemaker")}
    return ScaledServer(replace(server.localaws, _clients=patient))


def wait_for_roles(server: ScaledServer) -> None:
    """Return when every service of the server sees the roles that were made until now."""
    made = server.now()
    wait_until(lambda: server.now() > made + STRICT.identities.most, "the roles to be seen")
