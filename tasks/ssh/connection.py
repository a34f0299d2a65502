"""Open an SSH connection: connect, compare the host key with the pinned one, log in, and monitor the connection.

paramiko implements the protocol. This module adds the order (nothing is sent before the host key is verified), the
preferences (AES-GCM, no compression), deadlines, the translation of paramiko's errors, and the monitoring. paramiko's
own keepalive requests no answer, so it does not notice a dead connection. Here, after `keepalive_seconds` without a
message from the server, an answer is requested. If none comes within the same time again, the connection is closed,
which wakes every call that waits on it.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import socket
import threading
from collections.abc import Callable

import paramiko
from paramiko.ssh_exception import IncompatiblePeer

from tasks.run.errors import ConnectionLost, HostKeyRefused, LoginRefused
from tasks.ssh.login import Login
from tasks.ssh.packetizer import BatchTransport

CONNECT_SECONDS = 15.0
KEEPALIVE_SECONDS = 30.0
LOGIN_SECONDS = 30.0
JOIN_SECONDS = 5.0
LOOPBACK = "127.0.0.1"
TICKS = 4
"""The number of checks in a keepalive interval. Silence is counted in checks and not in seconds, so that a process that
was suspended for minutes does not close a healthy connection when it continues."""

WINDOW_BYTES = 8 * 2**20
"""The bytes that the server may send before it must wait for us; paramiko's 2 MiB slow down a distant machine."""

CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")

_LOG = logging.getLogger("kennel.wire")
_LOG.addHandler(logging.NullHandler())
_LOG.propagate = False  # paramiko logs a traceback for every failure, although this module raises an error for it


class Obstacle(enum.StrEnum):
    """The reason why no login was possible."""

    REFUSED = "refused"
    TIMED_OUT = "timed out"
    UNREACHABLE = "unreachable"
    NO_BANNER = "no banner"
    CUT = "cut"


class Connection:
    """A connection after the login. `connect` makes one and `close` ends it; it is thread-safe."""

    def __init__(self, login: Login, transport: BatchTransport, *, keepalive_seconds: float) -> None:
        self.login = login
        self._transport = transport
        self._keepalive_seconds = keepalive_seconds
        self._silence: str | None = None
        self._closed = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name=f"watch {login.name}", daemon=True)
        self._watcher.start()

    def is_alive(self) -> bool:
        """Tell whether the connection is open, as far as is known."""
        return self._transport.is_active()

    def has_ended(self, within_seconds: float) -> bool:
        """Wait at most `within_seconds` for the connection to end, and tell whether it did."""
        self._transport.join(within_seconds)
        return not self._transport.is_alive()

    def open_channel(self, deadline_seconds: float) -> paramiko.Channel:
        """Open a channel for one command.

        Raises:
            SSHException, EOFError, OSError: from paramiko; the caller translates it.
        """
        return self._transport.open_session(window_size=WINDOW_BYTES, timeout=deadline_seconds)

    def send(self, channel: paramiko.Channel, content: memoryview) -> int:
        """Send a part of `content` on a channel and return its length; see `BatchTransport.send_content`.

        Raises:
            SSHException, EOFError, OSError: from paramiko; the caller handles it.
        """
        return self._transport.send_content(channel, content)

    def listen_there(self, handler: Callable[..., None]) -> int:
        """Have the server listen at a free port of its loopback, and return the port.

        For each connection to it, paramiko's thread calls `handler` with a channel and the addresses of both sides; the
        handler must not block.

        Raises:
            SSHException, EOFError, OSError: from paramiko; the caller translates it.
        """
        return self._transport.request_port_forward(LOOPBACK, 0, handler)

    def stop_listening(self, port: int) -> None:
        """Stop what `listen_there` began; a connection that has ended is no error."""
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            self._transport.cancel_port_forward(LOOPBACK, port)

    def lost(self, doing: str) -> ConnectionLost:
        """Return the error for a connection that was lost while `doing` something."""
        cause = self._transport.get_exception()
        closed = "the connection was closed" if cause is None else f"the connection was interrupted ({_words(cause)})"
        what = f"{doing}: the connection was lost"
        return ConnectionLost(self.login.where, what, self._silence or closed, self.login.command_line())

    def close(self) -> None:
        """Close the connection and end its threads; a connection that has ended already is no error."""
        self._closed.set()
        _end(self._transport)
        if threading.current_thread() is not self._watcher:
            self._watcher.join(JOIN_SECONDS)

    def _watch(self) -> None:
        packetizer = self._transport.packetizer
        received, silent = packetizer.received_messages, 0
        while not self._closed.wait(self._keepalive_seconds / TICKS) and self._transport.is_active():
            silent = 0 if packetizer.received_messages != received else silent + 1
            received = packetizer.received_messages
            if silent == TICKS:
                threading.Thread(target=self._request_answer, name=f"ask {self.login.name}", daemon=True).start()
            elif silent == 2 * TICKS:
                seconds = 2 * self._keepalive_seconds
                self._silence = f"the server sent nothing for {seconds:g} s, although it was asked for an answer"
                _end(self._transport)

    def _request_answer(self) -> None:
        """Request any answer; OpenSSH refuses this unknown request, and the refusal is an answer."""
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            self._transport.global_request("keepalive@openssh.com", wait=True)


def connect(
    login: Login, *, connect_seconds: float = CONNECT_SECONDS, keepalive_seconds: float = KEEPALIVE_SECONDS
) -> Connection:
    """Connect, verify the host key and log in; TCP connect, banner and handshake may each take `connect_seconds`.

    Raises:
        LoginRefused: the key cannot be used (see `Login.private_key`), or the server does not accept it for this user.
        HostKeyRefused: the server has another host key than the pinned one; not even the user's name was sent.
        ConnectionLost: the server could not be reached, or did not answer as an SSH server; `obstacle` says which.
    """
    private, pinned = login.private_key(), login.pinned_key()
    transport = _make_transport(_dial(login, connect_seconds), pinned, connect_seconds)
    try:
        _shake_hands(transport, login, pinned)
        _log_in(transport, login, private)
        return Connection(login, transport, keepalive_seconds=keepalive_seconds)
    except BaseException:
        _end(transport)
        raise


def _dial(login: Login, seconds: float) -> socket.socket:
    try:
        link = socket.create_connection((login.address, login.port), timeout=seconds)
    except ConnectionRefusedError as error:
        raise _not_connected(login, Obstacle.REFUSED, "no server listens on the port") from error
    except TimeoutError as error:
        raise _not_connected(login, Obstacle.TIMED_OUT, f"no TCP connection within {seconds:g} s") from error
    except OSError as error:
        raise _not_connected(login, Obstacle.UNREACHABLE, _words(error)) from error
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def _make_transport(link: socket.socket, pinned: paramiko.PKey, seconds: float) -> BatchTransport:
    transport = BatchTransport(link)
    transport.set_log_channel(_LOG.name)
    transport.packetizer.set_log(_LOG)
    options = transport.get_security_options()
    options.ciphers = CIPHERS
    options.compression = ("none",)
    options.key_types = _signatures(pinned.get_name())
    transport.banner_timeout = transport.handshake_timeout = seconds
    transport.auth_timeout = LOGIN_SECONDS
    return transport


def _signatures(kind: str) -> tuple[str, ...]:
    """Return the signature algorithms of a kind of key; RSA has two, every other kind has one of its own name."""
    return ("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,)


def _shake_hands(transport: BatchTransport, login: Login, pinned: paramiko.PKey) -> None:
    try:
        transport.start_client()
        offered = transport.get_remote_server_key()
    except IncompatiblePeer as error:
        if "host key" in str(error):
            raise _other_host(login, f"the server has no host key of kind {pinned.get_name()}") from error
        raise _not_connected(login, Obstacle.CUT, _words(error)) from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        if isinstance(error.__context__, TimeoutError):
            why = f"the server accepted the connection and sent nothing for {transport.banner_timeout:g} s"
            raise _not_connected(login, Obstacle.NO_BANNER, why) from error
        raise _not_connected(login, Obstacle.CUT, f"the server ended the handshake ({_words(error)})") from error
    if offered.asbytes() != pinned.asbytes():
        shown = f"the server showed {offered.get_name()} {offered.fingerprint}, not {pinned.fingerprint}"
        raise _other_host(login, shown)


def _log_in(transport: BatchTransport, login: Login, key: paramiko.PKey) -> None:
    try:
        missing = transport.auth_publickey(login.user, key)
    except paramiko.AuthenticationException as error:
        if not transport.is_active() or "timeout" in str(error):
            why = f"the connection ended during the login ({_words(error)})"
            raise _not_connected(login, Obstacle.CUT, why) from error
        why = f"the server does not accept this key for this user ({_words(error)})"
        raise LoginRefused(login.where, _target(login), why, login.command_line("true")) from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        why = f"the connection ended during the login ({_words(error)})"
        raise _not_connected(login, Obstacle.CUT, why) from error
    if missing:
        why = f"the server accepts the key and requires further authentication: {', '.join(missing)}"
        raise LoginRefused(login.where, _target(login), why, "allow a login by key alone in the server's sshd_config")


def _end(transport: BatchTransport) -> None:
    transport.packetizer.complete_handshake()  # stops its timer, which would keep the process alive
    with contextlib.suppress(OSError):  # the server may have closed the connection already
        transport.sock.shutdown(socket.SHUT_RDWR)  # wakes the transport's thread, which otherwise polls every 0.1 s
    transport.close()
    transport.sock.close()
    if transport.is_alive() and transport is not threading.current_thread():
        transport.join(JOIN_SECONDS)


def _not_connected(login: Login, obstacle: Obstacle, why: str) -> ConnectionLost:
    return ConnectionLost(login.where, _target(login), why, login.command_line("true"), obstacle)


def _other_host(login: Login, found: str) -> HostKeyRefused:
    why = f"{found}: another machine answers there, or the instance was tampered with; nothing was sent to it"
    return HostKeyRefused(login.where, _target(login), why, f"terminate {login.name} and run the same command again")


def _target(login: Login) -> str:
    return f"{login.user}@{login.address}:{login.port} with {login.key_path}"


def _words(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
