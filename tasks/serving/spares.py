"""Waits until the embedded AWS has started its spares, the processes that it keeps ready: none shall start under load.

Another AWS has no such routes; nothing is waited for there.
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
    """Return True when no spare is missing; False, and say so, when some still are after `deadline_seconds`."""
    begun = clock()
    while missing := sum(max(0, each["wanted"] - each["ready"]) for each in _counts(settings)):
        if clock() - begun >= deadline_seconds:
            say(f"embedded AWS: {missing} processes are not started ahead after {deadline_seconds:.0f} s; going on")
            return False
        sleep(POLL_SECONDS)
    return True


def _counts(settings: Settings) -> Iterator[dict[str, int]]:
    for path in LOCAL_SPARES_PATHS:
        yield from _leaves(ask_embedded_aws(settings, path))


def _leaves(content: Any) -> Iterator[dict[str, int]]:
    """Yield the counts, which lie at different depths: by function, or by endpoint and variant."""
    if isinstance(content, dict) and {"wanted", "ready"} <= content.keys():
        yield content
    elif isinstance(content, dict):
        for value in content.values():
            yield from _leaves(value)
