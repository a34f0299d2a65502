"""Waits until the embedded AWS has started its spare processes, so that none of them starts during a load test.

Spares are processes that the embedded AWS starts ahead of need. Real AWS has no such routes, so there is no wait there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from tasks.run.machine import ask_embedded_aws
from tasks.run.settings import LOCAL_SPARES_PATHS, Settings
from tasks.run.waiting import say

DEADLINE_SECONDS = 20.0
POLL_SECONDS = 0.2


def wait_for_spares(
    settings: Settings,
    *,
    deadline_seconds: float = DEADLINE_SECONDS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait until no spare process is missing; return False, with a message, when some still are at the deadline."""
    begun = clock()
    while missing := sum(max(0, each["wanted"] - each["ready"]) for each in _counts(settings)):
        if clock() - begun >= deadline_seconds:
            say(
                f"embedded AWS: {missing} spare processes have not started within {deadline_seconds:.0f} s; "
                "the load test starts without them"
            )
            return False
        sleep(POLL_SECONDS)
    return True


def _counts(settings: Settings) -> Iterator[dict[str, int]]:
    for path in LOCAL_SPARES_PATHS:
        yield from _leaves(ask_embedded_aws(settings, path))


def _leaves(content: Any) -> Iterator[dict[str, int]]:
    """Yield the counts, whose depth differs: they are by function, or by endpoint and variant."""
    if isinstance(content, dict) and {"wanted", "ready"} <= content.keys():
        yield content
    elif isinstance(content, dict):
        for value in content.values():
            yield from _leaves(value)
