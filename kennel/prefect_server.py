"""Prefect's server on loopback with a home of its own, in the background, and the environment that its clients need.

Its start is dominated by two things: importing it (about 4.5 s of CPU, nothing to cut) and creating its database by a
hundred migrations (about 6 s). The second is done once, by `prepare`, into a file beside the environment's packages
that each new home copies.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from kennel import processes
from kennel.ports import free_port
from tasks.errors import StageFailed, WaitTimedOut

NAME = "prefect"
PREFERRED_PORT = 4578
START_SECONDS = 90.0
PREPARE_SECONDS = 120.0
SAY_EVERY_SECONDS = 8.0


def settings_for(home: Path, url: str) -> dict[str, str]:
    """Return the environment of Prefect's clients: this home, this server, nothing sent elsewhere."""
    return {
        "PREFECT_HOME": str(_prefect_home(home)),
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "kennel",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    }


def begin(home: Path) -> processes.Recorded:
    """Start the server without waiting for it, or adopt the one that runs for this home."""
    running = processes.find(home, NAME)
    if running is not None:
        return running
    _copy_prepared_database(home)
    port = free_port(PREFERRED_PORT)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, **settings_for(home, url), **_quiet_server()}
    return processes.spawn(home, NAME, command, environment=environment, url=url)


def wait(server: processes.Recorded, say: Callable[[str], None], *, deadline_seconds: float = START_SECONDS) -> None:
    """Wait until the server answers.

    Raises:
        StageFailed: it ended; with the end of its log.
        WaitTimedOut: it did not answer within the deadline.
    """
    begun = said = time.monotonic()
    while not _answers(server.url):
        now = time.monotonic()
        if not server.is_alive:
            tail = Path(server.log).read_text(errors="replace")[-2000:]
            raise StageFailed("Prefect's server", "it ended while starting", tail, f"less {server.log}")
        if now - begun > deadline_seconds:
            why = f"{server.url} did not answer in {now - begun:.0f} s"
            raise WaitTimedOut("Prefect's server", "it does not come up", why, f"less {server.log}")
        if now - said > SAY_EVERY_SECONDS:
            say(f"Prefect's server: starting, {now - begun:.0f} s")
            said = now
        time.sleep(0.05)


def prepare() -> Path:
    """Create the database that new homes start from, unless it is there; return its path.

    Raises:
        StageFailed, WaitTimedOut: Prefect's migrations failed, or were not done in time.
    """
    prepared = _prepared_database()
    if prepared.exists():
        return prepared
    prepared.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kennel-prefect-", dir=prepared.parent) as folder:
        environment = {**os.environ, "PREFECT_HOME": folder, "DO_NOT_TRACK": "1"}
        environment.pop("PREFECT_API_URL", None)
        command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=PREPARE_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            why = f"its migrations were not done after {PREPARE_SECONDS:.0f} s"
            raise WaitTimedOut("Prefect's database", "it was not created", why, "make setup") from error
        database = Path(folder) / "prefect.db"
        if done.returncode != 0 or not database.exists():
            raise StageFailed("Prefect's database", "its migrations failed", done.stderr[-2000:], "make setup")
        database.replace(prepared)
    return prepared


def _copy_prepared_database(home: Path) -> None:
    database, prepared = _prefect_home(home) / "prefect.db", _prepared_database()
    database.parent.mkdir(parents=True, exist_ok=True)
    if prepared.exists() and not database.exists():
        part = database.with_suffix(".part")
        shutil.copyfile(prepared, part)
        part.replace(database)


def _prepared_database() -> Path:
    """Keyed by the version: another Prefect has other migrations."""
    version = importlib.metadata.version("prefect")
    return Path(sys.prefix) / "share" / "kennel" / f"prefect-{version}.db"


def _prefect_home(home: Path) -> Path:
    return home.resolve() / "prefect"


def _quiet_server() -> dict[str, str]:
    return {"PREFECT_LOGGING_SERVER_LEVEL": "WARNING"}


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/health", timeout=2.0) as answer:  # noqa: S310  a loopback http URL
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
