"""Starts or adopts Prefect's server on loopback, in the background, and returns the variables that its clients need.

Three things take most of its start: compiling and importing it (5.6 s of CPU, 2.6 s with bytecode), creating its
database by a hundred migrations (about 6 s), and creating the work pool, which imports a client (1.7 s). `prepare`
therefore creates a database with the pool once, beside the environment's packages, and each new home copies it.

The server answers only who sends the home's password (`<home>/prefect/password`, mode 0600), because other users of the
machine reach its port as well. Foreign web pages are refused before that (`prefect_guard.py`).
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import importlib.metadata
import os
import re
import secrets
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from kennel.servers import processes, work_pool
from kennel.servers.isolation import isolate_prefect
from kennel.servers.ports import free_port, is_free, listens
from kennel.terminal.console import say
from tasks.run.command_line import path_argument
from tasks.run.disk import disk_boundary, pieces_of
from tasks.run.errors import StageFailed, WaitTimedOut
from tasks.run.own_files import READ_AND_WRITE, open_own, replacing
from tasks.run.sealed import read_regular

NAME = "prefect"
PREFERRED_PORT = 4578
START_SECONDS = 90.0
PREPARE_SECONDS = 300.0
_NO_TELEMETRY = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
_PATIENCE = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
"""How long a client waits for the server that it starts itself; Prefect's 20 s are too few on a busy machine."""

_LEASES = "prefect.server.concurrency.lease_storage.filesystem"
"""Leases in memory end with the server: a run that goes on is cancelled then, and one that is dead keeps its slot."""

_PASSWORD = re.compile(r"kennel:[\w-]{32}")


def settings_for(home: Path, url: str) -> dict[str, str]:
    """Return the environment variables of Prefect's clients: this home, this server, its password, no telemetry."""
    return {
        "PREFECT_HOME": str(folder(home)),
        "PREFECT_API_URL": api_url(url),
        "PREFECT_API_AUTH_STRING": _password(home),
        **_NO_TELEMETRY,
        "PREFECT_LOGGING_EXTRA_LOGGERS": "kennel",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    }


def begin(home: Path, *, port: int | None = None) -> processes.BackgroundProcess:
    """Start the server without waiting for it, or adopt the one that runs for this home.

    It takes `port`, or that of the server before it, if no other program has it, because shells and workers have its
    address. At another port it has another password, because whoever has the old port may have been sent the old one.

    Raises:
        StageFailed: there is no free port.
    """
    with processes.starting(home, NAME):
        running, before = processes.find(home, NAME), processes.last(home, NAME)
        if running is not None and _kept_password(home) and _database(home).exists():
            return running
        if running is not None:
            processes.stop(home, NAME)  # its folder was removed or damaged: nobody knows its password
        _set_damaged_database_aside(home)
        _copy_prepared_database(home)
        chosen = port if port and is_free(port) else free_port(port_of(before) if before else PREFERRED_PORT)
        if before is not None and chosen != port_of(before):
            password_path(home).unlink(missing_ok=True)
        url = f"http://127.0.0.1:{chosen}"
        command = [sys.executable, "-P", "-m", "kennel.servers.prefect_start", str(chosen)]
        environment = {**os.environ, **settings_for(home, url), **_server_settings(home, url)}
        return processes.spawn(home, NAME, command, environment=environment, url=url)


def named_server(home: Path) -> processes.BackgroundProcess | None:
    """Return the server of this home that `PREFECT_API_URL` names, even if it has ended since, else None."""
    started = processes.last(home, NAME)
    return started if started and os.environ.get("PREFECT_API_URL") == api_url(started.url) else None


def api_url(url: str) -> str:
    """Return the address that Prefect's clients take for a server."""
    return f"{url}/api"


def port_of(server: processes.BackgroundProcess) -> int:
    """Return the port of a server that runs or ran."""
    return int(server.url.rpartition(":")[2])


def wait(server: processes.BackgroundProcess, *, deadline_seconds: float = START_SECONDS) -> None:
    """Wait until the server answers.

    Raises:
        StageFailed: the server ended; the error has the end of its log.
        WaitTimedOut: the server did not answer within the deadline.
    """
    begun = time.monotonic()
    while not serves(server):
        now = time.monotonic()
        if not server.is_alive:
            raise failed(server, "it ended while starting")
        if now - begun > deadline_seconds:
            why = f"{server.url} did not answer in {now - begun:.0f} s"
            again = f"kill -9 {server.pid}, then the same command again; the log of the server is {server.log}"
            raise WaitTimedOut("Prefect's server", "it does not start", why, again)
        time.sleep(0.05)


def failed(server: processes.BackgroundProcess, what: str, why: str = "") -> StageFailed:
    """Return the error of a server that ended: with the end of its log, or only that its port was taken."""
    tail = Path(server.log).read_text(errors="replace").strip()[-2000:]
    last = tail.rpartition("\n")[2]
    if last == f"port {port_of(server)} is taken by another program":
        remedy = "run the same command again: it takes another free port"
        return StageFailed("Prefect's server", what, "; ".join(filter(None, [why, last])), remedy)
    return StageFailed("Prefect's server", what, f"{why}\n{tail}".strip(), f"less {path_argument(server.log)}")


def prepare() -> Path:
    """Create the database that new homes copy, unless it exists, and return its path.

    Raises:
        StageFailed: Prefect's migrations failed.
        WaitTimedOut: Prefect's migrations did not end in time.
    """
    prepared = _prepared_database()
    if prepared.exists():
        return prepared
    prepared.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kennel-prefect-", dir=prepared.parent) as folder:
        environment = dict(os.environ)
        isolate_prefect(environment)
        environment |= {"PREFECT_HOME": folder, **_NO_TELEMETRY, _PATIENCE: f"{PREPARE_SECONDS:.0f}"}
        _once(["-m", "prefect", "server", "database", "upgrade", "--yes"], environment)
        _once(["-m", "kennel.servers.work_pool"], environment)  # without PREFECT_API_URL the client serves itself
        database = Path(folder) / "prefect.db"
        _require_pool(database)
        database.replace(prepared)
    return prepared


def _require_pool(database: Path) -> None:
    """Bring everything into the one file (Prefect leaves SQLite's write-ahead log beside it) and look for the pool."""
    with contextlib.closing(sqlite3.connect(database)) as opened:
        opened.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pools = opened.execute("SELECT name FROM work_pool").fetchall()
    if (work_pool.NAME,) not in pools:
        why = f"it has {pools} and not {work_pool.NAME}"
        raise StageFailed("Prefect's database", "the work pool is missing", why, "kennel prepare")


def _once(arguments: list[str], environment: Mapping[str, str]) -> None:
    """Run one of Prefect's programs on the database that is being prepared."""
    limit, where = PREPARE_SECONDS, "Prefect's database"
    command = [sys.executable, "-P", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=environment["PREFECT_HOME"],  # Prefect reads .env and prefect.toml of the current folder
            env=environment,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        why = f"{' '.join(arguments)} was not done after {limit:.0f} s"
        raise WaitTimedOut(where, "it was not created", why, "kennel prepare") from error
    if done.returncode != 0:
        raise StageFailed(where, f"{' '.join(arguments)} failed", done.stderr[-2000:], "kennel prepare")


def _set_damaged_database_aside(home: Path) -> None:
    """Rename a database that SQLite cannot use, say so, and let a new one be made; it has the history of flows only."""
    database = _database(home)
    why = database_damage(database)
    if why is None:
        return
    number = 1
    while os.path.lexists(aside := database.with_name(f"{database.name}.damaged-{number}")):
        number += 1
    with disk_boundary("Prefect's server", aside):
        database.rename(aside)
        for ending in ("-wal", "-shm"):
            database.with_name(database.name + ending).unlink(missing_ok=True)
    say(f"WARNING: {database} is damaged: {why}; it is kept as {aside}, and the history of flows begins anew")


def database_damage(database: Path) -> str | None:
    """Return what is wrong with a database of SQLite, or None if it is whole or missing."""
    if not os.path.lexists(database):
        return None
    if database.is_symlink() or not database.is_file():
        return "it is not a file"
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=1.0)) as opened:
            found = opened.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:  # another process uses it
        return None if "locked" in str(error) else str(error)
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if found == "ok" else str(found)


def _copy_prepared_database(home: Path) -> None:
    database, prepared = _database(home), _prepared_database()
    if prepared.exists() and not database.exists():
        with disk_boundary("Prefect's server", database, prepared.stat().st_size):
            database.parent.mkdir(parents=True, exist_ok=True)
            with replacing(database) as file:
                file.writelines(pieces_of(prepared, "Prefect's server"))


def _prepared_database() -> Path:
    """Return the path of the prepared database; the version is in it, because each version has its own migrations."""
    version = importlib.metadata.version("prefect")
    return Path(sys.prefix) / "share" / "kennel" / f"prefect-{version}-pool.db"


def folder(home: Path) -> Path:
    """Return Prefect's folder in a kennel home."""
    return home.resolve() / "prefect"


def password_path(home: Path) -> Path:
    """Return the file with what Prefect's page asks for, as `user:password`; it outlives the server."""
    return folder(home) / "password"


def _password(home: Path) -> str:
    """Return this home's password, which is made at the first call; two commands that make it at once agree.

    Raises:
        DiskFailed: it cannot be read or written.
    """
    path = password_path(home)
    with disk_boundary("Prefect's server", path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(open_own(path, READ_AND_WRITE), "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            password = _kept_password(home)
            if not password:
                password = f"kennel:{secrets.token_urlsafe(24)}"
                file.truncate(0)
                file.write(password)
    return password


def _kept_password(home: Path) -> str:
    """Return the password in the home; "" if there is none, or it is not as it was written."""
    try:
        text = read_regular(password_path(home)).decode()
    except (OSError, ValueError):
        return ""
    return text if _PASSWORD.fullmatch(text) else ""


def _server_settings(home: Path, url: str) -> dict[str, str]:
    """Return the server's own variables; its page asks the address that it was loaded from, by whatever name."""
    return {
        "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{_database(home)}",
        "PREFECT_SERVER_API_AUTH_STRING": _password(home),
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": _LEASES,
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": url,
        "PREFECT_UI_API_URL": "/api",
    }


def _database(home: Path) -> Path:
    return folder(home) / "prefect.db"


def serves(server: processes.BackgroundProcess, timeout_seconds: float = 2.0) -> bool:
    """Tell whether that very process answers in time at its address, and no other program that has its port."""
    return listens(server.pid, port_of(server)) and answers(server.url, timeout_seconds)


def answers(url: str, timeout_seconds: float = 2.0) -> bool:
    """Tell whether a server answers in time."""
    try:
        with urllib.request.urlopen(f"{url}/api/health", timeout=timeout_seconds) as answer:  # noqa: S310  loopback
            return bool(answer.status == 200)
    except (http.client.HTTPException, OSError):  # another program may have its port
        return False
