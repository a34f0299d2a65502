"""Watches the embedded AWS while a command uses it: says that it does not answer, and when it answers again.

Clients wait a minute for an answer and repeat the call, silently, so a server that a signal stopped loses nothing of a
flow when it goes on within a few minutes. A server that has ended is not told here: its clients fail at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
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
    """A watch over the server at a URL, whose process is `pid`, if that is known; `look` is called by one thread."""

    def __init__(
        self, url: str, pid: int | None, say: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url, self._pid, self._say, self._clock = url.rstrip("/"), pid, say, clock
        self._answered = clock()
        self._said: float | None = None
        self._has_ended = threading.Event()

    def start(self) -> None:
        """Look about every two seconds, in a thread that ends with the process."""
        threading.Thread(target=self._run, name="localaws watch", daemon=True).start()

    def end(self) -> None:
        """Look no more."""
        self._has_ended.set()

    def look(self) -> None:
        """Ask the server, and say what changed; it takes up to two seconds."""
        is_silent = _is_silent(self._url)
        now = self._clock()
        seconds = now - self._answered
        if not is_silent:
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


def _is_silent(url: str) -> bool:
    """Tell whether a server accepts a connection, or would, and does not answer."""
    try:
        fetch_from_loopback(f"{url}{LOCAL_HEALTH_PATH}", LOOK_SECONDS)
    except TimeoutError:
        return True
    except HTTPError:
        return False
    except URLError as error:
        return isinstance(error.reason, TimeoutError)
    except (OSError, HTTPException, ValueError):
        return False
    return False
