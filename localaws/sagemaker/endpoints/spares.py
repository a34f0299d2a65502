"""The spares of one fleet: model servers that are started ahead and become instances when the fleet grows.

On AWS a new instance brings processors of its own. Here it shares them with the instances that serve, and starting a
model server takes seconds of computing. With an emulated start-up the server therefore does that work ahead, at idle
priority: adding an instance then takes the time that is set and slows nothing else of its fleet. A spare that gets no
core for seconds is given a higher priority (`PATIENCE`). Without an idle priority, no spare is started while requests
are served.

A spare serves nothing and is counted nowhere. A fleet has no more spares until its next deployment after three in a row
failed to start, or after one used its role while it loaded: on AWS it would not have existed yet.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from localaws import idle_priority
from localaws.core import Core
from localaws.idle_priority import PATIENCE, Step
from localaws.sagemaker.endpoints.errors import DeploymentFailed
from localaws.sagemaker.endpoints.instances import Instance, Launch

MOST_SPARES = 4  # of a fleet
FAILURES_ALLOWED = 2
FAILED_PINGS_ALLOWED = 2
LOADING_SECONDS = 300.0  # real: it may wait long for a core
OWN_KEY = "AWS_ACCESS_KEY_ID"


@dataclass(frozen=True)
class SpareCounts:
    """A fleet's spares. `cold`: instances of a scale-out that no spare was there for; `memory_bytes`: resident."""

    wanted: int
    ready: int
    starting: int
    taken: int
    cold: int
    discarded: int
    failed: int
    memory_bytes: int


class Spares:
    """The spares of a fleet. `take`, `hand_over`, `close`, `counts` are for any thread, the rest for the keeper's.

    `lock` is the fleet's; `claimed` says, under it, how many instances the fleet has or is adding.
    """

    def __init__(self, core: Core, launch: Launch, *, lock: threading.RLock, claimed: Callable[[], int]) -> None:
        self.wanted = 0
        self.cold = 0
        self._core = core
        self._launch = launch
        self._lock = lock
        self._claimed = claimed
        self._spawning = threading.Lock()
        self._ready: list[Instance] = []
        self._starting: Instance | None = None
        self._started = 0.0
        self._patience: Sequence[Step] = PATIENCE
        self._taken = self._discarded = self._failed = self._failures_in_a_row = 0
        # keys in the model's environment are not its role's: what such a spare does in AWS could not be seen
        self._is_closed = not core.settings.keeps_spares or OWN_KEY in launch.variant.model.environment

    @property
    def ready_count(self) -> int:
        """How many may be taken."""
        return len(self._ready)

    @property
    def is_starting(self) -> bool:
        """Whether one is being started."""
        return self._starting is not None

    @property
    def is_short(self) -> bool:
        """Whether there are fewer than wanted."""
        return len(self._ready) + self.is_starting < self.wanted

    def take(self, count: int) -> list[Instance]:
        """Take out up to `count`, the one that is starting last; they are the caller's, who calls `hand_over`."""
        with self._lock:
            usable = [each for each in self._all() if each.process.poll() is None and not each.used_credentials]
            taken = usable[:count]
            self._ready = [each for each in self._ready if each not in taken]
            if self._starting in taken:
                self._starting = None
        return taken

    def hand_over(self, taken: Sequence[Instance]) -> list[Instance]:
        """Turn what was taken into instances; return those that are usable, the others are gone. Not under the lock.

        One that was still starting has the normal priority then and comes up as a cold one does.
        """
        if not taken:
            return []
        with ThreadPoolExecutor(len(taken), thread_name_prefix="hand over") as pool:
            are_usable = list(pool.map(self._hand_over, taken))
        return [instance for instance, is_usable in zip(taken, are_usable, strict=True) if is_usable]

    def _hand_over(self, instance: Instance) -> bool:
        failure = self._become_instance(instance)
        if instance.used_credentials:
            self._give_up(instance)
        elif failure is not None:
            instance.stop(0.0)
            self._count_failure(instance, failure)
        else:
            with self._lock:
                self._taken += 1
            return True
        return False

    def _become_instance(self, instance: Instance) -> str | None:
        """Return why it is not usable. One that hangs is found out now: another can start in its place at once."""
        try:
            idle_priority.normal(instance.process.pid)
        except PermissionError as error:
            return f"could not leave the idle priority: {error}"
        instance.become_instance()
        is_hung = instance.is_ready and not instance.answers_ping()
        return "did not answer /ping when it was taken" if is_hung else None

    def close(self) -> None:
        """End all of them and start none any more."""
        with self._spawning, self._lock:  # one that is being spawned would come after the fleet's folder is gone
            self._is_closed = True
            self.wanted = 0
            leaving = self._surplus()
        for instance in leaving:
            instance.stop(0.0)

    def counts(self) -> SpareCounts:
        """Return what there is and what has become of those there were."""
        return SpareCounts(
            wanted=self.wanted,
            ready=len(self._ready),
            starting=int(self.is_starting),
            taken=self._taken,
            cold=self.cold,
            discarded=self._discarded,
            failed=self._failed,
            memory_bytes=self.memory_bytes(),
        )

    def memory_bytes(self) -> int:
        """Return the resident memory of all of them."""
        return sum(instance.memory_bytes() for instance in self._all())

    def want(self, maximum: int | None) -> None:
        """Follow the most instances that the fleet may be scaled to (None: it is not known); end the surplus."""
        with self._lock:
            room = 1 if maximum is None else maximum - self._claimed()
            self.wanted = 0 if self._is_closed else max(0, min(room, MOST_SPARES))
            leaving = self._surplus()
        for instance in leaving:
            instance.stop(0.0)

    def start_one(self) -> None:
        """Start another at idle priority; `look` finds when it is ready."""
        try:
            self._spawn()
        except DeploymentFailed as error:
            self._count_failure(None, f"did not start: {error}")

    def _spawn(self) -> None:
        with self._spawning:
            if self._is_closed:
                return
            size = self._claimed() + self.wanted
            instance = Instance(self._core, self._launch, fleet_size=size, is_spare=True)
            idle_priority.idle(instance.process.pid)
            self._started, self._patience = time.monotonic(), PATIENCE
            self._starting = instance

    def look(self, *, ping: bool) -> None:
        """See to the one that starts and to those that ended; with `ping`, to those that hang, too."""
        self._look_at_starting()
        for instance in list(self._ready):
            if instance.used_credentials:
                self._discard(instance)
            elif (status := instance.process.poll()) is not None:
                self._drop(instance, f"ended with status {status}")
            elif ping and self._missed_pings(instance) > FAILED_PINGS_ALLOWED:
                self._drop(instance, f"missed {instance.failed_pings} pings")

    def _look_at_starting(self) -> None:
        instance = self._starting
        if instance is None:
            return
        if instance.used_credentials:
            self._discard(instance)
        elif (status := instance.process.poll()) is not None:
            self._drop(instance, f"ended with status {status} while it loaded")
        elif instance.is_up():
            self._make_ready(instance)
        elif time.monotonic() > self._started + LOADING_SECONDS:
            self._drop(instance, f"did not answer /ping within {LOADING_SECONDS:.0f} s")
        else:
            self._hurry(instance)

    def _hurry(self, instance: Instance) -> None:
        """Raise the priority step by step of one that takes long: an idle one may get no core at all."""
        while self._patience and time.monotonic() > self._started + self._patience[0].after_seconds:
            try:
                self._patience[0].give(instance.process.pid)
            except PermissionError as error:
                self._drop(instance, f"could not leave the idle priority: {error}")
            self._patience = self._patience[1:]
            if self._starting is not instance:  # it was taken meanwhile
                idle_priority.normal(instance.process.pid)

    def _make_ready(self, instance: Instance) -> None:
        try:
            idle_priority.normal(instance.process.pid)
        except PermissionError as error:
            self._drop(instance, f"could not leave the idle priority: {error}")
            return
        with self._lock:
            if self._starting is instance:
                self._starting = None
                self._ready = [*self._ready, instance]

    def _missed_pings(self, instance: Instance) -> int:
        if instance.answers_ping():
            instance.failed_pings = self._failures_in_a_row = 0  # not by coming up: it may end right after
        else:
            instance.failed_pings += 1
        return instance.failed_pings

    def _discard(self, instance: Instance) -> None:
        if self._remove(instance):
            self._give_up(instance)

    def _give_up(self, instance: Instance) -> None:
        """Throw away one that used its role, and keep none from now on."""
        self._discarded += 1
        self._tell(instance, "used its role's credentials before it was an instance; new instances start cold")
        instance.stop(0.0)
        self.close()

    def _drop(self, instance: Instance, reason: str) -> None:
        if self._remove(instance):
            instance.stop(0.0)
            self._count_failure(instance, reason)

    def _count_failure(self, instance: Instance | None, reason: str) -> None:
        self._failed += 1
        self._failures_in_a_row += 1
        is_last = self._failures_in_a_row > FAILURES_ALLOWED
        self._tell(instance, f"{reason}; {'new instances start cold' if is_last else 'another is started'}")
        if is_last:
            self.close()

    def _tell(self, instance: Instance | None, what: str) -> None:
        if instance is None:
            stream = f"{self._launch.variant.name}/spares"
            self._launch.logs.write(self._launch.log_group, stream, [f"a spare {what}"])
            return
        instance.tell()
        instance.log(f"spare {instance.identity} {what}")

    def _remove(self, instance: Instance) -> bool:
        """Take one out; return whether it was still there, as it is not once it was taken or the fleet has closed."""
        with self._lock:
            if self._starting is instance:
                self._starting = None
                return True
            was_there = instance in self._ready
            self._ready = [each for each in self._ready if each is not instance]
            return was_there

    def _surplus(self) -> list[Instance]:
        """Take out what is more than wanted, the one that starts first. Under the lock."""
        leaving = self._ready[self.wanted :]
        self._ready = self._ready[: self.wanted]
        if self._starting is not None and len(self._ready) >= self.wanted:
            leaving.append(self._starting)
            self._starting = None
        return leaving

    def _all(self) -> list[Instance]:
        with self._lock:
            return [*self._ready, *([self._starting] if self._starting else [])]
