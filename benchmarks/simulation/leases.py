"""Model how Lambda leases executions to a function: provisioned ones first, then on-demand ones.

Each pool admits ten requests per second for each of its executions; unused allowance is kept for at most a second.
Source: docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
"""

from __future__ import annotations

from collections import deque

from benchmarks.simulation.model import FunctionModel


class Leases:
    """The executions of a function: the busy ones, the warm environments, and the request allowance of each pool."""

    def __init__(self, model: FunctionModel, time_scale: float) -> None:
        self._model = model
        self._idle_seconds = model.idle_seconds / time_scale
        self._warm: deque[float] = deque()
        self._busy = [0, 0]
        self._limits = (model.provisioned, model.executions - model.provisioned)
        self._tokens = [limit * model.rps_per_execution for limit in self._limits]
        self._seen = [0.0, 0.0]

    def take(self, at: float) -> int | None:
        """Lease an execution; return its pool, 0 for provisioned and 1 for on demand, or None when throttled."""
        for pool in (0, 1):
            if self._busy[pool] < self._limits[pool] and self._may(pool, at):
                self._busy[pool] += 1
                return pool
        return None

    def is_warm(self, at: float) -> bool:
        """Take an idle environment for an on-demand execution; return whether there was one."""
        while self._warm and self._warm[0] < at - self._idle_seconds:
            self._warm.popleft()
        if self._warm:
            self._warm.pop()
            return True
        return False

    def give_back(self, pool: int, at: float) -> None:
        """End an execution; an on-demand environment becomes idle."""
        self._busy[pool] -= 1
        if pool == 1:
            self._warm.append(at)

    def _may(self, pool: int, at: float) -> bool:
        most = self._limits[pool] * self._model.rps_per_execution
        left = min(most, self._tokens[pool] + (at - self._seen[pool]) * most)
        self._seen[pool] = at
        self._tokens[pool] = left - 1.0 if left >= 1.0 else left
        return left >= 1.0
