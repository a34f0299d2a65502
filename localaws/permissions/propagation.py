"""How a change of a role, a policy or an instance profile reaches the services that use it: some seconds later.

IAM itself shows a change at once. Here is what the other services see until then: no role or profile that is new, and
the former policies and trust of a role that was changed. Keeps copies of moto's roles; changes nothing of moto's.
"""

from __future__ import annotations

import copy
import threading
from dataclasses import dataclass
from typing import Any

from localaws.clock import Clock
from localaws.strictness import LENIENT, Strictness


@dataclass(frozen=True)
class _Change:
    """A change that is seen from the emulated time `due` on, and the role as it was before."""

    due: float
    before: Any


class Propagation:
    """What services see of IAM. Thread-safe."""

    def __init__(self, clock: Clock | None = None, strictness: Strictness = LENIENT) -> None:
        self._clock = clock or Clock()
        self._strictness = strictness
        self._lock = threading.Lock()
        self._new: dict[str, float] = {}
        self._changes: dict[str, list[_Change]] = {}
        self._next = float("inf")  # when the next change is seen
        self._count = 0

    @property
    def is_late(self) -> bool:
        """Whether changes take time at all."""
        return bool(self._strictness.identities)

    def made(self, name: str) -> None:
        """Take note of something new, named by its ARN or otherwise: it is not seen for some seconds."""
        with self._lock:
            self._new[name] = self._due()

    def is_ready(self, name: str) -> bool:
        """Return whether something is seen that AWS makes when it is needed first, which is now if never before."""
        with self._lock:
            self._new.setdefault(name, self._due())
        return self.is_seen(name)

    def changes(self, role: Any) -> None:
        """Take note that a role is about to change: the others see it as it is now for some seconds."""
        before = copy.copy(role)
        before.policies, before.managed_policies = dict(role.policies), dict(role.managed_policies)
        with self._lock:
            pending = self._changes.setdefault(role.arn, [])
            due = max(self._due(), pending[-1].due if pending else 0.0)
            pending.append(_Change(due, before))
            self._next = min(self._next, due)

    def is_seen(self, name: str) -> bool:
        """Return whether something that was made is seen by now."""
        with self._lock:
            return self._new.get(name, 0.0) <= self._clock.now()

    def seen(self, role: Any) -> Any:
        """Return a role as services see it now."""
        if not self._changes or role is None:
            return role
        now = self._clock.now()
        with self._lock:
            pending = self._changes.get(role.arn, ())
            return next((each.before for each in pending if each.due > now), role)

    def has_arrived(self) -> bool:
        """Return, once for each, whether a change is seen that was not before: what was decided is decided anew."""
        now = self._clock.now()
        if now < self._next:
            return False
        with self._lock:
            left = {arn: [each for each in pending if each.due > now] for arn, pending in self._changes.items()}
            self._changes = {arn: pending for arn, pending in left.items() if pending}
            self._next = min((each.due for pending in self._changes.values() for each in pending), default=float("inf"))
        return True

    def settle(self, role_arn: str) -> None:
        """Wait until all changes of a role are seen: for what AWS takes minutes to start, and localaws does not."""
        with self._lock:
            due = max([self._new.get(role_arn, 0.0), *(each.due for each in self._changes.get(role_arn, ()))])
        self._clock.sleep(due - self._clock.now())

    def _due(self) -> float:
        self._count += 1
        return self._clock.now() + self._strictness.identities.drawn(self._strictness.seed, "identity", self._count)


def role_of(profile: Any) -> str:
    """Return under which name the role in an instance profile is new."""
    return f"the role of {profile.arn}"
