"""The record of who asked for what: counts by role or user and action, and the distinct requests themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

Shown = tuple[tuple[str, tuple[str, ...] | None], ...]

MOST_REQUESTS = 20_000  # distinct ones; the others are counted by their action only


@dataclass(frozen=True)
class Requested:
    """A request as it was decided: enough to decide it again. `context`: the condition keys that policies ask for."""

    action: str
    resource: str
    context: Shown = ()


@dataclass(frozen=True)
class Last:
    """When something was used (aware), for which service and in which region."""

    at: datetime
    service: str
    region: str


@dataclass
class Use:
    """One action of a role or user: how often it was allowed and denied, and when it was asked for last."""

    last: Last
    allowed: int = 0
    denied: int = 0


class Usage:
    """Counts requests; told on the event loop and by services' threads. `clock` is the real time, aware."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._uses: dict[str, dict[str, Use]] = {}
        self._keys: dict[str, Last] = {}
        self._requests: dict[str, dict[Requested, int]] = {}
        self._distinct = 0

    def count(self, owner_arn: str, requested: Requested, region: str, *, is_allowed: bool) -> None:
        """Count a request of a role or user."""
        last = Last(self._clock(), requested.action.partition(":")[0], region)
        with self._lock:
            use = self._uses.setdefault(owner_arn, {}).setdefault(requested.action, Use(last))
            use.allowed += is_allowed
            use.denied += not is_allowed
            use.last = last
            requests = self._requests.setdefault(owner_arn, {})
            if requested in requests:
                requests[requested] += 1
            elif self._distinct < MOST_REQUESTS:
                self._distinct += 1
                requests[requested] = 1

    def key_used(self, access_key_id: str, service: str, region: str) -> None:
        """Take note that a request was signed with a key."""
        self._keys[access_key_id] = Last(self._clock(), service, region)

    def keys(self) -> dict[str, Last]:
        """Return when each key was used last."""
        return dict(self._keys)

    def last_of(self, owner_arn: str) -> Last | None:
        """Return when a role or user asked for something last, None for never."""
        return max((use.last for use in self.of(owner_arn).values()), key=lambda each: each.at, default=None)

    def of(self, owner_arn: str) -> dict[str, Use]:
        """Return the uses of a role or user by action, as they are now."""
        with self._lock:
            return {action: replace(use) for action, use in self._uses.get(owner_arn, {}).items()}

    def requests_of(self, owner_arn: str) -> dict[Requested, int]:
        """Return the distinct requests of a role or user, and how often each came."""
        with self._lock:
            return dict(self._requests.get(owner_arn, {}))

    def owners(self) -> list[str]:
        """Return the ARNs of all who asked for something."""
        with self._lock:
            return list(self._uses)
