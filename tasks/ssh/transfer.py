"""Transfer files over SSH: each file is written atomically, and its sha256 is verified.

A file is a stream on one channel of the existing connection. A small program on the remote machine
(tasks/ssh/receive.py, tasks/ssh/send.py) reads or writes it. Size and sha256 are checked before the file gets its name.
A transfer that was interrupted, or whose sha256 differs, is repeated once from the beginning.

Four choices make it fast (measured by benchmarks/ssh_transfer.py). The receiving program enlarges the pipe from sshd
from 64 KiB to 1 MiB. AES-GCM is used instead of AES-CTR with HMAC. There is no reply to wait for after each 32 KiB, as
there is with SFTP. The next piece is read and hashed while one is sent.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tasks.run.disk import disk_boundary
from tasks.run.errors import ConnectionLost, RemoteFailed
from tasks.run.own_files import ANEW, open_own
from tasks.run.progress import Progress, ProgressFactory, show_progress
from tasks.run.waiting import say
from tasks.ssh import programs
from tasks.ssh.remote import CommandResult, Remote
from tasks.ssh.running_command import RunningCommand

ATTEMPTS = 2
PIECE_BYTES = 2**19
TRANSFER_SECONDS = 3600.0
_HEADER = re.compile(rb"(\d{1,18}) ([0-7]{1,6})")


@dataclass(frozen=True)
class Transfer:
    """A completed transfer; `seconds` is the time of the successful attempt, including the checks on both sides."""

    size_bytes: int
    sha256: str
    seconds: float


class _Damaged(RemoteFailed):
    """The received content is not the content that was sent."""


def put(
    remote: Remote,
    local: Path,
    path: str,
    *,
    progress: ProgressFactory = show_progress,
    deadline_seconds: float = TRANSFER_SECONDS,
) -> Transfer:
    """Send a file to an existing remote folder; its mode becomes 0644 if other users can read it here, else 0600.

    Raises:
        RemoteFailed: the received content differed from the sent content twice; or the local file became shorter.
        CommandFailed: the remote machine could not write it; `why` has its message ("No space left on device").
        ConnectionLost: the connection was lost twice, or could not be opened again.
        WaitTimedOut: `deadline_seconds` passed.
        OSError: the local file cannot be read.
    """
    return _attempt(remote, path, lambda: _put(remote, local, path, progress, deadline_seconds))


def get(
    remote: Remote,
    path: str,
    local: Path,
    *,
    progress: ProgressFactory = show_progress,
    deadline_seconds: float = TRANSFER_SECONDS,
) -> Transfer:
    """Fetch a file, of mode 0600 here whatever it is there, and create missing local folders.

    Raises:
        RemoteFailed: the received content differed from the sent content twice.
        CommandFailed: the remote machine could not read it; `why` has its message ("No such file or directory").
        ConnectionLost: the connection was lost twice, or could not be opened again.
        WaitTimedOut: `deadline_seconds` passed.
        DiskFailed: the local file cannot be written.
    """
    temporary = local.with_name(f".{local.name}.{os.getpid()}.part")
    with disk_boundary("transfer", local):
        local.parent.mkdir(parents=True, exist_ok=True)
        try:
            transfer = _attempt(remote, path, lambda: _get(remote, path, temporary, progress, deadline_seconds))
            temporary.replace(local)
        finally:
            temporary.unlink(missing_ok=True)
    return transfer


def _attempt(remote: Remote, path: str, transfer: Callable[[], Transfer]) -> Transfer:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return transfer()
        except (_Damaged, ConnectionLost) as error:
            if attempt == ATTEMPTS:
                raise
            say(f"{path}: {error.what}; the transfer is repeated from the beginning")
            if isinstance(error, ConnectionLost):
                remote.reconnect()
    raise AssertionError("unreachable: the last attempt returns or raises")


def _put(remote: Remote, local: Path, path: str, progress: ProgressFactory, deadline_seconds: float) -> Transfer:
    begun = time.perf_counter()
    with local.open("rb", buffering=0) as file:
        found = os.fstat(file.fileno())
        command = programs.receive_command(path, found.st_size, _mode(found.st_mode))
        with remote.start(command, deadline_seconds=deadline_seconds) as running:
            with progress(f"to {remote.login.name}", found.st_size, "B") as counter:
                sha256 = _send(running, file, found.st_size, counter)
            if sha256 is None:
                raise RemoteFailed(remote.login.where, f"{local}", "it became shorter during the transfer", "try again")
            _finish(remote, running, f"receive {path}")
    return Transfer(found.st_size, sha256, time.perf_counter() - begun)


def _send(running: RunningCommand, file: io.RawIOBase, size_bytes: int, counter: Progress) -> str | None:
    """Send a file and its sha256, reading one piece ahead; return the sha256, or None if the file became shorter."""
    sha256, left = hashlib.sha256(), size_bytes

    def read(most: int) -> bytes:
        data = file.read(min(most, PIECE_BYTES)) or b""
        sha256.update(data)
        return data

    with ThreadPoolExecutor(1, "ssh put") as pool:
        ahead = pool.submit(read, left)
        while left:
            data = ahead.result()
            if not data:
                return None
            left -= len(data)
            ahead = pool.submit(read, left)
            if not running.send(data):
                break  # the remote program has ended; `_finish` raises the reason
            counter.advance(len(data))
    running.send(sha256.hexdigest().encode())
    running.end_input()
    return sha256.hexdigest()


def _get(remote: Remote, path: str, temporary: Path, progress: ProgressFactory, deadline_seconds: float) -> Transfer:
    begun = time.perf_counter()
    command = programs.send_command(path)
    with _open_private(temporary) as file, remote.start(command, deadline_seconds=deadline_seconds) as running:
        running.end_input()
        incoming = _Incoming(running)
        size_bytes = incoming.size_bytes(remote)
        with progress(f"from {remote.login.name}", size_bytes, "B") as counter:
            sha256 = _write(file, incoming.content(size_bytes), counter)
        claimed = incoming.rest()
        _finish(remote, running, f"send {path}")
        if claimed != sha256.encode():
            why = "the sha256 of the received content differs"
            raise _Damaged(remote.login.where, path, why, "run the same command again")
        os.fsync(file.fileno())
    return Transfer(size_bytes, sha256, time.perf_counter() - begun)


class _Incoming:
    """Reads what the remote program sends, in this order: a line "SIZE MODE", the content, its sha256."""

    def __init__(self, running: RunningCommand) -> None:
        self._running = running
        self._held = b""

    def size_bytes(self, remote: Remote) -> int:
        """Return the file's size, or raise the error that the remote program ended with."""
        while b"\n" not in self._held and (data := self._running.receive()):
            self._held += data
        line, newline, self._held = self._held.partition(b"\n")
        found = _HEADER.fullmatch(line)
        if newline and found:
            return int(found[1])
        if not newline:
            _finish(remote, self._running, "send a file")
        why = "the remote shell printed this before the file's size; its start-up files must not print anything"
        raise RemoteFailed(remote.login.where, repr(line[:80]), why, remote.login.command_line("true"))

    def content(self, size_bytes: int) -> Iterator[bytes]:
        """Yield `size_bytes` bytes, or fewer if the stream ends early."""
        left = size_bytes
        while left and (data := self._held or self._running.receive()):
            self._held = data[left:]
            yield data[:left]
            left -= min(left, len(data))

    def rest(self) -> bytes:
        """Return the rest of the stream."""
        return self._held + b"".join(iter(self._running.receive, b""))


def _write(file: io.RawIOBase, pieces: Iterator[bytes], counter: Progress) -> str:
    sha256 = hashlib.sha256()
    for data in pieces:
        sha256.update(data)
        left = memoryview(data)
        while left:
            left = left[file.write(left) or 0 :]
        counter.advance(len(data))
    return sha256.hexdigest()


def _finish(remote: Remote, running: RunningCommand, doing: str) -> None:
    """Read the rest of the output and raise an error if the exit status is not 0."""
    begun = time.perf_counter()
    stdout, stderr = running.drain()
    status = running.finish()
    if status in {programs.DIFFERS, programs.ENDED_EARLY}:
        why = stderr.decode(errors="replace").strip()
        raise _Damaged(remote.login.where, doing, why, "run the same command again")
    remote.raise_for_status(CommandResult(doing, status, stdout, stderr, time.perf_counter() - begun))


def _open_private(path: Path) -> io.FileIO:
    """Open a file of mode 0600 for unbuffered writing, independent of the umask."""
    return io.FileIO(open_own(path, ANEW), "wb")


def _mode(found: int) -> int:
    return 0o644 if found & (stat.S_IRGRP | stat.S_IROTH) else 0o600
