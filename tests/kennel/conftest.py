"""What the tests of whole commands share: photos, an AWS that counts what is asked of it, and a shell. One a module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from localaws.record import read_record
from tasks.run.settings import LOCAL_PERMISSIONS_PATH as PATH
from tests.conftest import RunningLocalAws
from tests.counting_proxy import Calls, counting_proxy
from tests.kennel.photos import make_photos
from tests.kennel.shell import Terminal
from tests.keys import for_environment, token_of


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("data") / "colours")


@pytest.fixture(scope="module")
def calls(own_localaws: RunningLocalAws) -> Iterator[Calls]:
    """An AWS of this module's own, with a count of what is asked of it."""
    with counting_proxy(own_localaws.url) as calls:
        yield calls


@pytest.fixture(scope="module")
def terminal(
    tmp_path_factory: pytest.TempPathFactory, calls: Calls, own_localaws: RunningLocalAws
) -> Iterator[Terminal]:
    folder = tmp_path_factory.mktemp("kennel")
    more = {"AWS_ENDPOINT_URL": calls.url, "AWS_REGION": "us-east-1", "KENNEL_PERMISSIONS_TOKEN": token_of(PATH)}
    record = read_record(own_localaws.home)
    assert record is not None
    more |= {"KENNEL_CONSOLE_TOKEN": record.console_token, **for_environment()}
    terminal = Terminal(folder / "home", folder / "runs", more)
    yield terminal
    terminal.take_down()
