"""Running commands on a machine over SSH, over paramiko: one handshake, then a channel for each command.

    with Remote(login) as remote:
        remote.run(["uname", "-r"]).stdout

Every call has a deadline and a result object. A command that is cut is not repeated: `reconnect` makes a new connection
to the same machine, and the caller knows what may be done twice. Files are moved by tasks/ssh/transfer.py.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from tasks.run.errors import CommandFailed
from tasks.ssh import programs
from tasks.ssh.connection import CONNECT_SECONDS, KEEPALIVE_SECONDS, Connection, connect
from tasks.ssh.exchange import NO_STATUS, Exchange
from tasks.ssh.login import Login

__all__ = ["Completed", "Login", "Remote"]

COMMAND_SECONDS = 60.0
STDERR_LINES = 5


@dataclass(frozen=True)
class Completed:
    """A command that ended. `command` is as it was sent, shortened; `exit_status` is -1 when a signal ended it."""

    command: str
    exit_status: int
    stdout: bytes
    stderr: bytes
    seconds: float


class Remote:
    """A machine that can be reached by SSH. Making one connects to nothing; `with` connects and in the end disconnects.

    Commands may come from several threads, also while a file is moved: each has a channel of its own.
    """

    def __init__(
        self,
        login: Login,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        keepalive_seconds: float = KEEPALIVE_SECONDS,
    ) -> None:
        self.login = login
        self._connect_seconds, self._keepalive_seconds = connect_seconds, keepalive_seconds
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self) -> Connection:
        """Return the connection, made now if there is none.

        Raises:
            LoginRefused, HostKeyRefused, ConnectionLost: see `tasks.ssh.connection.connect`.
        """
        with self._lock:
            if self._connection is None:
                self._connection = connect(
                    self.login, connect_seconds=self._connect_seconds, keepalive_seconds=self._keepalive_seconds
                )
            return self._connection

    def reconnect(self) -> None:
        """End the connection, dead or alive, and make a new one to the same machine; raises what `connect` raises."""
        self.close()
        self.connect()

    def close(self) -> None:
        """End the connection and its threads; what runs detached over there goes on."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def start(self, command: str | Sequence[str], *, deadline_seconds: float) -> Exchange:
        """Return an exchange to enter, for commands whose input or output is too large to hold in memory.

        Raises:
            CommandFailed: the command cannot be sent, because it contains a NUL or no text.
            LoginRefused, HostKeyRefused, ConnectionLost: it had to connect first and could not.
        """
        try:
            sent = programs.quoted(command)
        except ValueError as error:
            raise CommandFailed(self.login.where, f"command {command!r}", str(error), "give other arguments") from error
        return Exchange(self.connect(), sent, deadline_seconds=deadline_seconds)

    def run(
        self,
        command: str | Sequence[str],
        *,
        deadline_seconds: float = COMMAND_SECONDS,
        stdin: bytes = b"",
        check: bool = True,
    ) -> Completed:
        """Run a command to its end. A string is read by the far shell; a sequence arrives as exactly these arguments.

        Raises:
            CommandFailed: `check`, and the exit status is not 0; or the command cannot be sent.
            WaitTimedOut: it did not end within `deadline_seconds`; its channel was closed, but it may still run.
            ConnectionLost: the connection ended first, within twice the keepalive interval if it only fell silent.
        """
        begun = time.perf_counter()
        with self.start(command, deadline_seconds=deadline_seconds) as exchange:
            sender = threading.Thread(target=_feed, args=(exchange, stdin), name="ssh stdin", daemon=True)
            sender.start()
            stdout, stderr = exchange.drain()
            status = exchange.finish()
        sender.join()  # its channel is closed
        completed = Completed(exchange.shown, status, stdout, stderr, time.perf_counter() - begun)
        if check:
            self.check(completed)
        return completed

    def check(self, completed: Completed) -> None:
        """Raise `CommandFailed`, with the last lines of stderr, unless the exit status is 0."""
        status = completed.exit_status
        if status == 0:
            return
        ended = "was ended by a signal" if status == NO_STATUS else f"ended with status {status}"
        lines = completed.stderr.decode(errors="replace").strip().splitlines()[-STDERR_LINES:]
        why = " / ".join(lines) or "it wrote nothing to stderr"
        raise CommandFailed(self.login.where, f"`{completed.command}` {ended}", why, self.login.command_line())

    def read_from(self, path: str, offset: int, limit: int = 1 << 20) -> bytes:
        """Return at most `limit` bytes of a file from a byte offset on; nothing when there is no more, or no file.

        Raises:
            CommandFailed: the file cannot be read.
            WaitTimedOut, ConnectionLost: see `run`.
        """
        return self.run(programs.read_from(path, offset, limit)).stdout

    def write(self, path: str, content: bytes, *, mode: int = 0o600) -> None:
        """Write a small file, whole or not at all; its folder must exist.

        Raises:
            CommandFailed: it could not be written; the file is as it was.
            WaitTimedOut, ConnectionLost: see `run`; the file is as it was, or as it should be.
        """
        digest = hashlib.sha256(content).hexdigest().encode()
        self.run(programs.receive(path, len(content), mode), stdin=content + digest)


def _feed(exchange: Exchange, stdin: bytes) -> None:
    """Send the input while the output is drained; a command that does not want it all is free not to take it."""
    exchange.send(stdin)
    exchange.end_input()
