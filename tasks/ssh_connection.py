"""One SSH connection: dialled, the host's key compared with the pinned one, logged in, and watched while it lives.

What is paramiko's and what is ours: the protocol is paramiko's. Ours are the order (nothing is sent before the host key
was found right), what is preferred (AES-GCM, no compression), deadlines, the meaning of what paramiko raises, and the
watch: paramiko's own keepalive asks for no answer, so it cannot tell a silent link from a quiet one. After
`keepalive_seconds` without a message from the server the watch asks for one, and after as long again without an answer
it ends the connection, which wakes every call that waits on it.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import socket
import threading

import paramiko
from paramiko.message import Message
from paramiko.packet import Packetizer
from paramiko.ssh_exception import IncompatiblePeer

from tasks.errors import ConnectionLost, HostKeyRefused, LoginRefused
from tasks.ssh_login import Login

CONNECT_SECONDS = 15.0
KEEPALIVE_SECONDS = 30.0
LOGIN_SECONDS = 30.0
JOIN_SECONDS = 5.0
TICKS = 4
"""How often in a keepalive interval the watch looks. It counts looks, not seconds, so that a process that was stopped
for minutes does not find the connection dead when it goes on."""

WINDOW_BYTES = 8 * 2**20
"""What the server may send before it must wait for us: at paramiko's 2 MiB a far machine is slowed down by the way."""

CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")

_WIRE = logging.getLogger("kennel.wire")
_WIRE.addHandler(logging.NullHandler())
_WIRE.propagate = False  # paramiko logs a traceback for what is raised here as an error of ours


class Obstacle(enum.StrEnum):
    """What stood between us and a login."""

    REFUSED = "refused"
    TIMED_OUT = "timed out"
    UNREACHABLE = "unreachable"
    NO_BANNER = "no banner"
    CUT = "cut"


class _Hearing(Packetizer):
    """Counts the messages that came, and has each acknowledged at once.

    Without that the kernel delays acknowledgements by 40 ms, and OpenSSH's server holds its next small message back
    until then: 40 ms for every command.
    """

    def __init__(self, link: socket.socket) -> None:
        super().__init__(link)
        self._link = link
        self.heard = 0

    def read_message(self) -> tuple[int, Message]:
        message = super().read_message()
        self.heard += 1
        if hasattr(socket, "TCP_QUICKACK"):
            with contextlib.suppress(OSError):
                self._link.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return message


class Connection:
    """A connection that is logged in. Made by `connect`, ended by `close`; channels may be opened from any thread."""

    def __init__(self, login: Login, transport: paramiko.Transport, *, keepalive_seconds: float) -> None:
        self.login = login
        self._transport = transport
        self._keepalive_seconds = keepalive_seconds
        self._silence: str | None = None
        self._closed = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name=f"watch {login.name}", daemon=True)
        self._watcher.start()

    def is_alive(self) -> bool:
        """Tell whether the connection stands, as far as is known."""
        return self._transport.is_active()

    def has_ended(self, within_seconds: float) -> bool:
        """Wait so long at most for the connection to end, and tell whether it did."""
        self._transport.join(within_seconds)
        return not self._transport.is_alive()

    def open_channel(self, deadline_seconds: float) -> paramiko.Channel:
        """Open a channel for one command; raises what paramiko raises."""
        return self._transport.open_session(window_size=WINDOW_BYTES, timeout=deadline_seconds)

    def lost(self, doing: str) -> ConnectionLost:
        """Return the error that says that the connection ended while `doing` something."""
        met = self._transport.get_exception()
        why = self._silence or ("the connection was closed" if met is None else f"{_words(met)}: it was cut on the way")
        return ConnectionLost(self.login.where, f"{doing}: the connection was lost", why, self.login.command_line())

    def close(self) -> None:
        """End the connection and its threads; harmless when it has ended already."""
        self._closed.set()
        _end(self._transport)
        if threading.current_thread() is not self._watcher:
            self._watcher.join(JOIN_SECONDS)

    def _watch(self) -> None:
        packetizer = self._transport.packetizer
        assert isinstance(packetizer, _Hearing)
        heard, silent = packetizer.heard, 0
        while not self._closed.wait(self._keepalive_seconds / TICKS) and self._transport.is_active():
            silent = 0 if packetizer.heard != heard else silent + 1
            heard = packetizer.heard
            if silent == TICKS:
                threading.Thread(target=self._ask, name=f"ask {self.login.name}", daemon=True).start()
            elif silent == 2 * TICKS:
                self._silence = f"nothing came for {2 * self._keepalive_seconds:g} s, although an answer was asked for"
                _end(self._transport)

    def _ask(self) -> None:
        """Ask for any answer (OpenSSH refuses what it does not know, which is one); return, too, when all has ended."""
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            self._transport.global_request("keepalive@openssh.com", wait=True)


def connect(
    login: Login, *, connect_seconds: float = CONNECT_SECONDS, keepalive_seconds: float = KEEPALIVE_SECONDS
) -> Connection:
    """Connect, compare the host's key, log in; the TCP connect, banner and handshake may take `connect_seconds` each.

    Raises:
        LoginRefused: the key cannot be used (see `Login.private_key`), or the server does not accept it for this user.
        HostKeyRefused: the server has another host key than the pinned one; not even the user's name was sent.
        ConnectionLost: there was no way to the server, or it did not answer as one; `obstacle` says which.
    """
    private, pinned = login.private_key(), login.pinned_key()
    transport = _transport(_dial(login, connect_seconds), pinned, connect_seconds)
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
        raise _not_connected(login, Obstacle.REFUSED, "nothing listens on the port") from error
    except TimeoutError as error:
        raise _not_connected(login, Obstacle.TIMED_OUT, f"no answer to the connect within {seconds:g} s") from error
    except OSError as error:
        raise _not_connected(login, Obstacle.UNREACHABLE, _words(error)) from error
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def _transport(link: socket.socket, pinned: paramiko.PKey, seconds: float) -> paramiko.Transport:
    transport = paramiko.Transport(link, packetizer_class=_Hearing)
    transport.set_log_channel(_WIRE.name)
    transport.packetizer.set_log(_WIRE)
    options = transport.get_security_options()
    options.ciphers = CIPHERS
    options.compression = ("none",)
    options.key_types = _signatures(pinned.get_name())
    transport.banner_timeout = transport.handshake_timeout = seconds
    transport.auth_timeout = LOGIN_SECONDS
    return transport


def _signatures(kind: str) -> tuple[str, ...]:
    """RSA keys sign in two ways; every other kind of key in its own."""
    return ("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,)


def _shake_hands(transport: paramiko.Transport, login: Login, pinned: paramiko.PKey) -> None:
    try:
        transport.start_client()
        offered = transport.get_remote_server_key()
    except IncompatiblePeer as error:
        if "host key" in str(error):
            raise _other_host(login, f"it has no key of kind {pinned.get_name()}") from error
        raise _not_connected(login, Obstacle.CUT, _words(error)) from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        if isinstance(error.__context__, TimeoutError):
            why = f"it accepted the connection and said nothing for {transport.banner_timeout:g} s"
            raise _not_connected(login, Obstacle.NO_BANNER, why) from error
        raise _not_connected(login, Obstacle.CUT, f"the server ended the handshake ({_words(error)})") from error
    if offered.asbytes() != pinned.asbytes():
        raise _other_host(login, f"it showed {offered.get_name()} {offered.fingerprint}, not {pinned.fingerprint}")


def _log_in(transport: paramiko.Transport, login: Login, key: paramiko.PKey) -> None:
    try:
        missing = transport.auth_publickey(login.user, key)
    except paramiko.AuthenticationException as error:
        if not transport.is_active() or "timeout" in str(error):
            raise _not_connected(login, Obstacle.CUT, f"it ended during the login ({_words(error)})") from error
        why = f"the server does not accept this key for this user ({_words(error)})"
        raise LoginRefused(login.where, _target(login), why, login.command_line("true")) from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise _not_connected(login, Obstacle.CUT, f"it ended during the login ({_words(error)})") from error
    if missing:
        why = f"the server accepts the key and wants more: {', '.join(missing)}"
        raise LoginRefused(login.where, _target(login), why, "allow a login by key alone in the server's sshd_config")


def _end(transport: paramiko.Transport) -> None:
    transport.packetizer.complete_handshake()  # else its timer would keep the process alive
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
