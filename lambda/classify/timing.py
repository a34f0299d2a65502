"""The time that an invocation has left."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

DEFAULT_SECONDS = 30.0  # used without a Lambda context


class Budget(NamedTuple):
    """A deadline on a monotonic clock, in seconds."""

    deadline: float
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def of_context(cls, context: Any, *, margin_seconds: float, clock: Callable[[], float] = time.monotonic) -> Budget:
        """Return the time that Lambda leaves this invocation, less a margin in which to respond."""
        remaining = getattr(context, "get_remaining_time_in_millis", None)
        seconds = remaining() / 1000.0 if remaining is not None else DEFAULT_SECONDS
        return cls(clock() + seconds - margin_seconds, clock)

    def left(self) -> float:
        """Return the seconds left, or 0.0 after the deadline."""
        return max(0.0, self.deadline - self.clock())

    def capped(self, seconds: float) -> Budget:
        """Return a budget of at most `seconds` from now."""
        return Budget(min(self.deadline, self.clock() + seconds), self.clock)
