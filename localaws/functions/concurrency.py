"""Who may run now: Lambda's concurrency accounting, one lease for each running invocation.

AWS leases in the order provisioned, reserved, unreserved. Reserved and unreserved bind here; provisioned concurrency
belongs in `Concurrency.lease`, ahead of the others, which is why a lease is asked for with the whole deployment.
Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from localaws.functions.deployment import Deployment

ACCOUNT_LIMIT = 1000  # AWS's default quota of concurrent executions in a region
UNRESERVED_MINIMUM = 100  # AWS keeps this many for functions without a reservation


class ThrottledError(Exception):
    """No lease: the caller gets TooManyRequestsException (429) with this reason."""

    def __init__(self, reason: str, message: str = "Rate Exceeded.") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class ReservationRefusedError(Exception):
    """The reservation would leave fewer than 100 unreserved executions."""


@dataclass(frozen=True)
class Lease:
    """The right to run one invocation; give it back exactly once."""

    function_executions: int  # running now, this one included
    account_executions: int
    release: Callable[[], None]


class Concurrency:
    """Counts running invocations by function against reservations and the account's limit."""

    def __init__(self, account_limit: int = ACCOUNT_LIMIT) -> None:
        self.account_limit = account_limit
        self._lock = threading.Lock()
        self._reserved: dict[str, int] = {}
        self._running: Counter[str] = Counter()

    @property
    def unreserved_limit(self) -> int:
        """What functions without a reservation share."""
        return self.account_limit - sum(self._reserved.values())

    def running(self, name: str) -> int:
        """How many invocations of the function run now."""
        return self._running[name]

    def reserved(self, name: str) -> int | None:
        """The function's reservation, None without one."""
        return self._reserved.get(name)

    def reserve(self, name: str, executions: int) -> None:
        """Set a function's reserved concurrency; 0 throttles every call.

        Raises: ReservationRefusedError if fewer than 100 executions would stay unreserved.
        """
        with self._lock:
            others = sum(count for other, count in self._reserved.items() if other != name)
            if self.account_limit - others - executions < UNRESERVED_MINIMUM:
                raise ReservationRefusedError(
                    "Specified ReservedConcurrentExecutions for function decreases account's "
                    f"UnreservedConcurrentExecution below its minimum value of [{UNRESERVED_MINIMUM}]."
                )
            self._reserved[name] = executions

    def forget(self, name: str) -> None:
        """Drop a function's reservation, if it has one."""
        with self._lock:
            self._reserved.pop(name, None)

    def lease(self, deployment: Deployment) -> Lease:
        """Take one execution for the function.

        Raises: ThrottledError when its reservation, or the unreserved pool, is used up.
        """
        name = deployment.name
        with self._lock:
            limit = self._reserved.get(name)
            if limit is not None and self._running[name] >= limit:
                raise ThrottledError("ReservedFunctionConcurrentInvocationLimitExceeded")
            if limit is None and self._unreserved_running() >= self.unreserved_limit:
                raise ThrottledError("ConcurrentInvocationLimitExceeded")
            self._running[name] += 1
            return Lease(self._running[name], self._running.total(), lambda: self._release(name))

    def _unreserved_running(self) -> int:
        return sum(count for name, count in self._running.items() if name not in self._reserved)

    def _release(self, name: str) -> None:
        with self._lock:
            self._running[name] -= 1
            if not self._running[name]:
                del self._running[name]
