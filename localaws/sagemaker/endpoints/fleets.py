"""The instances of one variant: started or taken from its spares, scaled, replaced when they die, drained.

`serving` is replaced as a whole and never changed, so that the event loop can read it without a lock.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from localaws.core import Core
from localaws.sagemaker.endpoints.errors import DeploymentFailed
from localaws.sagemaker.endpoints.instances import Instance, Launch
from localaws.sagemaker.endpoints.spares import Spares

DRAIN_SECONDS = 62.0  # longer than any invocation may take
DRAIN_POLL_SECONDS = 0.01
WANTED_POLL_SECONDS = 0.05
FAILED_PINGS_ALLOWED = 2
FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0

Fence = Callable[[], None]


class Fleet:
    """The instances of a variant. `fence` returns once no request can still pick an instance that was taken out."""

    def __init__(self, core: Core, launch: Launch, *, fence: Fence) -> None:
        self.launch = launch
        self.serving: tuple[Instance, ...] = ()
        self._core = core
        self._fence = fence
        self._lock = threading.RLock()
        self._members: list[Instance] = []
        self._starting: list[Instance] = []  # replacements that have not passed a ping yet
        self._growing = 0
        self._is_closed = False
        self._backoff_seconds = FIRST_BACKOFF_SECONDS
        self.spares = Spares(core, launch, lock=self._lock, claimed=lambda: self.size + self._growing)

    @property
    def is_growing(self) -> bool:
        """Whether instances are being added or replaced."""
        return bool(self._growing or self._starting)

    @property
    def size(self) -> int:
        """How many instances the fleet has or is replacing."""
        return len(self._members)

    def states(self) -> list[tuple[Instance, str]]:
        """Return the instances with what each is doing: InService, Replacing (it is gone) or Starting."""
        with self._lock:
            members, starting = list(self._members), list(self._starting)
        present = [(each, "InService" if each.is_ready else "Replacing") for each in members]
        return [*present, *((each, "Starting") for each in starting)]

    @property
    def growing(self) -> int:
        """How many instances are being added by a scale-out, and serve once all of them pass their ping."""
        return self._growing

    def grow_to(self, count: int, *, least_seconds: float = 0.0, until: float = math.inf) -> None:
        """Have `count` instances, from spares first, and serve with the new ones once all of them pass the ping.

        `least_seconds`: real time that starting takes at least, from now on; `until`: the moment of the monotonic clock
        at which waiting for a ping ends, if not before.

        Raises:
            DeploymentFailed: one of them did not. Whatever is raised, the new ones are gone then.
        """
        new: list[Instance] = []
        earliest = time.monotonic() + least_seconds
        with self._lock:
            self._growing = count - self.size
            taken = self.spares.take(self._growing)
        try:
            spares = self.spares.hand_over(taken)
            self._start_cold(new, self._growing - len(spares), count, until)
            time.sleep(max(0.0, earliest - time.monotonic()))
            self._confirm(spares, new, count, until)
            self._join(new)
        except BaseException:
            _stop_all([*new, *taken], lambda instance: instance.stop(0.0))
            raise
        finally:
            self._growing = 0

    def shrink_to(self, count: int) -> None:
        """Take the newest instances out of service, let them finish their requests and end them."""
        with self._lock:
            by_use = sorted(self._members, key=lambda instance: not instance.is_ready)
            self._members, leaving = by_use[:count], by_use[count:]
            self._publish()
        self._drain(leaving)
        _stop_all(leaving, Instance.scale_in)

    def close(self, *, drain: bool) -> None:
        """End all instances; with `drain`, after the requests they have."""
        with self._lock:
            self._is_closed = True
            leaving, self._members = [*self._members, *self._starting], []
            self._publish()
        self.spares.close()
        if drain:
            self._drain(leaving)
        _stop_all(leaving, Instance.scale_in)

    def replace_dead(self) -> None:
        """Take instances that ended out of service and start others in their place, each on a thread of its own."""
        with self._lock:
            dead = [instance for instance in self.serving if instance.process.poll() is not None]
            for instance in dead:
                self._replace(instance, f"ended with status {instance.process.poll()}")

    def replace_hung(self) -> None:
        """Ping every instance; one that misses three in a row is killed and replaced."""
        for instance in self.serving:
            instance.failed_pings = 0 if instance.answers_ping() else instance.failed_pings + 1
            if instance.failed_pings > FAILED_PINGS_ALLOWED:
                with self._lock:
                    if instance in self._members:
                        self._replace(instance, f"missed {instance.failed_pings} pings")

    def _start_cold(self, new: list[Instance], missing: int, count: int, until: float) -> None:
        """Start as many as are missing, add them to `new` at once, and wait until each passes its ping."""
        self.spares.cold += missing if self.serving else 0  # the first instances of a fleet are no scale-out
        before = len(new)
        while len(new) < before + missing:
            new.append(self._launch_one(count))
        for instance in new[before:]:
            instance.wait_until_ready(until)

    def _confirm(self, spares: list[Instance], new: list[Instance], count: int, until: float) -> None:
        """Add the spares to `new` that pass a ping now too; start others in the place of those that do not."""
        failed = 0
        for spare in spares:
            try:
                spare.confirm()
            except DeploymentFailed:
                failed += 1
            else:
                new.append(spare)
        self._start_cold(new, failed, count, until)

    def _join(self, new: list[Instance]) -> None:
        with self._lock:
            if self._is_closed:
                raise DeploymentFailed("The endpoint was deleted while it was scaled.")
            for instance in new:
                instance.bind()  # a rule may have changed while it was a spare
            self._members.extend(new)
            self._growing = 0  # now, under the lock: nobody may count them twice
            self._publish()

    def _replace(self, instance: Instance, reason: str) -> None:
        instance.log(f"{instance.identity} {reason}; it is replaced")
        instance.is_ready = False
        self._publish()
        settings = self._core.settings
        earliest = time.monotonic() + settings.instance_startup_seconds / settings.time_scale
        arguments = (instance, earliest)
        threading.Thread(target=self._start_replacement, args=arguments, name="replacement", daemon=True).start()

    def _start_replacement(self, gone: Instance, earliest: float) -> None:
        gone.stop(0.0)
        while self._is_wanted(gone):
            try:
                self._put_in_place_of(gone, earliest)
            except (DeploymentFailed, OSError) as error:
                if not self._is_wanted(gone):
                    return
                gone.log(f"a replacement did not start; the next attempt is in {self._backoff_seconds:.1f} s: {error}")
                self._wait_until(time.monotonic() + self._backoff_seconds, gone)
                self._backoff_seconds = min(LONGEST_BACKOFF_SECONDS, 2 * self._backoff_seconds)
            else:
                self._backoff_seconds = FIRST_BACKOFF_SECONDS

    def _is_wanted(self, gone: Instance) -> bool:
        with self._lock:
            return not self._is_closed and gone in self._members

    def _wait_until(self, moment: float, gone: Instance) -> bool:
        """Wait until a moment of the monotonic clock; return False, and early, if no replacement is wanted any more."""
        while (is_wanted := self._is_wanted(gone)) and (left := moment - time.monotonic()) > 0:
            time.sleep(min(left, WANTED_POLL_SECONDS))
        return is_wanted

    def _put_in_place_of(self, gone: Instance, earliest: float) -> None:
        """Have a spare, or another instance, serve from `earliest` (of the monotonic clock) on in the place of one."""
        replacement = self._take_spare(gone) or self._start_another(gone)
        if replacement is None:
            return
        try:
            if self._wait_until(earliest, gone):
                replacement.confirm()
        finally:
            with self._lock:
                self._starting.remove(replacement)
                is_wanted = self._is_wanted(gone) and replacement.is_ready
                if is_wanted:
                    replacement.bind()
                    self._members[self._members.index(gone)] = replacement
                    self._publish()
            if not is_wanted:
                replacement.stop(0.0)

    def _take_spare(self, gone: Instance) -> Instance | None:
        """Return a spare that is usable and in `_starting`, None if there is none."""
        with self._lock:
            taken = self.spares.take(1) if self._is_wanted(gone) else []
            self._starting.extend(taken)  # from now on `close` ends it
        usable: list[Instance] = []
        try:
            usable = self.spares.hand_over(taken)
        finally:
            with self._lock:
                self._starting = [each for each in self._starting if each in usable or each not in taken]
        return next(iter(usable), None)

    def _start_another(self, gone: Instance) -> Instance | None:
        """Return a new one that is in `_starting`, None if none is wanted any more."""
        with self._lock:
            if not self._is_wanted(gone):
                return None
            started = self._launch_one(self.size)
            self._starting.append(started)
            return started

    def _launch_one(self, fleet_size: int) -> Instance:
        return Instance(self._core, self.launch, fleet_size=fleet_size)

    def _publish(self) -> None:
        self.serving = tuple(instance for instance in self._members if instance.is_ready)

    def _drain(self, leaving: Sequence[Instance]) -> None:
        self._fence()
        deadline = time.monotonic() + DRAIN_SECONDS
        while any(instance.outstanding for instance in leaving) and time.monotonic() < deadline:
            time.sleep(DRAIN_POLL_SECONDS)


def _stop_all(instances: Sequence[Instance], stop: Callable[[Instance], None]) -> None:
    if instances:
        with ThreadPoolExecutor(min(16, len(instances)), thread_name_prefix="stop") as pool:
            list(pool.map(stop, instances))
