"""The parts that every executing service shares: settings, clock, processes, logs, metrics, objects and keys."""

import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterable

from localaws.auth.links import Links
from localaws.capacity import CapacityTable
from localaws.clock import Clock
from localaws.containers import Containers
from localaws.credentials import Credentials
from localaws.logs import Logs
from localaws.metrics import Metrics
from localaws.objects import Objects
from localaws.periodic import PeriodicWork
from localaws.permissions.authority import Authority
from localaws.permissions.propagation import Propagation
from localaws.permissions.roles import ObjectsOfRole, Role
from localaws.processes import ProcessTable
from localaws.quotas.account import Quotas
from localaws.request_feed import RequestFeed
from localaws.settings import Settings


class Core:
    """The parts that executing services share. Making one starts no process.

    `generation` names the state, which is in memory: a server that is started again, or reset, has another one.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.strictness = settings.strictness
        self.generation = secrets.token_hex(8)
        self.clock = Clock(settings.time_scale)
        self.periodic = PeriodicWork(self.clock)
        self.hosting_capacity = CapacityTable(settings.capacity)
        self.processes = ProcessTable(settings.home / "processes", settings.owner)
        self.containers = Containers(self.processes)
        self.logs = Logs(settings.account_id, settings.region, self._log_delay if self.strictness.logs else None)
        self.metrics = Metrics(self.clock.now)
        self.objects = Objects(settings.account_id, settings.region)
        self.propagation = Propagation(self.clock, settings.strictness)
        self.credentials = Credentials(settings, self.propagation)
        self.authority = Authority(settings.account_id, settings.region, settings.iam, self.propagation)
        self.links = Links()
        self.feed = RequestFeed()
        self.quotas = Quotas(settings.account)
        self._closers: list[Callable[[], None]] = []
        self._preparations: dict[str, Callable[[], None]] = {}
        self._before_each: dict[str, Callable[[], object]] = {"logs": self.logs.flush}
        self._preparing = threading.RLock()
        self._lock = threading.Lock()

    def _log_delay(self, number: int) -> float:
        return self.strictness.logs.drawn(self.strictness.seed, "logs", number) / self.clock.scale

    def shows_tags(self, created: float) -> bool:
        """Return whether the tags of what was made at a Unix time are shown by now."""
        return (time.time() - created) * self.clock.scale >= self.strictness.tags.most

    def objects_of(self, role: Role, kms_key: str | None = None) -> ObjectsOfRole:
        """Return S3 as a role reaches it; what it stores is sealed with a key of KMS, if one is named."""
        return ObjectsOfRole(self.settings.account_id, self.settings.region, role, kms_key)

    def before_first_request(self, services: Iterable[str], prepare: Callable[[], None]) -> None:
        """Have `prepare` called once, before the services (by their signing names) are asked or looked at."""
        self._preparations.update(dict.fromkeys(services, prepare))

    def before_each_request(self, service: str, tell: Callable[[], object]) -> None:
        """Have `tell` called before moto sees each request to the service (by its signing name)."""
        self._before_each[service] = tell

    def is_prepared(self, service: str) -> bool:
        """Return whether all is done that is to be done before the first request to a service."""
        return service not in self._preparations

    def before_request(self, service: str) -> None:
        """Do what is to be done before each request to a service."""
        if service in self._before_each:
            self._before_each[service]()

    def prepare(self, service: str) -> None:
        """Do once what is to be done before the first request to a service."""
        with self._preparing:
            wanted = self._preparations.get(service)
            if wanted is not None:
                wanted()
                self._preparations = {name: each for name, each in self._preparations.items() if each is not wanted}

    def on_shutdown(self, close: Callable[[], None]) -> None:
        """Have `close` called when the server stops, before the children are ended; the last registered goes first."""
        with self._lock:
            self._closers.append(close)

    def shutdown(self) -> None:
        """End the periodic work, call the closers, end every child. A closer that fails is reported and passed over."""
        self.periodic.close()
        with self._lock:
            closers, self._closers = self._closers[::-1], []
        for close in closers:
            try:
                close()
            except Exception as error:  # noqa: BLE001 the children must be ended whatever happens here
                print(f"localaws: {close} failed at shutdown: {error!r}", file=sys.stderr)
        self.processes.stop_all()
        self.logs.close()
