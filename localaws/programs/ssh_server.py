"""An SSH server for an instance on a host without OpenSSH: commands, terminals, signals, SFTP, scp and forwarding.

Config: `address` to listen at, `host_keys` and `authorized_keys` (paths), `user`, `home`, `environment`, and `root`,
the instance's folder if it has no disk of its own (else None). Sessions run as the server's own user. A command whose
client has disconnected runs on until it writes, as with OpenSSH.
"""

import asyncio
import contextlib
import errno
import fcntl
import json
import os
import pty
import signal
import struct
import sys
import termios
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import asyncssh

from localaws.programs.path_rewriting import real_path, rewrite

CHUNK_BYTES = 1 << 16
LOCALE = ("LANG", "LC_")
SIGNALS = {each.name.removeprefix("SIG"): each for each in signal.Signals}


def main(arguments: Sequence[str]) -> int:
    """Serve until ended by a signal."""
    config = json.loads(arguments[0])
    os.chdir(config["home"])
    asyncio.run(_serve(config))
    return 0


async def _serve(config: dict[str, Any]) -> None:
    host, port = config["address"]
    await asyncssh.listen(
        host,
        port,
        server_factory=lambda: _Server(config),
        server_host_keys=config["host_keys"],
        encoding=None,
        line_editor=False,
        x11_forwarding=False,
        reuse_address=True,
    )
    print(f"Server listening on {host} port {port}.", flush=True)
    await asyncio.Event().wait()


class _Server(asyncssh.SSHServer):
    """One connection."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        """Let in callers whose key is in the user's file at this moment, and no others."""
        if username == self._config["user"] and Path(self._config["authorized_keys"]).is_file():
            self._connection.set_authorized_keys(self._config["authorized_keys"])
        return True

    def connection_requested(self, *_: object) -> bool:
        return True

    def server_requested(self, listen_host: str, listen_port: int) -> bool:  # noqa: ARG002 asyncssh's names
        """Let callers listen on the loopback only, as sshd does without GatewayPorts."""
        return listen_host in ("localhost", "127.0.0.1")

    def session_requested(self) -> "_Session":
        return _Session(self._config)


class _Session(asyncssh.SSHServerProcess[bytes]):
    """One channel: a command, a shell, SFTP or scp."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(self._run, lambda channel: _Files(channel, config["root"]), 3, True)
        self._config = config
        self._child: Process | None = None
        self._terminal: int | None = None

    def signal_received(self, signal: str) -> None:
        if self._child is not None and self._child.returncode is None:
            number = SIGNALS.get(signal)
            if number is not None:
                os.killpg(self._child.pid, number)

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        if self._terminal is not None:
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, pixwidth, pixheight))

    async def _run(self, _: object) -> None:
        try:
            await (self._run_with_terminal() if self.term_type else self._run_with_pipes())
            assert self._child is not None
            self._tell_end(await self._child.wait())
        except (OSError, asyncssh.Error) as error:
            print(f"session: {error}", file=sys.stderr, flush=True)
            self.close()

    def _tell_end(self, status: int) -> None:
        if status < 0:
            self.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
        else:
            self.exit(status)

    async def _run_with_pipes(self) -> None:
        child = await asyncio.create_subprocess_exec(
            *self._command(), env=self._environment(), stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
        )
        self._child = child
        assert child.stdin and child.stdout and child.stderr
        feeding = asyncio.create_task(self._feed(child.stdin))
        try:
            await asyncio.gather(_copy(child.stdout, self.stdout), _copy(child.stderr, self.stderr))
            await child.wait()
        finally:
            feeding.cancel()
            _close_pipes(child)

    async def _run_with_terminal(self) -> None:
        ours, theirs = pty.openpty()
        self._terminal = ours
        self.terminal_size_changed(*self.term_size)
        self._child = await asyncio.create_subprocess_exec(
            *self._command(),
            env=self._environment(),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader()
        reading = os.fdopen(ours, "rb", buffering=0)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), reading)
        transport, protocol = await loop.connect_write_pipe(
            asyncio.streams.FlowControlMixin, os.fdopen(os.dup(ours), "wb", buffering=0)
        )
        writer = asyncio.StreamWriter(transport, protocol, None, loop)
        feeding = asyncio.create_task(self._feed(writer))
        try:
            await _copy(reader, self.stdout)
        finally:
            feeding.cancel()
            writer.close()
            self._terminal = None

    async def _feed(self, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncssh.Error):
            while data := await self.stdin.read(CHUNK_BYTES):
                target.write(data)
                await target.drain()
        if self._terminal is None:
            target.close()

    def _command(self) -> list[str]:
        shell = str(self._config["environment"]["SHELL"])
        if self.command is None:
            return [shell, "-l"]
        root = self._config["root"]
        return [shell, "-c", rewrite(self.command, Path(root)) if root else self.command]

    def _environment(self) -> dict[str, str]:
        address, port = self.get_extra_info("peername")[:2]
        asked = {name: value for name, value in self.env.items() if name.startswith(LOCALE)}
        terminal = {"TERM": str(self.term_type)} if self.term_type else {}
        return {**self._config["environment"], **asked, **terminal, "SSH_CLIENT": f"{address} {port} 22"}


class _Files(asyncssh.SFTPServer):
    """The instance's files; relative paths begin at the user's home."""

    def __init__(self, channel: Any, root: str | None) -> None:
        super().__init__(channel)
        self._root = Path(root) if root else None

    def map_path(self, path: bytes) -> bytes:
        if self._root is None:
            return path
        return os.fsencode(real_path(os.fsdecode(path), self._root))


async def _copy(source: asyncio.StreamReader, target: Any) -> None:
    try:
        while data := await source.read(CHUNK_BYTES):
            target.write(data)
            await target.drain()
    except OSError as error:
        if error.errno != errno.EIO:  # how a terminal says that its last process has gone
            raise


def _close_pipes(child: Process) -> None:
    transport = child._transport  # type: ignore[attr-defined]  # Process has no other way to close what it reads
    for number in (0, 1, 2):
        if pipe := transport.get_pipe_transport(number):
            pipe.close()
