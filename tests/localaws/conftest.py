"""A localaws whose time runs 120 times as fast, for tests of clocks and scaling; whether there are containers."""

from collections.abc import Iterator

import pytest

from localaws.containers import Containers
from localaws.processes import ProcessTable
from tests.localaws.scaled_server import ScaledServer, scaled_server


@pytest.fixture(scope="session")
def fast_server() -> Iterator[ScaledServer]:
    """One server at the default scale: name what you make in it so that tests cannot meet."""
    with scaled_server() as running:
        yield running


@pytest.fixture(scope="session")
def needs_containers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip where the kernel, or a container around the tests, allows no user namespaces; localaws goes on without."""
    folder = tmp_path_factory.mktemp("containers")
    if refusal := Containers(ProcessTable(folder, str(folder))).refusal():
        pytest.skip(f"no containers here: {refusal}")


@pytest.fixture(scope="session")
def needs_process_tables(needs_containers: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip where containers have no process tables of their own, as mostly inside another container."""
    folder = tmp_path_factory.mktemp("containers")
    if refusal := Containers(ProcessTable(folder, str(folder))).refusals().process_table:
        pytest.skip(f"no process tables here: {refusal}")
