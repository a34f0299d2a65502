"""The record of who asked for what: counts by role or user and action, and the distinct requests themselves."""

from __future__ import annotations

import threading
import time
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


@dataclass(slots=True)
class Use:
    """One action of a role or user: how often it was allowed and denied, and when it was asked for last (Unix time)."""

    action: str
    region: str
    allowed: int = 0
    denied: int = 0
    asked_at: float = 0.0

    @property
    def last(self) -> Last:
        """When it was asked for last."""
        return Last(datetime.fromtimestamp(self.asked_at, UTC), self.action.partition(":")[0], self.region)


@dataclass(slots=True)
class Count:
    """What is counted at one kind of request: the use of its action and, if it is kept, how often this one came."""

    use: Use
    requests: int = 0


class Usage:
    """Counts requests; told on the event loop and by services' threads. `clock` is the real time."""

    def __init__(self, region: str, clock: Callable[[], float] = time.time) -> None:
        self._region, self._clock = region, clock
        self._lock = threading.Lock()
        self._uses: dict[str, dict[str, Use]] = {}
        self._requests: dict[str, dict[Requested, Count]] = {}
        self._distinct = 0
        self._keys: dict[str, tuple[float, str]] = {}

    def count_of(self, owner_arn: str, requested: Requested) -> Count:
        """Return where requests of this kind are counted, for `count`."""
        with self._lock:
            use = self._uses.setdefault(owner_arn, {}).setdefault(requested.action, Use(requested.action, self._region))
            known = self._requests.setdefault(owner_arn, {})
            if requested in known:
                return known[requested]
            made = Count(use)
            if self._distinct < MOST_REQUESTS:
                self._distinct += 1
                known[requested] = made
            return made

    def count(self, counted: Count, *, is_allowed: bool) -> None:
        """Count one request."""
        use = counted.use
        with self._lock:
            counted.requests += 1
            use.allowed += is_allowed
            use.denied += not is_allowed
            use.asked_at = self._clock()

    def key_used(self, access_key_id: str, service: str) -> None:
        """Take note that a request was signed with a key."""
        self._keys[access_key_id] = (self._clock(), service)

    def keys(self) -> dict[str, Last]:
        """Return when each key was used last."""
        used = dict(self._keys)
        return {key: Last(datetime.fromtimestamp(at, UTC), what, self._region) for key, (at, what) in used.items()}

    def last_of(self, owner_arn: str) -> Last | None:
        """Return when a role or user asked for something last, None for never."""
        return max((use.last for use in self.of(owner_arn).values()), key=lambda each: each.at, default=None)

    def of(self, owner_arn: str) -> dict[str, Use]:
        """Return the uses of a role or user by action, as they are now."""
        with self._lock:
            uses = self._uses.get(owner_arn, {})
            return {action: replace(use) for action, use in uses.items() if use.allowed or use.denied}

    def requests_of(self, owner_arn: str) -> dict[Requested, int]:
        """Return the distinct requests of a role or user, and how often each came."""
        with self._lock:
            known = self._requests.get(owner_arn, {})
            return {each: counted.requests for each, counted in known.items() if counted.requests}

    def owners(self) -> list[str]:
        """Return the ARNs of all who asked for something."""
        with self._lock:
            return list(self._uses)
