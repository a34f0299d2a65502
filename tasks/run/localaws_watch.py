"""Watches the embedded AWS while a command or a flow uses it: says that it does not answer, and when it answers again.

Clients wait a minute for an answer and repeat the call, silently, so a server that a signal stopped loses nothing of a
flow when it goes on within a few minutes. That a server has ended is told where no command explains it: its clients
fail at once, and a flow of a Prefect worker may not ask it for minutes.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from http.client import HTTPException
from urllib.error import HTTPError, URLError

import psutil

from tasks.run.machine import fetch_from_loopback
from tasks.run.settings import LOCAL_HEALTH_PATH

LOOK_SECONDS = 2.0
SILENT_SECONDS = 6.0  # on a busy machine an answer takes seconds
SAID_SECONDS = 8.0
"""How long the server may be silent until that is said, and how often it is said again."""


class LocalAwsWatch:
    """A watch over the server at a URL, whose process is `pid`, if that is known; `look` is called by one thread.

    `tells_end`: it also says that the server has ended.
    """

    def __init__(
        self,
        url: str,
        pid: int | None,
        say: Callable[[str], None],
        *,
        tells_end: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url, self._pid, self._say, self._clock = url.rstrip("/"), pid, say, clock
        self._tells_end = tells_end
        self._answered = clock()
        self._said: float | None = None
        self._has_ended = threading.Event()

    def start(self) -> None:
        """Look about every two seconds, in a thread that ends with the process.

        It has the caller's context, without which Prefect would not take a line for one of the flow run's.
        """
        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(self._run,), name="localaws watch", daemon=True).start()

    def end(self) -> None:
        """Look no more."""
        self._has_ended.set()

    def look(self) -> None:
        """Ask the server, and say what changed; it takes up to two seconds."""
        state = _state(self._url)
        now = self._clock()
        seconds = now - self._answered
        if state is _State.ENDED and self._tells_end:
            self._tells_end = False
            again = "kennel up starts another one there, then run the flow again"
            self._say(f"localaws, the embedded AWS, has ended: nothing answers at {self._url}; {again}")
        if state is not _State.SILENT:
            if self._said is not None:
                self._say(f"localaws answers again after {seconds:.0f} s; the command goes on")
            self._answered, self._said = now, None
        elif seconds >= SILENT_SECONDS and (self._said is None or now - self._said >= SAID_SECONDS):
            self._said = now
            self._say(f"localaws, the embedded AWS, has not answered for {seconds:.0f} s ({self._url}): {self._why()}")

    def _why(self) -> str:
        if self._pid is None:
            return "it is busy, was stopped or hangs; the command waits for it"
        try:
            is_stopped = psutil.Process(self._pid).status() == psutil.STATUS_STOPPED
        except psutil.Error:
            is_stopped = False
        if is_stopped:
            return f"a signal stopped process {self._pid} (SIGSTOP), and kill -CONT {self._pid} lets it go on"
        return f"process {self._pid} is busy or hangs; the command waits for it, and kennel down --yes ends it"

    def _run(self) -> None:
        while not self._has_ended.wait(LOOK_SECONDS):
            self.look()


class _State(Enum):
    """A server's: one that is silent accepts a connection, or would, and does not answer."""

    ANSWERS = auto()
    SILENT = auto()
    ENDED = auto()


def _state(url: str) -> _State:
    try:
        fetch_from_loopback(f"{url}{LOCAL_HEALTH_PATH}", LOOK_SECONDS)
    except TimeoutError:
        return _State.SILENT
    except HTTPError:
        return _State.ANSWERS
    except URLError as error:
        if isinstance(error.reason, TimeoutError):
            return _State.SILENT
        return _State.ENDED if isinstance(error.reason, ConnectionRefusedError) else _State.ANSWERS
    except (OSError, HTTPException, ValueError):
        return _State.ANSWERS
    return _State.ANSWERS
