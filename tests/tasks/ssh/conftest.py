"""A remote whose connection passes the proxy, and that notices silence within a second."""

from collections.abc import Iterator

import pytest

from tasks.ssh.remote import Remote
from tests.chaos_proxy import ChaosProxy
from tests.sshd import Sshd

KEEPALIVE_SECONDS = 0.4


@pytest.fixture
def through(sshd: Sshd, proxy: ChaosProxy) -> Iterator[Remote]:
    with Remote(sshd.login(port=proxy.port), keepalive_seconds=KEEPALIVE_SECONDS) as connected:
        yield connected
