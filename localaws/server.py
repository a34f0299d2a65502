"""Runs a server: locks its home, listens on loopback, installs the services, and leaves nothing running at the end."""

import asyncio
import fcntl
import gc
import importlib
import os
import resource
import shlex
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from secrets import token_urlsafe
from types import FrameType
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from localaws import shell
from localaws.auth.root_key import AccessKey, RootKey, keep, keep_operator
from localaws.auth.routes import CONSOLE, PREFIX
from localaws.capacity import format_rule
from localaws.core import Core
from localaws.ec2.addresses import choose_ssh_port
from localaws.errors import AlreadyRunning, NotItsHome, PortTaken, UnknownProcessor
from localaws.folders import open_own, remove_folder, sealed, write_private
from localaws.lossy_log import ServerOutput
from localaws.moto_import import parse_endpoints_once
from localaws.process_tree import kill_descendants, start_mark
from localaws.programs.call_filter import require_known_processor
from localaws.programs.container import join_own_keyring
from localaws.record import ServerRecord, already_running, read_record
from localaws.settings import Settings

EXECUTING_SERVICES = (
    "localaws.pulse",
    "localaws.s3",
    "localaws.iam",
    "localaws.kms",
    "localaws.cloudwatch",
    "localaws.insights",
    "localaws.sagemaker",
    "localaws.functions",
    "localaws.autoscaling",
    "localaws.ec2",
    "localaws.quotas.service",
    "localaws.budgets",
)
SHUTDOWN_SECONDS = 3
UNREAD_SECONDS = 0.1
DATE_SECONDS = 1.0  # between two changes of the replies' Date header
RESET_PATH = PREFIX + "reset"
OPEN_FILES, LEAST_OPEN_FILES = 65_536, 256
FOLDERS = (
    "endpoints",
    "functions",
    "instances",
    "jobs",
    "objects",
    "processes",
)  # in home; emptied when a server starts

Announce = Callable[[str], None]


@dataclass(frozen=True)
class HomeKeys:
    """The root user's key, the operator's if there is one, and the console's token, which is of one server only."""

    root: RootKey
    operator: AccessKey | None
    console_token: str = field(repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        of_operator = (self.operator.secret_access_key,) if self.operator else ()
        return self.root.secret_access_key, self.root.token, *of_operator


def serve(settings: Settings, announce: Announce) -> None:
    """Serve until SIGINT or SIGTERM; every process that was started is gone when this returns.

    After SIGHUP, or `POST /_localaws/reset`, all state is gone, and the server goes on at the same port. Who connects
    meanwhile waits.

    Raises:
        AlreadyRunning: a server with this home is up.
        NotItsHome: the home has folders that look like localaws's and are not, or no file in the place of one.
        PortTaken: another program listens on the port.
        OSError: the home cannot be written, or too few files may be open.
        UnknownProcessor: users' programs cannot be kept from the system calls of this machine's processor.
    """
    _require_known_processor()
    join_own_keyring()  # before there are threads: each has its own
    settings.home.mkdir(parents=True, exist_ok=True)
    sys.stdout, sys.stderr = ServerOutput(1), ServerOutput(2)
    with _only_one(settings.home), _listen(settings.host, settings.port) as listener:
        ssh_port = settings.ssh_port or choose_ssh_port(settings.owner)
        settings = replace(settings, port=listener.getsockname()[1], ssh_port=ssh_port)
        _raise_file_limit()
        _configure_moto(settings)
        operator = keep_operator(settings.home) if settings.operator else None
        keys = HomeKeys(keep(settings.home), operator, token_urlsafe(32))
        while _serve_once(settings, keys, listener, announce):
            _forget(settings.home)


def _require_known_processor() -> None:
    try:
        require_known_processor()
    except OSError as error:
        raise UnknownProcessor(str(error)) from error


def _serve_once(settings: Settings, keys: HomeKeys, listener: socket.socket, announce: Announce) -> bool:
    """Serve with a state that is new until a signal ends it; return whether that asks for a reset."""
    core = Core(settings)
    core.processes.adopt_orphans()
    core.processes.reap_orphans()
    ending = _Ending()
    try:
        _run(core, keys, listener, announce, ending)
    finally:
        core.shutdown()
        kill_descendants()
        (settings.home / "server.json").unlink(missing_ok=True)
    return ending.is_reset


class _Ending:
    """Why the server ends: set by a signal, whenever it comes."""

    def __init__(self) -> None:
        self.is_asked = False
        self.is_urgent = False
        self.is_reset = False
        self.wake: Callable[[], object] = lambda: None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._handle)

    def _handle(self, number: int, _: FrameType | None) -> None:
        self.is_urgent = self.is_asked and number == signal.SIGINT
        if number == signal.SIGHUP:
            self.is_reset = self.is_reset or not self.is_asked  # asked for twice, it is still a reset
        else:
            self.is_reset = False
        self.is_asked = True
        self.wake()

    def route(self, generation: str) -> BaseRoute:
        """Return the route that asks for a reset. `generation`: the state's name, which the next one will not have."""

        async def reset(_: Request) -> Response:
            self._handle(signal.SIGHUP, None)
            return JSONResponse({"generation": generation}, 202, {"connection": "close"})

        return Route(RESET_PATH, reset, methods=["POST"])


class _Server(uvicorn.Server):
    """uvicorn's server, ended by `_Ending` instead of its own handlers, which would kill us before our children."""

    def __init__(
        self, config: uvicorn.Config, started: Callable[[], None], stopping: Callable[[], None], ending: _Ending
    ) -> None:
        super().__init__(config)
        self._tell, self._end_streams = started, stopping
        self._ending = ending

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_streams()
        dropping = asyncio.create_task(self._drop_viewers_who_do_not_read())
        try:
            await super().shutdown(sockets)
        finally:
            dropping.cancel()

    async def _drop_viewers_who_do_not_read(self) -> None:
        """Cut the console's connections on which something waits to be read; the shutdown would wait for their clients.

        It looks again and again, because an answer may be written only after the shutdown began. A request of AWS's has
        its `SHUTDOWN_SECONDS` to be answered and read.
        """
        while True:
            for connection in list(self.server_state.connections):
                scope, transport = connection.scope, connection.transport  # type: ignore[union-attr]
                if scope and scope["path"].startswith(CONSOLE) and transport.get_write_buffer_size() > 0:
                    transport.abort()
            await asyncio.sleep(UNREAD_SECONDS)

    async def main_loop(self) -> None:
        """Look once a second, and when the end is asked for: uvicorn's own loop looks ten times a second."""
        asked, loop = asyncio.Event(), asyncio.get_running_loop()
        self._ending.wake = lambda: loop.call_soon_threadsafe(asked.set)
        try:
            while not await self.on_tick(0):
                with suppress(TimeoutError):
                    await asyncio.wait_for(asked.wait(), DATE_SECONDS)
        finally:
            self._ending.wake = lambda: None  # a later signal finds the loop closed

    async def on_tick(self, counter: int) -> bool:
        self.force_exit = self._ending.is_urgent
        return self._ending.is_asked or await super().on_tick(counter)


def _run(core: Core, keys: HomeKeys, listener: socket.socket, announce: Announce, ending: _Ending) -> None:
    from localaws.console.site import Console
    from localaws.front import build_app

    console = Console(core, keys.console_token, keys.secrets)
    routes: list[BaseRoute] = [ending.route(core.generation), console.route]
    for name in EXECUTING_SERVICES:
        routes.extend(importlib.import_module(name).install(core))
    if keys.operator is not None:
        _make_operator(core.settings, keys.operator)
    config = uvicorn.Config(
        build_app(core, routes, keys.root),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        lifespan="off",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        timeout_keep_alive=120,
    )
    _Server(config, lambda: _announce(core, keys, announce), console.close, ending).run(sockets=[listener.dup()])


def _make_operator(settings: Settings, key: AccessKey) -> None:
    from localaws.iam.operator import make_operator

    if settings.operator is not None:
        make_operator(settings.account_id, settings.region, settings.operator, key)


def _announce(core: Core, keys: HomeKeys, announce: Announce) -> None:
    _shorten_collections()
    settings = core.settings
    record = ServerRecord(
        pid=os.getpid(),
        created=start_mark(os.getpid()),
        started=core.clock.origin,
        host=settings.host,
        port=settings.port,
        region=settings.region,
        account_id=settings.account_id,
        time_scale=settings.time_scale,
        ssh_port=settings.ssh_port,
        capacity=[format_rule(*rule) for rule in settings.capacity.items()],
        instance_startup_seconds=settings.instance_startup_seconds,
        iam=settings.iam,
        account=settings.account,
        generation=core.generation,
        access_key_id=keys.root.access_key_id,
        secret_access_key=keys.root.secret_access_key,
        token=keys.root.token,
        operator_access_key_id=keys.operator.access_key_id if keys.operator else "",
        operator_secret_access_key=keys.operator.secret_access_key if keys.operator else "",
        home=str(settings.home.resolve()),
        strict=settings.strictness.is_late,
        console_token=keys.console_token,
    )
    write_private(settings.home / "server.json", sealed(asdict(record)))
    announce(f"# localaws at {settings.url}, home {settings.home}")
    is_seen = sys.stdout.isatty()  # in a log, the secret would lie about
    for name, value in {**record.environment, **shell.proxy_bypass(os.environ)}.items():
        if is_seen or name != "AWS_SECRET_ACCESS_KEY":
            announce(f"export {name}={shlex.quote(value)}")
    if not is_seen:
        announce(f"# with the key: {shell.command('env', settings.home)}")


def _shorten_collections() -> None:
    """Look at each long-lived object once: everything stands still while all of moto's are searched for cycles.

    What outlives a full collection is left out of later ones. A cycle of such objects is never freed, which in a server
    that lives for a day or two costs little.
    """
    gc.freeze()
    if _freeze_what_is_left not in gc.callbacks:
        gc.callbacks.append(_freeze_what_is_left)


def _freeze_what_is_left(phase: str, about: Mapping[str, int]) -> None:
    if phase == "stop" and about["generation"] == 2:
        gc.freeze()


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    foreign = [name for name in FOLDERS if (home / name).exists() and not (home / "lock").exists()]
    if foreign:
        raise NotItsHome(f"home {home} was not made by localaws, which would empty its folders {', '.join(foreign)}")
    with open_own(home / "lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(already_running(home, read_record(home))) from None
        for name in FOLDERS:
            if (home / name).is_symlink():
                remove_folder(home / name)  # what it leads to is not localaws's to empty
            elif (home / name).exists() and not (home / name).is_dir():
                raise NotItsHome(f"{home / name} is not a folder; remove or move it")
        home.chmod(0o700)  # one of an older release may be open to others
        yield


@contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(2048)
        except OSError as error:
            raise PortTaken(
                f"cannot listen at {host}:{port} ({error.strerror}); choose another port with --port (0: any free one)"
            ) from error
        yield listener


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < LEAST_OPEN_FILES:
        raise OSError(f"this shell allows {hard} open files, and {LEAST_OPEN_FILES} are needed at least (ulimit -n)")
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _configure_moto(settings: Settings) -> None:
    """Set what moto reads from the environment; must run before moto is imported."""
    os.environ["MOTO_ACCOUNT_ID"] = settings.account_id
    os.environ["AWS_DEFAULT_REGION"] = settings.region
    os.environ["MOTO_DISABLE_GLOBAL_CORS"] = "true"  # else each answer lets pages of any origin read it
    parse_endpoints_once()


def _forget(home: Path) -> None:
    """Forget all state: the folders, moto's records, and what the collector of garbage was told to leave alone."""
    from moto.core.base_backend import BackendDict

    for name in FOLDERS:
        remove_folder(home / name)
    registered: list[Any] = getattr(BackendDict, "_instances")  # noqa: B009 mypy finds its type ambiguous
    for backends in list(registered):
        for kept in (backends, *vars(backends).values()):  # S3's knows the owner of each bucket besides
            if isinstance(kept, dict):
                kept.clear()
    registered.clear()
    gc.callbacks.remove(_freeze_what_is_left)
    gc.unfreeze()
    gc.collect()
