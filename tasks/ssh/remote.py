"""Run commands on a remote machine over one SSH connection, with a channel for each command.

    with Remote(login) as remote:
        remote.run(["uname", "-r"]).stdout

Every command has a deadline and a result object. An interrupted command is not repeated, because only the caller knows
whether it may run twice; `reconnect` makes a new connection to the same machine. tasks/ssh/transfer.py transfers files.
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
from tasks.ssh.login import Login
from tasks.ssh.running_command import NO_STATUS, RunningCommand

__all__ = ["CommandResult", "Login", "Remote"]

COMMAND_SECONDS = 60.0
STDERR_LINES = 5


@dataclass(frozen=True)
class CommandResult:
    """The result of a command; `command` is the sent text, shortened, and `exit_status` is -1 if a signal ended it."""

    command: str
    exit_status: int
    stdout: bytes
    stderr: bytes
    seconds: float


class Remote:
    """A remote machine; constructing it opens no connection, and as a context manager it connects and disconnects.

    It is thread-safe, also during a file transfer, because each command has its own channel.
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
        """Return the connection; open it first if there is none.

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
        """Close the connection and open a new one to the same machine.

        Raises:
            LoginRefused, HostKeyRefused, ConnectionLost: see `tasks.ssh.connection.connect`.
        """
        self.close()
        self.connect()

    def close(self) -> None:
        """Close the connection and end its threads; detached processes on the remote machine continue."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def start(self, command: str | Sequence[str], *, deadline_seconds: float) -> RunningCommand:
        """Return a command to start with `with`, for input or output that is too large to hold in memory.

        Raises:
            CommandFailed: the command cannot be sent, because it contains a NUL or a lone surrogate.
            LoginRefused, HostKeyRefused, ConnectionLost: there was no connection, and none could be opened.
        """
        try:
            sent = programs.encode_command(command)
        except ValueError as error:
            raise CommandFailed(self.login.where, f"command {command!r}", str(error), "give other arguments") from error
        return RunningCommand(self.connect(), sent, deadline_seconds=deadline_seconds)

    def run(
        self,
        command: str | Sequence[str],
        *,
        deadline_seconds: float = COMMAND_SECONDS,
        stdin: bytes = b"",
        check: bool = True,
    ) -> CommandResult:
        """Run a command to its end. The remote shell parses a string; a sequence is passed as exactly these arguments.

        Raises:
            CommandFailed: `check` is True and the exit status is not 0; or the command cannot be sent.
            WaitTimedOut: it did not end within `deadline_seconds`; its channel was closed, but it may still be running.
            ConnectionLost: the connection ended before the command did; a dead connection is detected within twice the
                keepalive interval.
            LoginRefused, HostKeyRefused: there was no connection, and none could be opened.
            RemoteFailed: the server refused to run the command.
        """
        begun = time.perf_counter()
        with self.start(command, deadline_seconds=deadline_seconds) as running:
            sender = threading.Thread(target=_feed, args=(running, stdin), name="ssh stdin", daemon=True)
            sender.start()
            stdout, stderr = running.drain()
            status = running.finish()
        sender.join()  # does not block, because the channel is closed
        result = CommandResult(running.shown, status, stdout, stderr, time.perf_counter() - begun)
        if check:
            self.raise_for_status(result)
        return result

    def raise_for_status(self, result: CommandResult) -> None:
        """Raise an error unless the exit status is 0.

        Raises:
            CommandFailed: the exit status is not 0; the message has the last lines of stderr.
        """
        status = result.exit_status
        if status == 0:
            return
        ended = "was ended by a signal" if status == NO_STATUS else f"ended with status {status}"
        lines = result.stderr.decode(errors="replace").strip().splitlines()[-STDERR_LINES:]
        why = " / ".join(lines) or "it wrote nothing to stderr"
        raise CommandFailed(self.login.where, f"`{result.command}` {ended}", why, self.login.command_line())

    def read_from(self, path: str, offset: int, limit: int = 1 << 20) -> bytes:
        """Return at most `limit` bytes of a file from a byte offset on; b"" at its end or if there is no such file.

        Raises:
            CommandFailed: the file cannot be read.
            WaitTimedOut, ConnectionLost: see `run`.
        """
        return self.run(programs.read_command(path, offset, limit)).stdout

    def write(self, path: str, content: bytes, *, mode: int = 0o600) -> None:
        """Write a small file atomically; its folder must exist.

        Raises:
            CommandFailed: the file could not be written and is unchanged.
            WaitTimedOut, ConnectionLost: see `run`; the file is unchanged or complete.
        """
        digest = hashlib.sha256(content).hexdigest().encode()
        self.run(programs.receive_command(path, len(content), mode), stdin=content + digest)


def _feed(running: RunningCommand, stdin: bytes) -> None:
    """Send the input while another thread reads the output; the command need not read all of it."""
    running.send(stdin)
    running.end_input()
