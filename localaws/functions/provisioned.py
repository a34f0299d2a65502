"""Provisioned environments: one allocation for each provisioned version or alias.

Runs on the event loop. An allocation is told how many environments of which deployments it must have. It starts the
missing ones, ends the surplus and replaces those that die. Its state is counted from the environments: `READY` means
that as many are initialised as were asked for. When several inits fail in a row it stops trying and gives the reason,
until it is told again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from localaws.errors import NoSuchRole, StopFailed
from localaws.functions.concurrency import ThrottledError
from localaws.functions.deployment import Deployment
from localaws.functions.environment import Environment, InitFailedError
from localaws.functions.launch import PROVISIONED
from localaws.functions.rate import Allowance

INIT_ATTEMPTS = 3  # inits that fail in a row, before the allocation is FAILED
INIT_FAILURE = "FUNCTION_ERROR_INIT_FAILURE"  # AWS's StatusReason
ROLE_FAILURE = "The role defined for the function cannot be assumed by Lambda."

Key = tuple[str, str]  # function name; version or alias


@dataclass(frozen=True)
class Share:
    """How many environments of a deployment there have to be."""

    deployment: Deployment
    count: int


@dataclass(frozen=True)
class ProvisionedState:
    """What there is. `allocated`: environments with a process; `available`: those whose init is over."""

    requested: int
    allocated: int
    available: int
    busy: int
    status: Literal["IN_PROGRESS", "READY", "FAILED"]
    reason: str | None


# What is told of an init: the environment, its milliseconds, its failure if it failed.
OnInit = Callable[[Environment, float, InitFailedError | None], None]


class Environments(Protocol):
    """Where environments come from and go."""

    @property
    def room(self) -> int:
        """How many can be started."""

    @property
    def limit_text(self) -> str:
        """Say why it is no more."""

    async def start(self, deployment: Deployment, initialization_type: str) -> Environment:
        """Return a new environment whose process is started; its init may still go on."""

    def end(self, environments: Iterable[Environment]) -> list[asyncio.Future[None]]:
        """End environments; the futures are done when their processes are gone."""


@dataclass(eq=False)
class _Slot:
    """One environment's place: it is being started, then idle or busy, and may be let go while it is busy."""

    deployment: Deployment
    environment: Environment | None = None
    is_initialised: bool = False
    is_busy: bool = False
    is_let_go: bool = False
    starting: asyncio.Task[None] | None = None


@dataclass(eq=False)
class _Allocation:
    key: Key
    rate: Allowance
    wanted: Sequence[Share] = ()
    slots: list[_Slot] = field(default_factory=list)
    failures: int = 0
    reason: str | None = None

    def of(self, deployment: Deployment) -> list[_Slot]:
        return [slot for slot in self.slots if slot.deployment.revision == deployment.revision]

    def state(self) -> ProvisionedState:
        requested = sum(share.count for share in self.wanted)
        allocated = sum(slot.environment is not None for slot in self.slots)
        available = sum(slot.is_initialised for slot in self.slots)
        busy = sum(slot.is_busy for slot in self.slots)
        if available == requested:
            return ProvisionedState(requested, allocated, available, busy, "READY", None)
        status: Literal["IN_PROGRESS", "FAILED"] = "IN_PROGRESS" if self.reason is None else "FAILED"
        return ProvisionedState(requested, allocated, available, busy, status, self.reason)


class Provisioner:
    """Keeps every allocation at what it was told. Making one starts nothing."""

    def __init__(
        self,
        environments: Environments,
        on_init: OnInit,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._environments = environments
        self._on_init = on_init
        self._clock = clock
        self._allocations: dict[Key, _Allocation] = {}
        self._by_revision: dict[str, _Allocation] = {}
        self._slots: dict[Environment, tuple[_Allocation, _Slot]] = {}

    def set(self, key: Key, wanted: Sequence[Share]) -> None:
        """Have so many environments of each deployment, and none of any other, for this version or alias."""
        allocation = self._allocations.get(key)
        if allocation is None:
            allocation = self._allocations[key] = _Allocation(key, Allowance(self._clock))
        allocation.wanted, allocation.failures, allocation.reason = tuple(wanted), 0, None
        self._by_revision = {
            share.deployment.revision: each for each in self._allocations.values() for share in each.wanted
        }
        self._reconcile(allocation)

    async def drop(self, key: Key) -> None:
        """End an allocation; its idle environments' processes are gone when this returns, the busy ones finish."""
        allocation = self._allocations.pop(key, None)
        if allocation is None:
            return
        for share in allocation.wanted:
            self._by_revision.pop(share.deployment.revision, None)
        allocation.wanted = ()
        starting = [slot.starting for slot in allocation.slots if slot.starting is not None]
        endings = [ending for slot in list(allocation.slots) for ending in self._let_go(allocation, slot)]
        await asyncio.gather(*endings, *starting, return_exceptions=True)

    def keys_of(self, name: str) -> list[Key]:
        """Return the versions and aliases of a function that have something provisioned."""
        return [key for key in self._allocations if key[0] == name]

    def states(self) -> dict[Key, ProvisionedState]:
        """Return what there is for each version and alias."""
        return {key: allocation.state() for key, allocation in self._allocations.items()}

    def state(self, key: Key) -> ProvisionedState | None:
        """Return what there is for a version or alias, None if nothing is provisioned."""
        allocation = self._allocations.get(key)
        return allocation.state() if allocation else None

    def allocation_for(self, deployment: Deployment) -> Key | None:
        """Return the version or alias that this deployment is provisioned for, None if it is not."""
        allocation = self._by_revision.get(deployment.revision)
        return allocation.key if allocation else None

    def take(self, deployment: Deployment) -> Environment | None:
        """Return an idle environment of the deployment, or None: all are busy, or none may be invoked so often."""
        allocation = self._by_revision.get(deployment.revision)
        if allocation is None:
            return None
        for slot in allocation.of(deployment):
            if slot.is_initialised and not slot.is_busy and slot.environment and slot.environment.is_alive:
                if not allocation.rate.take(sum(each.is_initialised for each in allocation.slots)):
                    return None
                slot.is_busy = True
                return slot.environment
        return None

    def give_back(self, environment: Environment) -> None:
        """Keep the environment for the next invocation; one that is dead is replaced, one that was let go ends."""
        allocation, slot = self._slots[environment]
        slot.is_busy = False
        if slot.is_let_go or not environment.is_alive:
            self._discard(allocation, slot)
            self._reconcile(allocation)

    def _on_lost(self, environment: Environment) -> None:
        """A process has ended; of one that is starting or busy, whoever waits for it will hear."""
        _, slot = self._slots.get(environment, (None, None))
        if slot is not None and slot.is_initialised and not slot.is_busy:
            self.give_back(environment)

    def _reconcile(self, allocation: _Allocation) -> None:
        revisions = {share.deployment.revision for share in allocation.wanted}
        for slot in list(allocation.slots):
            if slot.deployment.revision not in revisions:
                self._let_go(allocation, slot)
        for share in allocation.wanted:
            slots = sorted(allocation.of(share.deployment), key=lambda slot: (slot.is_busy, slot.is_initialised))
            for slot in slots[: max(0, len(slots) - share.count)]:
                self._let_go(allocation, slot)
            missing = share.count - len(slots)
            if missing > self._environments.room:
                allocation.reason = allocation.reason or self._environments.limit_text
            if allocation.reason is None:
                for _ in range(missing):
                    self._add(allocation, share.deployment)

    def _add(self, allocation: _Allocation, deployment: Deployment) -> None:
        slot = _Slot(deployment)
        allocation.slots.append(slot)
        slot.starting = asyncio.get_running_loop().create_task(self._bring_up(allocation, slot))

    async def _bring_up(self, allocation: _Allocation, slot: _Slot) -> None:
        try:
            await self._start(allocation, slot)
        except (InitFailedError, NoSuchRole, ThrottledError, StopFailed, OSError) as error:
            if not slot.is_let_go:
                allocation.failures += 1
                allocation.reason = allocation.reason or _reason(error, allocation.failures)
        else:
            slot.is_initialised, allocation.failures = True, 0
        slot.starting = None
        if not slot.is_initialised or slot.is_let_go:
            await asyncio.gather(*self._discard(allocation, slot))
        self._reconcile(allocation)

    async def _start(self, allocation: _Allocation, slot: _Slot) -> None:
        environment = await self._environments.start(slot.deployment, PROVISIONED)
        slot.environment, self._slots[environment] = environment, (allocation, slot)
        environment.on_lost = self._on_lost
        if slot.is_let_go:
            return
        try:
            self._on_init(environment, await environment.initialise(), None)
        except InitFailedError as error:
            if not slot.is_let_go:
                self._on_init(environment, error.init_ms, error)
            raise

    def _let_go(self, allocation: _Allocation, slot: _Slot) -> list[asyncio.Future[None]]:
        """Have the slot no longer count; a busy environment ends when it is given back."""
        slot.is_let_go = True
        if slot.is_busy or slot.starting is not None:
            allocation.slots.remove(slot)
            if slot.starting is not None and slot.environment is not None:
                slot.environment.is_alive = False  # which ends the wait for its init
            return []
        return self._discard(allocation, slot)

    def _discard(self, allocation: _Allocation, slot: _Slot) -> list[asyncio.Future[None]]:
        if slot in allocation.slots:
            allocation.slots.remove(slot)
        if slot.environment is None:
            return []
        self._slots.pop(slot.environment, None)
        return self._environments.end([slot.environment])


def _reason(error: Exception, failures: int) -> str | None:
    """Return the StatusReason of an allocation that gives up, None if it tries again."""
    if isinstance(error, InitFailedError):
        return INIT_FAILURE if failures >= INIT_ATTEMPTS else None
    if isinstance(error, NoSuchRole):
        return ROLE_FAILURE
    return error.message if isinstance(error, ThrottledError) else f"The function could not be started: {error}"
