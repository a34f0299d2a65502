"""What the tests of whole commands share: photos, an AWS that counts what is asked of it, and a shell. One a module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import start_server, wait_for_url
from tests.counting_proxy import Calls, counting_proxy
from tests.kennel.photos import make_photos
from tests.kennel.shell import Terminal


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("data") / "colours")


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calls]:
    """An AWS of this module's own, with a count of what is asked of it."""
    home = tmp_path_factory.mktemp("aws")
    server = start_server(home)
    try:
        with counting_proxy(wait_for_url(home, server)) as calls:
            yield calls
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory, calls: Calls) -> Iterator[Terminal]:
    folder = tmp_path_factory.mktemp("kennel")
    terminal = Terminal(folder / "home", folder / "runs", {"AWS_ENDPOINT_URL": calls.url, "AWS_REGION": "us-east-1"})
    yield terminal
    terminal.kennel("down", "--yes")
