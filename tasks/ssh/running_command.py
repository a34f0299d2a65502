"""Run one command on one SSH channel: send its input, read its output, and get its exit status within a deadline.

This module works around four traps of paramiko. stdout and stderr share one window, so they are read together;
otherwise the server stops sending. The exit status is only read when the output has ended. paramiko's file objects can
deadlock when they are garbage-collected, so output is read from paramiko's buffers and input is sent in pieces. Some
paramiko calls have no timeout, so a timer closes the channel at the deadline, which wakes them.
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
"""The exit status that paramiko returns if a signal ended the command or the server sent no status."""

SETTLE_SECONDS = 0.2
"""The time to wait for the end of a connection after its channel was closed, which happens a moment earlier."""

_BROKEN = (paramiko.SSHException, EOFError, OSError)


class RunningCommand:
    """A command on the remote machine; a context manager that starts the command and finally closes its channel."""

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
            with contextlib.suppress(*_BROKEN):  # the connection may have ended already
                self._opened.close()

    def send(self, data: bytes) -> bool:
        """Send all of `data` as input; return False if the command ended without reading it all."""
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
        """Signal the end of the input."""
        with contextlib.suppress(*_BROKEN):  # `finish` raises the error
            self._channel.shutdown_write()

    def receive(self) -> bytes:
        """Return the next part of stdout, at most 1 MiB; b"" at its end.

        Raises:
            WaitTimedOut: the deadline passed.
            ConnectionLost: the connection ended.
            RemoteFailed: the server refused to run the command.
        """
        with self._translated():
            data = self._channel.recv(TAKE_BYTES)
        self._stdout_bytes += len(data)
        return data

    def drain(self) -> tuple[bytes, bytes]:
        """Wait until stdout and stderr have ended, and return the rest of both.

        Raises:
            WaitTimedOut, ConnectionLost, RemoteFailed: as `receive`.
        """
        channel, ready = self._channel, threading.Event()
        out, err = bytearray(), bytearray()
        channel.in_buffer.set_event(ready)
        channel.in_stderr_buffer.set_event(ready)
        while True:
            has_ended = bool(channel.eof_received) or channel.closed  # read first: no output arrives after it
            with self._translated():
                from_stdout = _take(channel.recv_ready, channel.recv, out)
                from_stderr = _take(channel.recv_stderr_ready, channel.recv_stderr, err)
            self._stdout_bytes += from_stdout
            self._stderr_bytes += from_stderr
            if from_stdout or from_stderr:
                continue
            if has_ended:
                return bytes(out), bytes(err)
            ready.wait()  # bounded, because the timer closes the channel, which sets this event

    def finish(self) -> int:
        """Return the exit status, or -1 if a signal ended the command; call it after all output was read.

        Raises:
            WaitTimedOut: the deadline passed; the message says how much output was received.
            ConnectionLost: the connection ended before the command and its output did.
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
            raise RuntimeError("a RunningCommand can only be used inside its `with` block")
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
        why = f"the server refused to run it ({error or type(error).__name__})"
        return RemoteFailed(login.where, f"`{self.shown}` was not started", why, login.command_line())

    def _timed_out(self) -> WaitTimedOut:
        what = f"`{self.shown}` did not end within {self._deadline_seconds:g} s"
        received = f"{self._stdout_bytes:,} bytes of stdout and {self._stderr_bytes:,} of stderr were received"
        status = self._opened.exit_status if self._opened is not None else NO_STATUS
        held = f"it ended with status {status}, but a process that it started keeps its output open"
        why = f"{received}; {held if status != NO_STATUS else 'it may still be running'}"
        return WaitTimedOut(self._connection.login.where, what, why, self._connection.login.command_line())


def _take(is_ready: Callable[[], bool], receive: Callable[[int], bytes], into: bytearray) -> int:
    """Append the bytes that are available to `into`, without waiting; return their number."""
    if not is_ready():
        return 0
    data = receive(TAKE_BYTES)
    into += data
    return len(data)


def _shown(command: bytes) -> str:
    text = " ".join(command.decode(errors="replace").split())
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
