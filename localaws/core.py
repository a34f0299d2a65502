"""What every executing service gets: settings, processes, logs, metrics, objects, credentials, and a say in the end."""

import sys
import threading
from collections.abc import Callable

from localaws.credentials import Credentials
from localaws.logs import Logs
from localaws.metrics import Metrics
from localaws.objects import Objects
from localaws.processes import ProcessTable
from localaws.settings import Settings


class Core:
    """The parts that executing services share. Making one starts no process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.processes = ProcessTable(settings.home / "processes", settings.owner)
        self.logs = Logs(settings.account_id, settings.region)
        self.metrics = Metrics(settings.account_id, settings.region)
        self.objects = Objects(settings.account_id, settings.region)
        self.credentials = Credentials(settings)
        self._closers: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def on_shutdown(self, close: Callable[[], None]) -> None:
        """Have `close` called when the server stops, before the children are ended; the last registered goes first."""
        with self._lock:
            self._closers.append(close)

    def shutdown(self) -> None:
        """Call the closers, then end every child. A closer that fails is reported and does not stop the rest."""
        with self._lock:
            closers, self._closers = self._closers[::-1], []
        for close in closers:
            try:
                close()
            except Exception as error:  # noqa: BLE001 the children must be ended whatever happens here
                print(f"localaws: {close} failed at shutdown: {error!r}", file=sys.stderr)
        self.processes.stop_all()
