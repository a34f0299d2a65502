"""Copies of requests for a shadow variant, which answers nobody. Everything here runs on the router's event loop.

The copy is sent once the production variant has answered. A shadow that is slow or gone holds up nothing: at most
`MOST_BYTES` of copied bodies, in `MOST_COPIES` requests, are on their way to it, and a copy beyond is not made.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any

MOST_COPIES = 200
MOST_BYTES = 64 * 1024 * 1024
TELL_SECONDS = 60.0  # real, between two lines in the log about copies that were not made


class Copies:
    """The requests that are on their way to one shadow variant. `tell` writes a line to the endpoint's log."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself keeps no task alive
        self._bytes = 0
        self._missed = 0
        self._told_at = float("-inf")

    def start(self, send: Callable[[], Coroutine[Any, Any, None]], size_bytes: int) -> None:
        """Have `send` run by itself, soon; `size_bytes`: what it holds of memory."""
        if len(self._tasks) >= MOST_COPIES or self._bytes + size_bytes > MOST_BYTES:
            self._miss()
            return
        self._bytes += size_bytes
        task = asyncio.get_running_loop().create_task(send())
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._end(done, size_bytes))

    def _end(self, task: "asyncio.Task[None]", size_bytes: int) -> None:
        self._tasks.discard(task)
        self._bytes -= size_bytes

    def _miss(self) -> None:
        self._missed += 1
        now = time.monotonic()
        if now - self._told_at >= TELL_SECONDS:
            self._told_at = now
            self._tell(f"shadow: {self._missed} requests were not copied: {len(self._tasks)} have no answer yet")
            self._missed = 0


def is_copied(production_weight: float, shadow_weight: float) -> bool:
    """Draw whether a request is copied: in the ratio of the weights, and always if the shadow's is the larger."""
    if shadow_weight >= production_weight:
        return shadow_weight > 0
    return random.random() * production_weight < shadow_weight
