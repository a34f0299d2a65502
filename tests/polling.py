"""Waiting in a test for what another process or thread does: looked at again and again, with an end to the patience."""

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")
WAIT_SECONDS = 90.0
"""No expectation: what a machine that does something else at the same time may take."""
MOST_SHOWN = 3000


def wait_until(
    look: Callable[[], Value | None],
    what: str = "what the caller's line looks for",
    seconds: float = WAIT_SECONDS,
    every: float = 0.02,
    *,
    holds: Callable[[Value], object] = bool,
) -> Value:
    """Return the first value of `look()` that `holds`, which by default is any true one; None never does.

    `what` completes "waited for". `holds` is for a value that is worth showing when time is up, as a log is. A `look`
    that sees that waiting has become useless raises.

    Raises:
        AssertionError: nothing held within `seconds`; it tells the last value.
    """
    deadline = time.monotonic() + seconds
    while True:
        value = look()
        if value is not None and holds(value):
            return value
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}; last: {repr(value)[-MOST_SHOWN:]}"
        time.sleep(every)
