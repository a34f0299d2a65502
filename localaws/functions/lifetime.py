"""How long an environment takes events, by the real time of day: its credentials end by it.

A loop's timers stand still while the machine sleeps, and would let an environment outlive its credentials.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LOOK_SECONDS = 60.0


class Lifetime:
    """Begins when it is made. `clock`: the Unix time; `on_end` is called at its end, at most a minute of work late."""

    def __init__(self, seconds: float, *, clock: Callable[[], float], on_end: Callable[[], None]) -> None:
        self._clock = clock
        self._ends_at = clock() + seconds
        self._on_end = on_end
        self._look_in(seconds)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, which is known at once, whenever it is asked."""
        return self._clock() >= self._ends_at

    def cancel(self) -> None:
        """Call `on_end` no more."""
        self._timer.cancel()

    def _look(self) -> None:
        left = self._ends_at - self._clock()
        if left <= 0:
            self._on_end()
        else:
            self._look_in(left)

    def _look_in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(min(seconds, LOOK_SECONDS), self._look)
