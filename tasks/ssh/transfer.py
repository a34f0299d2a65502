"""Moving files to and from a machine over SSH: whole or not at all, sha256 compared, as fast as the far sshd allows.

A file is a stream on one channel of the connection that is there already, taken by a small program on the other side
(tasks/ssh/receive.py, tasks/ssh/send.py) which checks size and sha256 before the file gets its name. A transfer
that was cut, or arrived otherwise than it was sent, is done once more from the beginning.

What bounds the speed, measured by benchmarks/ssh_transfer.py: sshd passes the stream on through a pipe of 64 KiB, in
step with the reader, so the receiving program widens it to 1 MiB. Then AES-GCM instead of AES-CTR with HMAC, no reply
to wait for after each 32 KiB as SFTP has, and reading and hashing the next piece while one is sent.
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

from tasks.run.errors import ConnectionLost, RemoteFailed
from tasks.run.progress import Progress, ProgressFactory, show_progress
from tasks.run.waiting import say
from tasks.ssh import programs
from tasks.ssh.exchange import Exchange
from tasks.ssh.remote import Completed, Remote

ATTEMPTS = 2
PIECE_BYTES = 2**19
TRANSFER_SECONDS = 3600.0
_HEADER = re.compile(rb"(\d+) ([0-7]+)")


@dataclass(frozen=True)
class Transfer:
    """A file that arrived. `seconds` are of the attempt that succeeded, with its checks on both sides."""

    size_bytes: int
    sha256: str
    seconds: float


class _Damaged(RemoteFailed):
    """It arrived otherwise than it was sent."""


def put(
    remote: Remote,
    local: Path,
    path: str,
    *,
    progress: ProgressFactory = show_progress,
    deadline_seconds: float = TRANSFER_SECONDS,
) -> Transfer:
    """Send a file. Its mode becomes 0644 if others may read it here, 0600 otherwise; the far folder must exist.

    Raises:
        RemoteFailed: it arrived otherwise than it was sent, twice; or it changed here while it was sent.
        CommandFailed: the far machine could not write it; why is in its own words ("No space left on device").
        ConnectionLost: the connection was lost twice, or could not be made again.
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
    """Fetch a file. Its mode becomes 0644 if others may read it there, 0600 otherwise; missing folders are made here.

    Raises:
        RemoteFailed: it arrived otherwise than it was sent, twice.
        CommandFailed: the far machine could not read it; why is in its own words ("No such file or directory").
        ConnectionLost: the connection was lost twice, or could not be made again.
        WaitTimedOut: `deadline_seconds` passed.
        OSError: the local file cannot be written.
    """
    local.parent.mkdir(parents=True, exist_ok=True)
    beside = local.with_name(f".{local.name}.{os.getpid()}.part")
    try:
        transfer = _attempt(remote, path, lambda: _get(remote, path, beside, progress, deadline_seconds))
        beside.replace(local)
    finally:
        beside.unlink(missing_ok=True)
    return transfer


def _attempt(remote: Remote, path: str, transfer: Callable[[], Transfer]) -> Transfer:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return transfer()
        except (_Damaged, ConnectionLost) as error:
            if attempt == ATTEMPTS:
                raise
            say(f"{path}: {error.what}: once more from the beginning")
            if isinstance(error, ConnectionLost):
                remote.reconnect()
    raise AssertionError("unreachable: the last attempt returns or raises")


def _put(remote: Remote, local: Path, path: str, progress: ProgressFactory, deadline_seconds: float) -> Transfer:
    begun = time.perf_counter()
    with local.open("rb", buffering=0) as file:
        found = os.fstat(file.fileno())
        command = programs.receive(path, found.st_size, _mode(found.st_mode))
        with remote.start(command, deadline_seconds=deadline_seconds) as exchange:
            with progress(f"to {remote.login.name}", found.st_size, "B") as told:
                sha256 = _send(exchange, file, found.st_size, told)
            if sha256 is None:
                raise RemoteFailed(
                    remote.login.where, f"{local}", "it became shorter while it was sent", "send it again"
                )
            _finish(remote, exchange, f"receive {path}")
    return Transfer(found.st_size, sha256, time.perf_counter() - begun)


def _send(exchange: Exchange, file: io.RawIOBase, size_bytes: int, told: Progress) -> str | None:
    """Send a file, then its sha256, which is returned; None if the file became shorter. Reads one piece ahead."""
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
            if not exchange.send(data):
                break  # the far program has ended: `finish` says why
            told.advance(len(data))
    exchange.send(sha256.hexdigest().encode())
    exchange.end_input()
    return sha256.hexdigest()


def _get(remote: Remote, path: str, beside: Path, progress: ProgressFactory, deadline_seconds: float) -> Transfer:
    begun = time.perf_counter()
    command = programs.send(path)
    with _private(beside) as file, remote.start(command, deadline_seconds=deadline_seconds) as exchange:
        exchange.end_input()
        incoming = _Incoming(exchange)
        size_bytes, mode = incoming.header(remote)
        with progress(f"from {remote.login.name}", size_bytes, "B") as told:
            sha256 = _write(file, incoming.content(size_bytes), told)
        claimed = incoming.rest()
        _finish(remote, exchange, f"send {path}")
        if claimed != sha256.encode():
            raise _Damaged(remote.login.where, path, "the sha256 of what arrived differs", "run the same command again")
        os.fchmod(file.fileno(), _mode(mode))
        os.fsync(file.fileno())
    return Transfer(size_bytes, sha256, time.perf_counter() - begun)


class _Incoming:
    """What the far program sends, in its order: a line "SIZE MODE", the content, its sha256."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._held = b""

    def header(self, remote: Remote) -> tuple[int, int]:
        """Return size and mode; or raise what the far program ended with instead."""
        while b"\n" not in self._held and (data := self._exchange.receive()):
            self._held += data
        line, newline, self._held = self._held.partition(b"\n")
        found = _HEADER.fullmatch(line)
        if newline and found:
            return int(found[1]), int(found[2], 8)
        if not newline:
            _finish(remote, self._exchange, "send a file")
        why = "the far shell wrote that instead of the file's size: its start-up files must not print anything"
        raise RemoteFailed(remote.login.where, repr(line[:80]), why, remote.login.command_line("true"))

    def content(self, size_bytes: int) -> Iterator[bytes]:
        """Yield so many bytes, or fewer if the stream ends before."""
        left = size_bytes
        while left and (data := self._held or self._exchange.receive()):
            self._held = data[left:]
            yield data[:left]
            left -= min(left, len(data))

    def rest(self) -> bytes:
        """Return all that is left."""
        return self._held + b"".join(iter(self._exchange.receive, b""))


def _write(file: io.RawIOBase, pieces: Iterator[bytes], told: Progress) -> str:
    sha256 = hashlib.sha256()
    for data in pieces:
        sha256.update(data)
        left = memoryview(data)
        while left:
            left = left[file.write(left) or 0 :]
        told.advance(len(data))
    return sha256.hexdigest()


def _finish(remote: Remote, exchange: Exchange, doing: str) -> None:
    """Take what is left of the output, and raise what the exit status means."""
    begun = time.perf_counter()
    stdout, stderr = exchange.drain()
    status = exchange.finish()
    if status in {programs.DIFFERS, programs.ENDED_EARLY}:
        why = stderr.decode(errors="replace").strip()
        raise _Damaged(remote.login.where, doing, why, "run the same command again")
    remote.check(Completed(doing, status, stdout, stderr, time.perf_counter() - begun))


def _private(path: Path) -> io.FileIO:
    """Open a file for writing that nobody else may read, whatever the umask; unbuffered."""
    return io.FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def _mode(found: int) -> int:
    return 0o644 if found & (stat.S_IRGRP | stat.S_IROTH) else 0o600
