"""One server: a lock on its home, a socket on loopback, the services, and an end that leaves nothing running."""

import fcntl
import importlib
import json
import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import uvicorn
from starlette.routing import BaseRoute

from localaws.core import Core
from localaws.errors import AlreadyRunning, PortTaken
from localaws.settings import Settings

EXECUTING_SERVICES = ("localaws.s3", "localaws.sagemaker", "localaws.functions")
SHUTDOWN_SECONDS = 3


@dataclass(frozen=True)
class ServerRecord:
    """What `home/server.json` says of the running server."""

    pid: int
    created: float
    port: int
    region: str
    account_id: str
    time_scale: float

    def settings(self, home: Path) -> Settings:
        """Return the settings that the server runs with."""
        return Settings(
            home=home, port=self.port, region=self.region, account_id=self.account_id, time_scale=self.time_scale
        )


def serve(settings: Settings, announce: Any = print) -> None:
    """Serve until SIGINT or SIGTERM; every process that was started is gone when this returns.

    Raises:
        AlreadyRunning: a server with this home is up.
        PortTaken: another program listens on the port.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    with _only_one(settings.home), _listen(settings.port) as listener:
        settings = replace(settings, port=listener.getsockname()[1])
        _raise_file_limit()
        _configure_moto(settings)
        core = Core(settings)
        core.processes.reap_orphans()
        try:
            _serve(core, listener, announce)
        finally:
            core.shutdown()
            (settings.home / "server.json").unlink(missing_ok=True)


def read_record(home: Path) -> ServerRecord | None:
    """Return the record of the server that runs with `home`, or None if none does."""
    try:
        record = ServerRecord(**json.loads((home / "server.json").read_text()))
        return record if psutil.Process(record.pid).create_time() == record.created else None
    except (FileNotFoundError, psutil.NoSuchProcess):
        return None


def _serve(core: Core, listener: socket.socket, announce: Any) -> None:
    from localaws.front import build_app

    app = build_app(core, _install(core))
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        timeout_keep_alive=120,
        backlog=2048,
    )
    server = _Server(config, started=lambda: _announce(core.settings, announce))
    server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn's server that tells when it answers."""

    def __init__(self, config: uvicorn.Config, started: Any) -> None:
        super().__init__(config)
        self._tell = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell()


def _install(core: Core) -> list[BaseRoute]:
    routes: list[BaseRoute] = []
    for name in EXECUTING_SERVICES:
        routes.extend(importlib.import_module(name).install(core))
    return routes


def _announce(settings: Settings, announce: Any) -> None:
    record = ServerRecord(
        pid=os.getpid(),
        created=psutil.Process().create_time(),
        port=settings.port,
        region=settings.region,
        account_id=settings.account_id,
        time_scale=settings.time_scale,
    )
    part = settings.home / "server.json.part"
    part.write_text(json.dumps(asdict(record)))
    part.replace(settings.home / "server.json")
    announce(f"# localaws at {settings.url}, home {settings.home}, {time.strftime('%H:%M:%S')}")
    for name, value in settings.environment.items():
        announce(f"export {name}={value}")


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            record = read_record(home)
            where = f" at http://127.0.0.1:{record.port} (pid {record.pid})" if record else ""
            raise AlreadyRunning(
                f"localaws is running already with home {home}{where}; stop it: python -m localaws stop"
            ) from None
        yield


@contextmanager
def _listen(port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise PortTaken(
                f"127.0.0.1:{port} cannot be listened on ({error.strerror}): choose another with --port, 0 = any free"
            ) from error
        listener.listen(2048)
        yield listener


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(65_536, hard) if hard != resource.RLIM_INFINITY else 65_536
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _configure_moto(settings: Settings) -> None:
    """Set what moto reads from the environment; must run before moto is imported."""
    os.environ["MOTO_ACCOUNT_ID"] = settings.account_id
    os.environ["MOTO_S3_DEFAULT_KEY_BUFFER_SIZE"] = str(64 * 1024)
    os.environ.setdefault("AWS_DEFAULT_REGION", settings.region)
