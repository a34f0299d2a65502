"""A reverse tunnel: connections to a port of the remote machine's loopback reach a port of this machine's.

Nothing listens on another address on either side, so that no firewall or security group has to be opened. Each
connection is a channel of the SSH session, relayed by two threads.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import paramiko

from tasks.run.errors import RemoteFailed
from tasks.ssh.connection import LOOPBACK
from tasks.ssh.remote import Remote

DIAL_SECONDS = 10.0
PIECE_BYTES = 2**16
_BROKEN = (paramiko.SSHException, EOFError, OSError)


@contextlib.contextmanager
def reverse_tunnel(remote: Remote, port: int) -> Iterator[int]:
    """Open a tunnel to `port` of this machine's loopback and yield the remote machine's port; close it at the end.

    A connection there while nothing listens here is closed at once. Connections that are open at the end stay open
    until one side closes them, or with the SSH session.

    Raises:
        LoginRefused, HostKeyRefused, ConnectionLost: there was no connection, and none could be opened.
        RemoteFailed: the server does not allow it.
    """
    connection = remote.connect()

    def accept(channel: paramiko.Channel, *_: object) -> None:
        threading.Thread(target=_relay, args=(channel, port), name="ssh tunnel", daemon=True).start()

    try:
        there = connection.listen_there(accept)
    except _BROKEN as error:
        if not connection.is_alive():
            raise connection.lost("opening a tunnel") from error
        allow = "set AllowTcpForwarding to yes in the server's sshd_config"
        raise RemoteFailed(remote.login.where, "a reverse tunnel", str(error) or "it was refused", allow) from error
    try:
        yield there
    finally:
        connection.stop_listening(there)


def _relay(channel: paramiko.Channel, port: int) -> None:
    """Relay a connection in both directions until one side has closed it."""
    try:
        link = socket.create_connection((LOOPBACK, port), timeout=DIAL_SECONDS)
    except OSError:
        channel.close()
        return
    link.settimeout(None)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    threading.Thread(target=_to_channel, args=(link, channel), name="ssh tunnel", daemon=True).start()
    with contextlib.suppress(*_BROKEN):
        while piece := channel.recv(PIECE_BYTES):
            link.sendall(piece)
    with contextlib.suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)  # wakes the other thread, which closes both
    link.close()


def _to_channel(link: socket.socket, channel: paramiko.Channel) -> None:
    with contextlib.suppress(*_BROKEN):
        while piece := link.recv(PIECE_BYTES):
            channel.sendall(piece)
    with contextlib.suppress(*_BROKEN):
        channel.close()
