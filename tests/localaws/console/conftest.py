"""One server with one of everything in it, and one browser."""

from collections.abc import Iterator

import pytest

from tests.browser import Browser, running_browser
from tests.conftest import running_localaws
from tests.localaws.console.scene import Scene, make_scene


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with running_localaws("--time-scale", "60") as server:
        yield make_scene(server)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser
