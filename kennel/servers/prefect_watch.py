"""Watches Prefect's server while a flow runs: says at once that it has ended, and starts it again on its port.

Prefect's clients repeat a call for a minute, silently. The server comes back in seconds with the same database, and
listens before its imports, so that they find it. If another program has taken the port meanwhile, the clients would
send it their password: the server starts elsewhere, with another password, and the command ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from kennel.servers import prefect, processes
from tasks.run.errors import StageFailed

MOST_STARTS = 3
ANSWER_SECONDS = prefect.START_SECONDS
"""How long a new server may take until it answers; on an idle machine it takes 3 s."""


class PrefectWatch:
    """The server of a home, if this command uses it; `look` is called about every second, by one thread."""

    def __init__(self, home: Path, say: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._home, self._say, self._clock = home, say, clock
        self._server = prefect.named_server(home)
        self._starts = 0
        self._since: float | None = None

    def look(self) -> None:
        """Start the server again if it has ended, and say so; return at once.

        Raises:
            StageFailed: it ended again and again, the new one does not answer, another program has its port, or
                `kennel down` stopped it.
        """
        server = self._server
        if server is None:
            return
        if not server.is_alive:
            self._start_again(server)
        elif self._since is not None:
            self._wait_for(server, self._since)

    def _start_again(self, ended: processes.BackgroundProcess) -> None:
        if processes.last(self._home, prefect.NAME) is None:
            raise _gone(ended, "kennel down stopped it")
        if self._starts == MOST_STARTS:
            raise _gone(ended, f"it was started again {MOST_STARTS} times and ended each time")
        self._starts += 1
        self._since = self._since or self._clock()
        self._say(f"Prefect's server has ended ({ended.url}, process {ended.pid}); it is started again")
        self._server = prefect.begin(self._home, port=prefect.port_of(ended))
        if self._server.url != ended.url:
            raise _moved(ended, self._server)

    def _wait_for(self, server: processes.BackgroundProcess, since: float) -> None:
        seconds = self._clock() - since
        if prefect.serves(server, 0.5):
            self._since, self._starts = None, 0
            self._say(f"Prefect's server answers again after {seconds:.0f} s; the flow goes on")
        elif seconds > ANSWER_SECONDS:
            raise _gone(server, f"{server.url} did not answer in {seconds:.0f} s")


def _moved(ended: processes.BackgroundProcess, new: processes.BackgroundProcess) -> StageFailed:
    where = f"another program has its port ({ended.url}); it starts at {new.url} with another password"
    return StageFailed("Prefect's server", "it ended while the flow ran", where, "ss -ltnp, and repeat the command")


def _gone(server: processes.BackgroundProcess, why: str) -> StageFailed:
    return prefect.failed(server, "it ended while the flow ran", why)
