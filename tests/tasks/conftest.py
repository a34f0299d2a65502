"""What tests of tasks share: clients whose calls are counted, and an SSH server behind a link that may misbehave."""

from collections.abc import Iterator

import pytest

from tests.chaos_proxy import ChaosProxy
from tests.conftest import RunningLocalAws
from tests.counting_proxy import Calls, counting_proxy
from tests.localaws.sagemaker.endpoints.endpoint_models import Workbench, workbench
from tests.sshd import Sshd, running_sshd


@pytest.fixture(scope="module")
def counted(localaws: RunningLocalAws) -> Iterator[Calls]:
    """The shared server behind a proxy that counts: one for a module, so that its clients can be too."""
    with counting_proxy(localaws.url) as calls:
        yield calls


@pytest.fixture
def calls(counted: Calls) -> Iterator[Calls]:
    """What a test asks of the shared server, from nothing; the faults that it adds end with it."""
    counted.seen.clear()
    yield counted
    counted.faults.clear()


@pytest.fixture(scope="module")
def bench(localaws: RunningLocalAws) -> Iterator[Workbench]:
    """What makes models and endpoints on the shared server, and removes them when the module is done."""
    with workbench(localaws) as made:
        yield made


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with running_sshd() as server:
        yield server


@pytest.fixture
def proxy(sshd: Sshd) -> Iterator[ChaosProxy]:
    with ChaosProxy((sshd.address, sshd.port)) as running:
        yield running
