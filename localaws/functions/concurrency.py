"""Lambda's concurrency accounting: decides whether an invocation may run, with one lease for each that does.

AWS leases in the order provisioned, reserved, unreserved. What is provisioned is taken out of its function's
reservation, or out of the account's unreserved pool when the function has none, whether it is used or not. In
addition, each execution allows at most ten synchronous invocations a second.
Not emulated: the scaling rate of 1,000 environments in 10 seconds per function, which one machine cannot reach.
Sources: https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html,
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from localaws.functions.rate import Allowance

ACCOUNT_LIMIT = 1000  # AWS's default quota of concurrent executions in a region
UNRESERVED_MINIMUM = 100  # AWS keeps this many for functions without a reservation, or all in an account with fewer
UNRESERVED = ""  # the name of the pool that functions without a reservation share; no function is called so


class ThrottledError(Exception):
    """No lease: the caller gets TooManyRequestsException (429) with this reason."""

    def __init__(self, reason: str, message: str = "Rate Exceeded.") -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class RefusedError(Exception):
    """What was to be reserved or provisioned does not fit; the message is AWS's."""


@dataclass(frozen=True)
class Resource:
    """What a caller named: a function, and a version or an alias if it named one."""

    name: str
    qualifier: str | None


@dataclass(frozen=True)
class Running:
    """How many invocations run now: of a function, through what the caller named, in the account, unreserved ones."""

    of_function: int
    of_resource: int
    of_account: int
    unreserved: int


@dataclass(frozen=True)
class Lease:
    """The right to run one invocation; give it back exactly once. `running` includes this one."""

    running: Running
    release: Callable[[], None]


class Concurrency:
    """Counts running invocations against what is provisioned, reserved and left. Thread-safe."""

    def __init__(self, account_limit: int = ACCOUNT_LIMIT, clock: Callable[[], float] = time.monotonic) -> None:
        self.account_limit = account_limit
        self._lock = threading.Lock()
        self._reserved: dict[str, int] = {}
        self._provisioned: defaultdict[str, dict[str, int]] = defaultdict(dict)
        self._on_demand: Counter[str] = Counter()
        self._in_provisioned: Counter[str] = Counter()
        self._by_resource: Counter[Resource] = Counter()
        self._rates: defaultdict[str, Allowance] = defaultdict(lambda: Allowance(clock))

    @property
    def unreserved_minimum(self) -> int:
        """What stays unreserved: accounts with a quota below 100 are told that quota as the minimum."""
        return min(UNRESERVED_MINIMUM, self.account_limit)

    @property
    def unreserved_limit(self) -> int:
        """What functions without a reservation share for invocations on demand."""
        with self._lock:
            return self._unreserved_limit()

    def on_demand_limit(self, name: str) -> int:
        """How many invocations on demand a function may have at once, if no other runs."""
        with self._lock:
            if name in self._reserved:
                return self._reserved[name] - self._claimed(name)
            return self._unreserved_limit() - self._over_provisioned()

    def reserve(self, name: str, executions: int) -> None:
        """Set a function's reserved concurrency; 0 throttles every call.

        Raises: RefusedError if too few executions would stay unreserved, or the function has more provisioned.
        """
        with self._lock:
            left = self._unreserved_limit() + self._taken_by(name) - executions
            if left < self.unreserved_minimum:
                raise RefusedError(self._below_minimum("ReservedConcurrentExecutions"))
            provisioned = sum(self._provisioned[name].values())
            if provisioned > executions:
                raise RefusedError(
                    f" ReservedConcurrentExecutions  {executions} should not be lower than function's total "
                    f"provisioned concurrency [{provisioned}]."
                )
            self._reserved[name] = executions

    def unreserve(self, name: str) -> None:
        """Drop a function's reservation, if it has one."""
        with self._lock:
            self._reserved.pop(name, None)

    def provision(self, name: str, qualifier: str, executions: int) -> None:
        """Set what is provisioned for a version or alias.

        Raises: RefusedError if the function's reservation, or the unreserved pool less its minimum, does not hold it.
        """
        with self._lock:
            configured = self._provisioned[name]
            total = sum(configured.values()) - configured.get(qualifier, 0) + executions
            if name in self._reserved:
                if total > self._reserved[name]:
                    raise RefusedError(
                        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution "
                        "for function"
                    )
            else:
                self._require_unreserved(self._unreserved_limit() + configured.get(qualifier, 0), executions)
            configured[qualifier] = executions

    def unprovision(self, name: str, qualifier: str) -> None:
        """Drop what is provisioned for a version or alias, if anything is."""
        with self._lock:
            self._provisioned[name].pop(qualifier, None)

    def forget(self, name: str) -> None:
        """Drop all that is reserved and provisioned for a function."""
        with self._lock:
            self._reserved.pop(name, None)
            self._provisioned.pop(name, None)
            self._rates.pop(name, None)

    def lease(self, resource: Resource, *, is_synchronous: bool = True) -> Lease:
        """Take one execution on demand: of the function's reservation, or of the unreserved pool without one.

        Raises: ThrottledError when it is used up, or when it is asked more than ten times a second for each execution.
        """
        with self._lock:
            if resource.name in self._reserved:
                self._check_reserved(resource.name, is_synchronous=is_synchronous)
            else:
                self._check_unreserved(is_synchronous=is_synchronous)
            return self._admit(resource, self._on_demand)

    def lease_provisioned(self, resource: Resource) -> Lease:
        """Take one execution for a provisioned environment, which brings its concurrency with it."""
        with self._lock:
            return self._admit(resource, self._in_provisioned)

    def running(self) -> dict[Resource, Running]:
        """Return what runs now, by what the callers named."""
        with self._lock:
            return {resource: self._running(resource) for resource, count in self._by_resource.items() if count}

    def _check_reserved(self, name: str, *, is_synchronous: bool) -> None:
        limit = self._reserved[name] - self._claimed(name)
        if self._on_demand[name] >= limit:
            raise ThrottledError("ReservedFunctionConcurrentInvocationLimitExceeded")
        if is_synchronous and not self._rates[name].take(limit):
            raise ThrottledError("ReservedFunctionInvocationRateLimitExceeded")

    def _check_unreserved(self, *, is_synchronous: bool) -> None:
        limit = self._unreserved_limit() - self._over_provisioned()
        if self._unreserved_running() >= limit:
            raise ThrottledError("ConcurrentInvocationLimitExceeded")
        if is_synchronous and not self._rates[UNRESERVED].take(limit):
            raise ThrottledError("FunctionInvocationRateLimitExceeded")

    def _admit(self, resource: Resource, counter: Counter[str]) -> Lease:
        counter[resource.name] += 1
        self._by_resource[resource] += 1
        return Lease(self._running(resource), lambda: self._release(resource, counter))

    def _release(self, resource: Resource, counter: Counter[str]) -> None:
        with self._lock:
            counter[resource.name] -= 1
            self._by_resource[resource] -= 1
            if not self._by_resource[resource]:
                del self._by_resource[resource]

    def _running(self, resource: Resource) -> Running:
        return Running(
            self._on_demand[resource.name] + self._in_provisioned[resource.name],
            self._by_resource[resource],
            self._on_demand.total() + self._in_provisioned.total(),
            self._unreserved_running(),
        )

    def _unreserved_running(self) -> int:
        return sum(count for name, count in self._on_demand.items() if name not in self._reserved)

    def _unreserved_limit(self) -> int:
        free = [sum(each.values()) for name, each in self._provisioned.items() if name not in self._reserved]
        return self.account_limit - sum(self._reserved.values()) - sum(free)

    def _taken_by(self, name: str) -> int:
        """What a function takes out of the account's limit, used or not."""
        return self._reserved.get(name, sum(self._provisioned[name].values()))

    def _claimed(self, name: str) -> int:
        """What is provisioned of a reservation, or still runs in environments that no longer are."""
        return max(sum(self._provisioned[name].values()), self._in_provisioned[name])

    def _over_provisioned(self) -> int:
        """What still runs in environments that are no longer provisioned, of functions without a reservation."""
        names = [name for name in self._in_provisioned if name not in self._reserved]
        return sum(self._claimed(name) - sum(self._provisioned[name].values()) for name in names)

    def _require_unreserved(self, available: int, executions: int) -> None:
        if executions > available:
            raise RefusedError(
                f"Specified ConcurrentExecutions for function is greater than account's unreserved concurrency "
                f"[{available}]."
            )
        if available - executions < self.unreserved_minimum:
            raise RefusedError(self._below_minimum("ConcurrentExecutions"))

    def _below_minimum(self, what: str) -> str:
        return (
            f"Specified {what} for function decreases account's UnreservedConcurrentExecution below its minimum value "
            f"of [{self.unreserved_minimum}]."
        )
