"""The limit of ten synchronous invocations a second for each execution, however short they are.

Source: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html#api-requests, "each instance of your
execution environment can serve up to 10 requests per second". AWS does not say how it counts. Here an allowance that
was not used is kept for at most a second.
"""

from __future__ import annotations

from collections.abc import Callable

INVOCATIONS_PER_SECOND = 10  # of one execution


class Allowance:
    """A bucket of invocations that fills continuously. Not thread-safe: the owner's lock or loop guards it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left: float | None = None  # full, whatever that will be
        self._seen_at = 0.0

    def take(self, executions: int) -> bool:
        """Take one invocation of what so many executions are good for; False if the second's are used up."""
        now, most = self._clock(), float(executions * INVOCATIONS_PER_SECOND)
        left = most if self._left is None else min(most, self._left + (now - self._seen_at) * most)
        self._seen_at = now
        self._left = left - 1.0 if left >= 1.0 else left
        return left >= 1.0
