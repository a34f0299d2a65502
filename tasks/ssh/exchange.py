"""One command on one channel: its input, its output, its end, all within a deadline.

paramiko's traps, and what is done about them: stdout and stderr share one window and are drained together, or the
server stops sending; the exit status is only asked for when the output has ended; output is read from paramiko's
buffers directly and input is sent in pieces, without paramiko's file objects (their collection can deadlock); a timer
closes the channel at the deadline, which wakes every paramiko call that has no timeout of its own.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Self

import paramiko

from tasks.run.errors import KennelError, RemoteFailed, WaitTimedOut
from tasks.ssh.connection import Connection

TAKE_BYTES = 2**20
SHOWN_CHARACTERS = 100
NO_STATUS = -1
"""What paramiko says for the status of a command that a signal ended, or whose end was not told."""

SETTLE_SECONDS = 0.2
"""A channel is closed a moment before its connection is known to have ended."""

_BROKEN = (paramiko.SSHException, EOFError, OSError)


class Exchange:
    """A command that runs on the far machine; used with `with`, which starts it and in the end closes its channel."""

    def __init__(self, connection: Connection, command: bytes, *, deadline_seconds: float) -> None:
        self.shown = _shown(command)
        self._connection, self._command, self._deadline_seconds = connection, command, deadline_seconds
        self._timer = threading.Timer(deadline_seconds, self._expire)
        self._timer.daemon = True
        self._opened: paramiko.Channel | None = None
        self._is_late = False
        self._stdout_bytes = self._stderr_bytes = 0

    def __enter__(self) -> Self:
        self._timer.start()
        try:
            with self._translated():
                self._opened = self._connection.open_channel(self._deadline_seconds + 1.0)
                if not self._is_late:
                    self._opened.exec_command(self._command)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._opened is not None:
            with contextlib.suppress(*_BROKEN):  # a dead connection needs no goodbye
                self._opened.close()

    def send(self, data: bytes) -> bool:
        """Send all of it as input; tell whether it was taken: a command may end without reading all of its input."""
        left = memoryview(data)
        while left:
            try:
                sent = self._connection.send(self._channel, left)
            except _BROKEN:
                return False
            if not sent:
                return False
            left = left[sent:]
        return True

    def end_input(self) -> None:
        """Say that no more input comes."""
        with contextlib.suppress(*_BROKEN):  # `finish` says what became of the command
            self._channel.shutdown_write()

    def receive(self) -> bytes:
        """Return some of stdout, at most 1 MiB; nothing at its end."""
        with self._translated():
            data = self._channel.recv(TAKE_BYTES)
        self._stdout_bytes += len(data)
        return data

    def drain(self) -> tuple[bytes, bytes]:
        """Return what is left of stdout and stderr, once both have ended."""
        channel, ready = self._channel, threading.Event()
        out, err = bytearray(), bytearray()
        channel.in_buffer.set_event(ready)
        channel.in_stderr_buffer.set_event(ready)
        while True:
            has_ended = bool(channel.eof_received) or channel.closed  # looked at first: nothing is fed after that
            with self._translated():
                from_stdout = _take(channel.recv_ready, channel.recv, out)
                from_stderr = _take(channel.recv_stderr_ready, channel.recv_stderr, err)
            self._stdout_bytes += from_stdout
            self._stderr_bytes += from_stderr
            if from_stdout or from_stderr:
                continue
            if has_ended:
                return bytes(out), bytes(err)
            ready.wait()  # bounded: the timer closes the channel, which sets it

    def finish(self) -> int:
        """Return the exit status, -1 when a signal ended the command; to be called when the output was taken.

        Raises:
            WaitTimedOut: the deadline passed; says how much output came.
            ConnectionLost: the connection ended before the command and all its output did.
        """
        self._channel.status_event.wait()  # bounded, as above
        if self._is_late:
            raise self._timed_out()
        is_whole = bool(self._channel.eof_received) and self._channel.exit_status != NO_STATUS
        if not is_whole and self._connection.has_ended(SETTLE_SECONDS):
            raise self._connection.lost(f"`{self.shown}`")
        return self._channel.exit_status

    @property
    def _channel(self) -> paramiko.Channel:
        if self._opened is None:
            raise RuntimeError("an exchange is used inside `with`")
        return self._opened

    def _expire(self) -> None:
        self._is_late = True
        if self._opened is not None:
            with contextlib.suppress(*_BROKEN):
                self._opened.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except _BROKEN as error:
            raise self._meaning(error) from error
        if self._is_late:
            raise self._timed_out()

    def _meaning(self, error: Exception) -> KennelError:
        if self._is_late:
            return self._timed_out()
        if self._connection.has_ended(SETTLE_SECONDS):
            return self._connection.lost(f"`{self.shown}`")
        login = self._connection.login
        why = f"the server refused it ({error or type(error).__name__})"
        return RemoteFailed(login.where, f"`{self.shown}` was not started", why, login.command_line())

    def _timed_out(self) -> WaitTimedOut:
        what = f"`{self.shown}` did not end within {self._deadline_seconds:g} s"
        came = f"{self._stdout_bytes:,} bytes of stdout and {self._stderr_bytes:,} of stderr came"
        status = self._opened.exit_status if self._opened is not None else NO_STATUS
        held = f"; it ended with status {status}, but something it started holds its output open"
        why = came + (held if status != NO_STATUS else "; it may still run there")
        return WaitTimedOut(self._connection.login.where, what, why, self._connection.login.command_line())


def _take(is_ready: Callable[[], bool], receive: Callable[[int], bytes], into: bytearray) -> int:
    """Move what is there into `into`, without waiting; return how many bytes that were."""
    if not is_ready():
        return 0
    data = receive(TAKE_BYTES)
    into += data
    return len(data)


def _shown(command: bytes) -> str:
    text = " ".join(command.decode(errors="replace").split())
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
