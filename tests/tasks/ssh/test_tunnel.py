"""A reverse tunnel through a real sshd: what connects to its port there reaches a server here."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tasks.run.errors import RemoteFailed
from tasks.ssh.remote import Remote
from tasks.ssh.tunnel import reverse_tunnel
from tests.polling import wait_until
from tests.sshd import Sshd, running_sshd

SECONDS = 20.0


@contextmanager
def echoing() -> Iterator[int]:
    """Serve an echo on a loopback port until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        yield server.getsockname()[1]


def serve(server: socket.socket) -> None:
    while True:
        try:
            link, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=echo, args=(link,), daemon=True).start()


def echo(link: socket.socket) -> None:
    with link:
        while piece := link.recv(65_536):
            link.sendall(piece)


def echoed(port: int, sent: bytes) -> bytes:
    """Send bytes to a port while another thread reads as many back."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=SECONDS)) as link:
        threading.Thread(target=link.sendall, args=(sent,), daemon=True).start()
        received = bytearray()
        while len(received) < len(sent) and (piece := link.recv(65_536)):
            received += piece
    return bytes(received)


def ends_at_once(port: int) -> bool:
    with closing(socket.create_connection(("127.0.0.1", port), timeout=SECONDS)) as link:
        try:
            return link.recv(1) == b""
        except ConnectionResetError:
            return True


def test_every_byte_of_many_connections_comes_and_goes_although_their_channel_numbers_are_used_again(
    sshd: Sshd,
) -> None:
    content = os.urandom(300_000)
    with echoing() as port, Remote(sshd.login()) as remote, reverse_tunnel(remote, port) as there:
        assert [echoed(there, content) == content for _ in range(12)] == [True] * 12


def test_a_connection_while_nothing_listens_here_ends_and_a_later_one_arrives(sshd: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        free = closed.getsockname()[1]
    with Remote(sshd.login()) as remote, reverse_tunnel(remote, free) as there:
        assert [ends_at_once(there) for _ in range(3)] == [True] * 3
        with socket.create_server(("127.0.0.1", free)) as server:
            threading.Thread(target=serve, args=(server,), daemon=True).start()
            assert echoed(there, b"hello") == b"hello"


def test_a_tunnel_listens_on_loopback_only_and_not_after_its_block(sshd: Sshd) -> None:
    with echoing() as port, Remote(sshd.login()) as remote:
        with reverse_tunnel(remote, port) as there:
            listening = remote.run("cat /proc/net/tcp /proc/net/tcp6").stdout.decode()
            assert [
                row for row in listening.splitlines() if f":{there:04X} 0000" in row and "0100007F:" not in row
            ] == []
            assert echoed(there, b"hello") == b"hello"
        wait_until(lambda: not is_open(there), "the end of the tunnel")


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=SECONDS).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_server_that_allows_no_forwarding_is_told_of() -> None:
    with running_sshd(extra="AllowTcpForwarding no\n") as server, Remote(server.login()) as remote:
        with pytest.raises(RemoteFailed, match="a reverse tunnel"), reverse_tunnel(remote, 1):
            pytest.fail("the tunnel was opened")
        assert remote.run("echo here").stdout == b"here\n"
