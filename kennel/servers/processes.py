"""Starts, finds and ends the background processes of a kennel home, with all the processes that they started.

The record of a process is `<home>/processes/<name>.json`. Each process leads its own process group and has
`KENNEL_OWNER` in its environment, so that its children are found even when a record is lost or the leader was killed.
A record carries its checksum; one that is damaged counts as lost, and no process is ended that is not of this home.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from tasks.run.disk import disk_boundary
from tasks.run.own_files import APPEND, READ_AND_WRITE, open_own
from tasks.run.process_mark import is_running, runs, start_mark
from tasks.run.record_store import write_atomically
from tasks.run.sealed import Damaged, read_regular, seal, unseal

OWNER_VARIABLE = "KENNEL_OWNER"
STOP_SECONDS = 8.0
POLL_SECONDS = 0.02
ENVIRONMENT_SECONDS = 1.0


@dataclass(frozen=True)
class BackgroundProcess:
    """A background process; `created` is its `start_mark`, or in records of release 0.1.0 psutil's time."""

    name: str
    pid: int
    created: str | float
    url: str
    log: str

    @property
    def is_alive(self) -> bool:
        """Whether that very process (not another one with its pid) runs."""
        return is_running(self.pid, self.created)


def owner_of(home: Path) -> str:
    """Return the value of `KENNEL_OWNER` for processes of this home."""
    return str(home.resolve())


def spawn(
    home: Path, name: str, command: Sequence[str], *, environment: Mapping[str, str], url: str
) -> BackgroundProcess:
    """Start a program, given by its path, in its own session, log to `<home>/logs/<name>.log`, and record it."""
    log = home / "logs" / f"{name}.log"
    with disk_boundary(name, log):  # posix_spawn names the program whatever it cannot open
        log.parent.mkdir(parents=True, exist_ok=True)
        descriptor = open_own(log, APPEND)
    try:
        pid = os.posix_spawn(
            command[0],
            list(command),
            {**environment, OWNER_VARIABLE: owner_of(home)},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, descriptor, 1),
                (os.POSIX_SPAWN_DUP2, descriptor, 2),
            ],
            setsid=True,
        )
    finally:
        os.close(descriptor)
    recorded = BackgroundProcess(name, pid, start_mark(pid), url, str(log))
    _write(home, recorded)
    return recorded


def find(home: Path, name: str) -> BackgroundProcess | None:
    """Return the recorded process of that name if it runs and is of this home, else None."""
    recorded = last(home, name)
    if recorded is None or not recorded.is_alive:
        return None
    _wait_for_environment(recorded.pid)
    return recorded if is_owned(home, recorded.pid) else None


def last(home: Path, name: str) -> BackgroundProcess | None:
    """Return the process of that name that was started last, whether it runs or not; None when no record is read."""
    try:
        return _read(_path(home, name))
    except (OSError, Damaged):
        return None


def damaged(home: Path) -> list[str]:
    """Return what is wrong with each record that cannot be read; its process is found by its environment only."""
    found = []
    for path in sorted((home / "processes").glob("*.json")):
        try:
            _read(path)
        except (OSError, Damaged) as error:
            found.append(f"{path} is not used, because it is damaged: {error}")
    return found


@contextlib.contextmanager
def starting(home: Path, name: str) -> Iterator[None]:
    """Let one command at a time look for a process and start it; the others wait, and then find it."""
    path = _path(home, name).with_suffix(".lock")
    with disk_boundary(name, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = open_own(path, READ_AND_WRITE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def is_starting(home: Path, name: str) -> bool:
    """Tell whether a command is starting a process at this moment."""
    try:
        descriptor = open_own(_path(home, name).with_suffix(".lock"), os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def stop(home: Path, name: str) -> bool:
    """End a recorded process and its process group; tell whether it ran."""
    recorded = find(home, name)
    _forget(_path(home, name))  # first, because who watches the process then knows that it was meant
    if recorded is not None:
        _end([psutil.Process(recorded.pid), *_group(recorded.pid)])
    return recorded is not None


def _forget(path: Path) -> None:
    """Remove a record; what is no file is not ours to remove, and `damaged` names it."""
    with contextlib.suppress(IsADirectoryError, PermissionError):
        path.unlink(missing_ok=True)


def end_process(pid: int) -> None:
    """End a process that ends its own children: send SIGTERM, wait, then send SIGKILL."""
    with contextlib.suppress(psutil.NoSuchProcess):
        _end([psutil.Process(pid)])


def wake(pid: int) -> bool:
    """Let a process go on that was stopped (SIGSTOP, Ctrl-Z); tell whether it was."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_STOPPED:
            process.resume()
            return True
    return False


def stop_moved(home: Path) -> list[int]:
    """End what was started for this home before it was moved here, and return the process ids.

    They use files by their old paths. A copy ends nothing: there the home that they were started for still exists.
    """
    gone = {owner for owner in _owners(home) if owner != owner_of(home) and not os.path.lexists(owner)}
    return [pid for owner in sorted(gone) for pid in stop_strays(Path(owner))]


def _owners(home: Path) -> Iterator[str]:
    """Yield the homes for which the recorded processes that run were started."""
    for path in (home / "processes").glob("*.json"):
        with contextlib.suppress(OSError, Damaged, psutil.Error):
            recorded = _read(path)
            if recorded.is_alive:
                yield psutil.Process(recorded.pid).environ().get(OWNER_VARIABLE) or owner_of(home)


def stop_strays(home: Path) -> list[int]:
    """End all processes of this home, except this process and its parents; return their process ids."""
    strays = list(owned(home))
    _end(strays)
    return [process.pid for process in strays]


def owned(home: Path) -> Iterator[psutil.Process]:
    """Yield the processes that were started for this home, which the owner in their environment tells."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid not in own and is_owned(home, process.pid):
                yield process


def _wait_for_environment(pid: int) -> None:
    """Wait until a process that was just started shows its environment, which it does some moments after its start."""
    deadline = time.monotonic() + ENVIRONMENT_SECONDS
    with contextlib.suppress(psutil.Error, OSError):
        while not psutil.Process(pid).environ() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)


def is_owned(home: Path, pid: int) -> bool:
    """Tell whether the environment of a process names this home as its owner."""
    marks = {OWNER_VARIABLE: owner_of(home), "LOCALAWS_OWNER": owner_of(home / "localaws")}
    with contextlib.suppress(psutil.Error, OSError):
        environment = psutil.Process(pid).environ()
        return any(environment.get(variable) == owner for variable, owner in marks.items())
    return False


def _group(leader: int) -> list[psutil.Process]:
    members = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == leader and process.pid != leader:
                members.append(process)
    return members


def _end(processes: list[psutil.Process]) -> None:
    """SIGTERM, wait, SIGKILL; returns when none runs any more. One that was stopped goes on, or it would not act."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGTERM)
            wake(process.pid)
    running = _wait_for_end(processes)
    for process in running:
        with contextlib.suppress(psutil.Error):
            process.kill()
    _wait_for_end(running)


def _wait_for_end(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Return those that still run when the time to stop is over."""
    deadline = time.monotonic() + STOP_SECONDS
    while (running := [process for process in processes if runs(process)]) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return running


def _path(home: Path, name: str) -> Path:
    return home / "processes" / f"{name}.json"


def _read(path: Path) -> BackgroundProcess:
    """Return the process of a record.

    Raises:
        OSError, Damaged: the record cannot be read, or is not as it was written.
    """
    try:
        found = BackgroundProcess(**unseal(read_regular(path)))
    except TypeError as error:
        raise Damaged(str(error)) from error
    texts = (found.name, found.url, found.log)
    if not (_is_number(found.pid, int) and (_is_number(found.created, float) or isinstance(found.created, str))):
        raise Damaged(f"its process is pid {found.pid!r}, created {found.created!r}")
    if not all(isinstance(text, str) for text in texts):
        raise Damaged("its name, URL and log have to be texts")
    return found


def _is_number(value: object, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and value > 0  # type: ignore[operator]


def _write(home: Path, recorded: BackgroundProcess) -> None:
    write_atomically(_path(home, recorded.name), seal(asdict(recorded)))
