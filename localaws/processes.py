"""Child processes that cannot outlive localaws.

Every child leads a process group (and session) of its own, carries `LOCALAWS_OWNER` and `LOCALAWS_PROCESS` in its
environment and has a record in `home/processes/`. A process belongs to a child when it is in its group, descends from
it, or carries its `LOCALAWS_PROCESS`: the last finds grandchildren that called setsid. When a child's first process
ends, what is left of it is killed, as in a container. A new server ends what a killed one left by the same marks.

Not caught before the server itself ends, outside a process table of its own: a process that left its group, cleared its
environment *and* lost its parent. Not caught at all: such a process when the server is killed with SIGKILL.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from localaws.errors import NotItsHome, StopFailed
from localaws.folders import read_json, sealed, unsealed
from localaws.lossy_log import LossyLog
from localaws.process_tree import KILL_DEADLINE_SECONDS, find_members, is_alive, kill_all

OWNER = "LOCALAWS_OWNER"
PROCESS = "LOCALAWS_PROCESS"
PR_SET_CHILD_SUBREAPER = 36
READER_SECONDS = 2.0  # a process that was not caught may hold the pipe open
LINE_LIMIT_BYTES = 256 * 1024  # CloudWatch Logs refuses longer events

Line = Callable[[str], None]


class Process:
    """A child and all that it started. Made by `ProcessTable.spawn`.

    `program_pid`: the program to be measured; where the child only starts that one and waits, it tells its id shortly
    after it begins, and until then it is the child's own.
    """

    def __init__(
        self,
        popen: subprocess.Popen[bytes],
        *,
        name: str,
        mark: str,
        record: Path,
        on_line: Line | None,
        log_path: Path | None,
        reap: Callable[[], None],
        told: int | None,
    ) -> None:
        self.pid = self.program_pid = popen.pid
        self.name = name
        self._popen = popen
        self._mark = mark
        self._record = record
        self._reap = reap
        self._told = told
        self._finished = threading.Event()
        self._reader = threading.Thread(
            target=self._read, args=(on_line, log_path), name=f"lines of {name}", daemon=True
        )
        self._watcher = threading.Thread(target=self._watch, name=f"wait for {name}", daemon=True)
        self._reader.start()
        self._watcher.start()

    def poll(self) -> int | None:
        """Return the exit status (negative: the signal), or None while anything of it runs or has lines undelivered."""
        return self._popen.returncode if self._finished.is_set() else None

    def wait(self, timeout_seconds: float | None = None) -> int | None:
        """Wait for the end of it all; None if `timeout_seconds` passed first."""
        self._finished.wait(timeout_seconds)
        return self.poll()

    def signal(self, number: int) -> None:
        """Send a signal to the process group; nothing happens if it has ended."""
        if not self._finished.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def stop(self, grace_seconds: float = 5.0) -> int:
        """SIGTERM the group, give it `grace_seconds`, SIGKILL what is left; return the exit status when all is gone.

        Raises:
            StopFailed: something outlived SIGKILL for 10 seconds.
        """
        if self._finished.is_set():
            return self._popen.returncode  # its process id may be another's by now
        family = self.members()  # before its parents die: afterwards nothing may tell whose it was
        self.signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(grace_seconds)
        kill_all(lambda: [*self.members(), *filter(is_alive, family)])
        status = self.wait(KILL_DEADLINE_SECONDS)
        if status is None:
            raise StopFailed(
                f"process {self.pid} ({self.name}) did not end within {KILL_DEADLINE_SECONDS:.0f} s of SIGKILL"
            )
        return status

    def members(self) -> list[psutil.Process]:
        """Return what runs of it: its group, its descendants, and those that carry its mark."""
        return find_members(PROCESS, self._mark, {self.pid})

    def _watch(self) -> None:
        if self._told is not None:
            with open(self._told, "rb") as told:  # noqa: PTH123 a descriptor
                self.program_pid = int(told.read() or self.pid)
        self._popen.wait()
        kill_all(self.members)
        self._reap()
        self._reader.join(READER_SECONDS)
        with contextlib.suppress(OSError):  # on a disk that has become read-only: it names no process that runs
            self._record.unlink(missing_ok=True)
        self._finished.set()

    def _read(self, on_line: Line | None, log_path: Path | None) -> None:
        stream = self._popen.stdout
        assert stream is not None
        with stream, contextlib.ExitStack() as stack:
            log = stack.enter_context(contextlib.closing(LossyLog.of(log_path))) if log_path else None
            for line in _lines(stream):
                if log:
                    log.write(line)
                if on_line:
                    _deliver(on_line, line, self.name)


class ProcessTable:
    """Starts children and ends them, and those of a server that was killed."""

    def __init__(self, folder: Path, owner: str) -> None:
        self._folder = folder
        self._owner = owner
        self._lock = threading.Lock()
        self._processes: list[Process] = []
        self._closed = False
        self._adopts = False
        folder.mkdir(parents=True, exist_ok=True)

    def spawn(
        self,
        command: Sequence[str],
        *,
        name: str,
        env: Mapping[str, str],
        cwd: Path,
        on_line: Line | None = None,
        log_path: Path | None = None,
        pass_fds: Sequence[int] = (),
        told: int | None = None,
    ) -> Process:
        """Start `command` in a process group of its own, with exactly `env` (plus two marks) as its environment.

        The child also gets the descriptors `pass_fds`. stdout and stderr are one stream: `on_line` gets each line
        without its end, from a thread of its own; `log_path` gets the bytes appended. `told`: the end to read of a pipe
        to which the child writes its `program_pid`; it is closed here, but by the caller where this raises.

        Raises:
            OSError: the program or `cwd` does not exist.
            StopFailed: the table is closed, because localaws shuts down.
        """
        mark = uuid.uuid4().hex
        record = self._folder / f"{mark}.json"
        with self._lock:
            if self._closed:
                raise StopFailed(f"localaws is shutting down: {name} was not started")
            popen = subprocess.Popen(
                list(command),
                env={**env, OWNER: self._owner, PROCESS: mark},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=pass_fds,
            )
            try:
                _write_record(record, popen.pid, name, self._owner)
            except OSError:  # without a record nobody would end it after a crash
                with popen:
                    popen.kill()
                raise
            process = Process(
                popen,
                name=name,
                mark=mark,
                record=record,
                on_line=on_line,
                log_path=log_path,
                reap=self._reap_adopted,
                told=told,
            )
            self._processes = [kept for kept in self._processes if kept.poll() is None] + [process]
        return process

    def adopt_orphans(self) -> None:
        """Have this process become the parent of descendants that lose theirs (Linux; elsewhere nothing happens)."""
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            self._adopts = True

    def running(self) -> list[Process]:
        """Return the children that have not ended."""
        with self._lock:
            return [process for process in self._processes if process.poll() is None]

    def reap_orphans(self) -> list[int]:
        """Kill what a former server with the same home left running; return the process ids."""
        leaders = {pid for record in self._folder.glob("*.json") if (pid := _live_leader(record, self._owner))}
        killed = kill_all(lambda: find_members(OWNER, self._owner, leaders))
        for record in self._folder.glob("*.json"):
            record.unlink(missing_ok=True)
        return killed

    def stop_all(self, grace_seconds: float = 3.0) -> None:
        """End every child, all at once, and refuse new ones.

        Raises:
            StopFailed: something outlived SIGKILL.
        """
        with self._lock:
            self._closed = True
        running = self.running()
        family = find_members(OWNER, self._owner, _leaders(running))
        for process in running:
            process.signal(signal.SIGTERM)
        deadline = time.monotonic() + grace_seconds
        for process in running:
            process.wait(max(0.0, deadline - time.monotonic()))
        kill_all(lambda: [*find_members(OWNER, self._owner, _leaders(running)), *filter(is_alive, family)])
        for process in running:
            process.stop(0.0)

    def _reap_adopted(self) -> None:
        """Take the exit status of adopted descendants, for which nobody else waits: zombies would pile up."""
        if not self._adopts:
            return
        with self._lock:
            own = {process.pid for process in self._processes if process.poll() is None}
            for child in psutil.Process().children():
                with contextlib.suppress(psutil.Error, ChildProcessError):
                    if child.pid not in own and child.status() == psutil.STATUS_ZOMBIE:
                        os.waitpid(child.pid, os.WNOHANG)


def _leaders(processes: Iterable[Process]) -> set[int]:
    return {process.pid for process in processes if process.poll() is None}


def _write_record(path: Path, pid: int, name: str, owner: str) -> None:
    try:
        created = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        created = 0.0
    path.write_text(sealed({"pid": pid, "name": name, "created": created, "owner": owner}))


def _live_leader(record: Path, owner: str) -> int | None:
    """Return the process of a record, if it runs and the record is of this home: a copied one names another's."""
    try:
        written = unsealed(read_json(record))
        process = psutil.Process(written["pid"])
        is_own = (process.create_time(), owner) == (written["created"], written["owner"])
        return process.pid if is_own else None
    except (NotItsHome, ValueError, TypeError, KeyError, psutil.NoSuchProcess):
        return None


def _lines(stream: IO[bytes]) -> Iterable[bytes]:
    while line := stream.readline(LINE_LIMIT_BYTES):
        yield line


def _deliver(on_line: Line, line: bytes, name: str) -> None:
    try:
        on_line(line.decode("utf-8", "replace").rstrip("\r\n"))
    except Exception as error:  # noqa: BLE001 a reader that stops reading would block the child for ever
        print(f"localaws: a line of {name} was not delivered: {error!r}", file=sys.stderr)
