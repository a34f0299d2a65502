"""The instances of one variant: started, scaled, replaced when they die, drained before they end.

`serving` is replaced whole and never changed, so that the event loop reads it without a lock.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from localaws.core import Core
from localaws.sagemaker.endpoint_errors import DeploymentFailed
from localaws.sagemaker.endpoint_instances import Instance, Launch

DRAIN_SECONDS = 62.0  # longer than any invocation may take
DRAIN_POLL_SECONDS = 0.01
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
        self._is_closed = False
        self._backoff_seconds = FIRST_BACKOFF_SECONDS

    @property
    def size(self) -> int:
        """How many instances the fleet has or is replacing."""
        return len(self._members)

    def grow_to(self, count: int, *, least_seconds: float = 0.0) -> None:
        """Start instances until there are `count`, and serve with them once all of the new ones pass the ping.

        `least_seconds`: real time that starting takes at least.

        Raises:
            DeploymentFailed: one of them did not. Whatever is raised, the new ones are gone then.
        """
        new: list[Instance] = []
        earliest = time.monotonic() + least_seconds
        try:
            while self.size + len(new) < count:
                new.append(self._launch_one(count))
            for instance in new:
                instance.wait_until_ready()
            time.sleep(max(0.0, earliest - time.monotonic()))
        except BaseException:
            _stop_all(new, lambda instance: instance.stop(0.0))
            raise
        with self._lock:
            self._members.extend(new)
            self._publish()

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

    def _replace(self, instance: Instance, reason: str) -> None:
        instance.log(f"{instance.identity} {reason}; it is replaced")
        instance.is_ready = False
        self._publish()
        threading.Thread(target=self._start_replacement, args=(instance,), name="replacement", daemon=True).start()

    def _start_replacement(self, gone: Instance) -> None:
        gone.stop(0.0)
        while self._is_wanted(gone):
            try:
                self._put_in_place_of(gone)
            except DeploymentFailed as error:
                gone.log(f"a replacement did not start, next try in {self._backoff_seconds:.1f} s: {error}")
                time.sleep(self._backoff_seconds)
                self._backoff_seconds = min(LONGEST_BACKOFF_SECONDS, 2 * self._backoff_seconds)
            else:
                self._backoff_seconds = FIRST_BACKOFF_SECONDS

    def _is_wanted(self, gone: Instance) -> bool:
        with self._lock:
            return not self._is_closed and gone in self._members

    def _put_in_place_of(self, gone: Instance) -> None:
        with self._lock:
            if not self._is_wanted(gone):
                return
            replacement = self._launch_one(self.size)
            self._starting.append(replacement)
        try:
            replacement.wait_until_ready()
        finally:
            with self._lock:
                self._starting.remove(replacement)
                is_wanted = self._is_wanted(gone) and replacement.is_ready
                if is_wanted:
                    self._members[self._members.index(gone)] = replacement
                    self._publish()
            if not is_wanted:
                replacement.stop(0.0)

    def _launch_one(self, count: int) -> Instance:
        return Instance(self._core, self.launch, threads=max(1, (os.cpu_count() or 1) // max(1, count)))

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
