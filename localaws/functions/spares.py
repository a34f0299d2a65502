"""Spare environments: started ahead, at idle priority, for cold starts on demand to come.

On AWS each environment starts on processors of its own; here a cold start would take those of the environments that
serve. Where a spare is ready, an invocation that finds no warm environment waits as long as the spare's init took in
processor time, and then runs in it. To the caller it is a cold start. A spare is never used as a warm environment. On
AWS a spare would not exist yet, so its role's key is held: a spare whose init calls AWS is thrown away, and its
revision starts cold from then on.

Without an idle priority (`can_come_back`) there are no spares. Runs on the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from localaws.errors import NoSuchRole, StopFailed
from localaws.functions.deployment import Deployment
from localaws.functions.environment import INIT_SECONDS, Environment, InitFailedError
from localaws.functions.launch import HeldKey
from localaws.functions.spare_records import Bounds, Revision, Spare, SpareCounts, Tally
from localaws.functions.spare_start import initialise_at_idle_priority, is_time_out


class Environments(Protocol):
    """Where environments come from and go."""

    @property
    def free(self) -> int:
        """How many the machine may still run without any making way."""

    def on_demand(self, name: str) -> int:
        """Return how many of a function there are on demand, spares among them."""

    async def start_spare(self, deployment: Deployment, held_key: HeldKey) -> Environment:
        """Return a new environment whose process is started; its init may still go on."""

    def end(self, environments: Iterable[Environment]) -> list[asyncio.Future[None]]:
        """End environments; the futures are done when their processes are gone."""


class Spares:
    """Keeps spares for revisions that are invoked on demand. Making one starts nothing.

    `limit`: how many environments a function may have on demand, of its reservation or of the account's.
    """

    def __init__(
        self,
        environments: Environments,
        limit: Callable[[str], int],
        bounds: Bounds,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._environments = environments
        self._limit = limit
        self._bounds = bounds
        self._clock = clock
        self._revisions: dict[str, Revision] = {}
        self._tallies: dict[str, Tally] = {}
        self._starting: Revision | None = None
        self._started: Environment | None = None  # the one whose init goes on
        self._filling: asyncio.Task[None] | None = None

    @property
    def count(self) -> int:
        """How many spares there are, one whose init goes on among them."""
        return sum(len(revision.ready) for revision in self._revisions.values()) + (self._started is not None)

    def began_cold(self, deployment: Deployment) -> None:
        """Record that an environment was started on demand; its revision has spares from now on."""
        if self._bounds.in_all == 0:
            return
        tally = self._tally(deployment)
        tally.deployment, tally.cold = deployment, tally.cold + 1
        self._revisions.setdefault(deployment.revision, Revision(deployment, self._clock()))
        self.fill()

    def used(self, deployment: Deployment) -> None:
        """Record that the revision is in use."""
        revision = self._revisions.get(deployment.revision)
        if revision is not None:
            revision.used_at = self._clock()

    async def take(self, deployment: Deployment) -> Environment | None:
        """Return a spare once its init has lasted, None if there is none.

        Raises: OSError if the deployment is removed meanwhile.
        """
        revision = self._revisions.get(deployment.revision)
        while revision is not None and revision.ready:
            spare = revision.ready.pop(0)
            await self._begin(spare)
            if spare.environment.is_alive:
                revision.deaths = 0
                self._tally(deployment).taken += 1
                return spare.environment
            self._environments.end([spare.environment])
            if revision.is_gone:
                raise OSError("it was deleted")
            self._died(revision)
        return None

    async def _begin(self, spare: Spare) -> None:
        """Let the spare's life begin: its init lasts as long as it does on a processor of its own."""
        environment, begun = spare.environment, time.perf_counter()
        environment.on_lost = None
        environment.release_key()
        self.fill()
        try:
            await asyncio.sleep(spare.init_seconds)
        except BaseException:
            self._environments.end([environment])
            raise
        environment.become_cold((time.perf_counter() - begun) * 1000)

    def retire(self, revision: str) -> None:
        """End a revision's spares: it gets no new invocation."""
        found = self._revisions.pop(revision, None)
        if found is not None:
            found.is_gone = True
            self._let_go(found, 0)

    def remove(self, is_removed: Callable[[Deployment], bool]) -> None:
        """Forget these deployments; the caller ends their environments, spares among them."""
        for key, revision in list(self._revisions.items()):
            if is_removed(revision.deployment):
                self.retire(key)
        names = {revision.deployment.name for revision in self._revisions.values()}
        for name, tally in list(self._tallies.items()):
            if name not in names and is_removed(tally.deployment):
                del self._tallies[name]

    def make_way(self) -> bool:
        """End one spare, of the revision that was used longest ago; tell whether there was any."""
        oldest_first = sorted(self._revisions.values(), key=lambda revision: revision.used_at)
        for revision in oldest_first:
            if revision.ready:
                self._let_go(revision, len(revision.ready) - 1)
                return True
        return self._call_off_start()

    def sweep(self) -> None:
        """End what is not wanted any more, and start what is."""
        for revision in self._revisions.values():
            self._let_go(revision, self._wanted(revision))
        self.fill()

    def fill(self) -> None:
        """Start what is wanted and missing, one after the other, in the background."""
        if (self._filling is None or self._filling.done()) and self._most_wanting() is not None:
            self._filling = asyncio.get_running_loop().create_task(self._fill())

    def counts(self) -> dict[str, SpareCounts]:
        """Return what there is and was, by function."""
        return {name: self._counts(name, tally) for name, tally in self._tallies.items()}

    def _counts(self, name: str, tally: Tally) -> SpareCounts:
        revisions = [revision for revision in self._revisions.values() if revision.deployment.name == name]
        ready = [spare.environment.program_pid or 0 for revision in revisions for spare in revision.ready]
        wanted = sum(self._wanted(revision) for revision in revisions)
        history = (tally.taken, tally.cold, tally.discarded, tally.failed)
        return SpareCounts(wanted, len(ready), *history, pids=tuple(ready))

    def _tally(self, deployment: Deployment) -> Tally:
        return self._tallies.setdefault(deployment.name, Tally(deployment))

    def _wanted(self, revision: Revision) -> int:
        """A function's environments and spares together stay within what it may run."""
        unused_seconds = self._clock() - revision.used_at
        if not revision.may_have_spares or unused_seconds > self._bounds.kept_seconds:
            return 0
        name = revision.deployment.name
        others = self._environments.on_demand(name) - self._present(revision)
        return max(0, min(self._bounds.of_revision, self._limit(name) - others))

    def _present(self, revision: Revision) -> int:
        return len(revision.ready) + (self._starting is revision and self._started is not None)

    def _most_wanting(self) -> Revision | None:
        """Return the revision used last of those that want a spare, None if there may be no further one."""
        if self.count >= self._bounds.in_all or self._environments.free <= 0:
            return None
        latest_first = sorted(self._revisions.values(), key=lambda revision: -revision.used_at)
        return next((each for each in latest_first if self._present(each) < self._wanted(each)), None)

    async def _fill(self) -> None:
        while (revision := self._most_wanting()) is not None:
            self._starting = revision
            try:
                spare = await self._bring_up(revision)
            finally:
                self._starting = self._started = None
            if spare is not None:
                revision.failures = 0
                revision.ready.append(spare)

    async def _bring_up(self, revision: Revision) -> Spare | None:
        """Start a spare and wait for its init; return None if it is not wanted any more or failed, which is counted."""
        key = HeldKey(lambda: self._called_aws(revision))
        try:
            environment = await self._environments.start_spare(revision.deployment, key)
        except (NoSuchRole, StopFailed, OSError):
            self._init_failed(revision)
            return None
        self._started = environment
        init_seconds = await self._initialise(revision, environment)
        if init_seconds is None or not self._is_wanted_still(revision, environment):
            self._environments.end([environment])
            return None
        environment.on_lost = lambda lost: self._lost(revision, lost)
        return Spare(environment, init_seconds)

    async def _initialise(self, revision: Revision, environment: Environment) -> float | None:
        """Return the processor time in seconds that the init took; None if it failed or the spare was called off."""
        if not revision.may_have_spares:
            return None
        try:
            seconds = await initialise_at_idle_priority(environment)
        except (InitFailedError, OSError) as error:
            if self._is_wanted_still(revision, environment) and not is_time_out(error):
                self._init_failed(revision)
            return None
        revision.is_refused |= seconds > INIT_SECONDS  # AWS gives such an init up and makes it again while it invokes
        return seconds

    def _is_wanted_still(self, revision: Revision, environment: Environment) -> bool:
        return revision.may_have_spares and self._started is environment

    def _init_failed(self, revision: Revision) -> None:
        if not revision.is_gone:  # nor is it counted any more
            revision.failures += 1
            self._tally(revision.deployment).failed += 1

    def _called_aws(self, revision: Revision) -> None:
        """Record that a spare used its role's key; as on AWS it could not have, its revision has no more spares."""
        if not revision.is_gone and not revision.is_refused:
            self._tally(revision.deployment).discarded += 1
            revision.is_refused = True
            self._let_go(revision, 0)

    def _lost(self, revision: Revision, environment: Environment) -> None:
        """Record that a spare's process ended while it waited."""
        before = len(revision.ready)
        revision.ready = [spare for spare in revision.ready if spare.environment is not environment]
        if len(revision.ready) < before:
            self._environments.end([environment])
            self._died(revision)
            self.fill()

    def _died(self, revision: Revision) -> None:
        if not revision.is_gone:
            revision.deaths += 1
            self._tally(revision.deployment).failed += 1

    def _let_go(self, revision: Revision, kept: int) -> None:
        """End all spares of a revision but so many; with none kept, also the one whose init goes on."""
        revision.ready, leaving = revision.ready[:kept], revision.ready[kept:]
        self._environments.end([spare.environment for spare in leaving])
        if kept == 0 and self._starting is revision:
            self._call_off_start()

    def _call_off_start(self) -> bool:
        environment, self._started = self._started, None
        if environment is None:
            return False
        self._environments.end([environment])  # which ends the wait for its init
        return True
