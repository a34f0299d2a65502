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
from paramiko.ssh_exception import IncompatiblePeer

from tasks.run.errors import ConnectionLost, HostKeyRefused, LoginRefused
from tasks.ssh.login import Login
from tasks.ssh.packets import Wire

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

_LOG = logging.getLogger("kennel.wire")
_LOG.addHandler(logging.NullHandler())
_LOG.propagate = False  # paramiko logs a traceback for what is raised here as an error of ours


class Obstacle(enum.StrEnum):
    """What stood between us and a login."""

    REFUSED = "refused"
    TIMED_OUT = "timed out"
    UNREACHABLE = "unreachable"
    NO_BANNER = "no banner"
    CUT = "cut"


class Connection:
    """A connection that is logged in. Made by `connect`, ended by `close`; channels may be opened from any thread."""

    def __init__(self, login: Login, wire: Wire, *, keepalive_seconds: float) -> None:
        self.login = login
        self._wire = wire
        self._keepalive_seconds = keepalive_seconds
        self._silence: str | None = None
        self._closed = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name=f"watch {login.name}", daemon=True)
        self._watcher.start()

    def is_alive(self) -> bool:
        """Tell whether the connection stands, as far as is known."""
        return self._wire.is_active()

    def has_ended(self, within_seconds: float) -> bool:
        """Wait so long at most for the connection to end, and tell whether it did."""
        self._wire.join(within_seconds)
        return not self._wire.is_alive()

    def open_channel(self, deadline_seconds: float) -> paramiko.Channel:
        """Open a channel for one command; raises what paramiko raises."""
        return self._wire.open_session(window_size=WINDOW_BYTES, timeout=deadline_seconds)

    def send(self, channel: paramiko.Channel, content: memoryview) -> int:
        """Send some of `content` as data of a channel; see `Wire.send_content`."""
        return self._wire.send_content(channel, content)

    def lost(self, doing: str) -> ConnectionLost:
        """Return the error that says that the connection ended while `doing` something."""
        met = self._wire.get_exception()
        why = self._silence or ("the connection was closed" if met is None else f"{_words(met)}: it was cut on the way")
        return ConnectionLost(self.login.where, f"{doing}: the connection was lost", why, self.login.command_line())

    def close(self) -> None:
        """End the connection and its threads; harmless when it has ended already."""
        self._closed.set()
        _end(self._wire)
        if threading.current_thread() is not self._watcher:
            self._watcher.join(JOIN_SECONDS)

    def _watch(self) -> None:
        packets = self._wire.packetizer
        heard, silent = packets.heard, 0
        while not self._closed.wait(self._keepalive_seconds / TICKS) and self._wire.is_active():
            silent = 0 if packets.heard != heard else silent + 1
            heard = packets.heard
            if silent == TICKS:
                threading.Thread(target=self._ask, name=f"ask {self.login.name}", daemon=True).start()
            elif silent == 2 * TICKS:
                self._silence = f"nothing came for {2 * self._keepalive_seconds:g} s, although an answer was asked for"
                _end(self._wire)

    def _ask(self) -> None:
        """Ask for any answer (OpenSSH refuses what it does not know, which is one); return, too, when all has ended."""
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            self._wire.global_request("keepalive@openssh.com", wait=True)


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
    wire = _wire(_dial(login, connect_seconds), pinned, connect_seconds)
    try:
        _shake_hands(wire, login, pinned)
        _log_in(wire, login, private)
        return Connection(login, wire, keepalive_seconds=keepalive_seconds)
    except BaseException:
        _end(wire)
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


def _wire(link: socket.socket, pinned: paramiko.PKey, seconds: float) -> Wire:
    wire = Wire(link)
    wire.set_log_channel(_LOG.name)
    wire.packetizer.set_log(_LOG)
    options = wire.get_security_options()
    options.ciphers = CIPHERS
    options.compression = ("none",)
    options.key_types = _signatures(pinned.get_name())
    wire.banner_timeout = wire.handshake_timeout = seconds
    wire.auth_timeout = LOGIN_SECONDS
    return wire


def _signatures(kind: str) -> tuple[str, ...]:
    """RSA keys sign in two ways; every other kind of key in its own."""
    return ("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,)


def _shake_hands(wire: Wire, login: Login, pinned: paramiko.PKey) -> None:
    try:
        wire.start_client()
        offered = wire.get_remote_server_key()
    except IncompatiblePeer as error:
        if "host key" in str(error):
            raise _other_host(login, f"it has no key of kind {pinned.get_name()}") from error
        raise _not_connected(login, Obstacle.CUT, _words(error)) from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        if isinstance(error.__context__, TimeoutError):
            why = f"it accepted the connection and said nothing for {wire.banner_timeout:g} s"
            raise _not_connected(login, Obstacle.NO_BANNER, why) from error
        raise _not_connected(login, Obstacle.CUT, f"the server ended the handshake ({_words(error)})") from error
    if offered.asbytes() != pinned.asbytes():
        raise _other_host(login, f"it showed {offered.get_name()} {offered.fingerprint}, not {pinned.fingerprint}")


def _log_in(wire: Wire, login: Login, key: paramiko.PKey) -> None:
    try:
        missing = wire.auth_publickey(login.user, key)
    except paramiko.AuthenticationException as error:
        if not wire.is_active() or "timeout" in str(error):
            raise _not_connected(login, Obstacle.CUT, f"it ended during the login ({_words(error)})") from error
        why = f"the server does not accept this key for this user ({_words(error)})"
        raise LoginRefused(login.where, _target(login), why, login.command_line("true")) from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise _not_connected(login, Obstacle.CUT, f"it ended during the login ({_words(error)})") from error
    if missing:
        why = f"the server accepts the key and wants more: {', '.join(missing)}"
        raise LoginRefused(login.where, _target(login), why, "allow a login by key alone in the server's sshd_config")


def _end(wire: Wire) -> None:
    wire.packetizer.complete_handshake()  # else its timer would keep the process alive
    with contextlib.suppress(OSError):  # the other side may have ended it already
        wire.sock.shutdown(socket.SHUT_RDWR)  # wakes the wire's thread, which else looks up every 0.1 s only
    wire.close()
    wire.sock.close()
    if wire.is_alive() and wire is not threading.current_thread():
        wire.join(JOIN_SECONDS)


def _not_connected(login: Login, obstacle: Obstacle, why: str) -> ConnectionLost:
    return ConnectionLost(login.where, _target(login), why, login.command_line("true"), obstacle)


def _other_host(login: Login, found: str) -> HostKeyRefused:
    why = f"{found}: another machine answers there, or the instance was tampered with; nothing was sent to it"
    return HostKeyRefused(login.where, _target(login), why, f"terminate {login.name} and run the same command again")


def _target(login: Login) -> str:
    return f"{login.user}@{login.address}:{login.port} with {login.key_path}"


def _words(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
