"""Waiting in tests: polling until something is so."""

import time
from collections.abc import Callable
from typing import TypeVar

WAIT_SECONDS = 40.0
POLL_SECONDS = 0.02

Found = TypeVar("Found")


def until(condition: Callable[[], Found | None], what: str = "it", *, seconds: float = WAIT_SECONDS) -> Found:
    """Poll until `condition` gives something true; return that. `what`: what is waited for, for the error."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(POLL_SECONDS)
    raise AssertionError(f"{what} did not come about within {seconds} s")
