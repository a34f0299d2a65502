"""Addresses of instances: private ones as on AWS, public ones on loopback, and the port of SSH.

Public addresses are in 127.16.0.0/12, all of which Linux already accepts on loopback. Two servers on one machine start
at different addresses, chosen by their homes. An address at which another program listens is skipped.
"""

import contextlib
import errno
import ipaddress
import socket
import sys
import threading
import zlib

from localaws.errors import LocalAwsError

POOL = ipaddress.IPv4Network("127.16.0.0/12")
PRIVATE_BEGIN, PRIVATE_END = ipaddress.IPv4Address("172.31.0.10"), ipaddress.IPv4Address("172.31.15.254")
SSH_PORT, OTHER_SSH_PORT, PORTS_TRIED = 22, 2222, 100


class NoAddress(LocalAwsError):
    """There is no address that an instance could be reached at."""


class Addresses:
    """Gives addresses out and takes them back. `owner` decides where in the pool it begins."""

    def __init__(self, owner: str, ssh_port: int) -> None:
        self._ssh_port = ssh_port
        self._lock = threading.Lock()
        self._begin = first_public(owner)
        self._used: set[str] = set()

    def new(self, *, is_shared: bool) -> tuple[str, str]:
        """Return a free private and public address; with `is_shared`, where there are no namespaces, one that is both.

        Raises:
            NoAddress: this machine has none of the public ones, or all are in use.
        """
        with self._lock:
            public = self._free_public()
            private = public if is_shared else self._free_private()
            self._used |= {public, private}
        return private, public

    def give_back(self, *addresses: str | None) -> None:
        """Take back addresses that nothing uses any more."""
        with self._lock:
            self._used -= set(addresses)

    def _free_public(self) -> str:
        for step in range(POOL.num_addresses // 4):
            address = _in_pool(self._begin + step)
            if address not in self._used and can_listen(address, self._ssh_port):
                return address
        raise NoAddress(f"no address of {POOL} is free at port {self._ssh_port} on this machine")

    def _free_private(self) -> str:
        for number in range(int(PRIVATE_BEGIN), int(PRIVATE_END)):
            address = str(ipaddress.IPv4Address(number))
            if address not in self._used and number % 256 not in (0, 255):
                return address
        raise NoAddress(f"every private address up to {PRIVATE_END} is in use")


def first_public(owner: str) -> int:
    """Return the number in the pool at which the addresses of a server begin."""
    blocks: int = POOL.num_addresses // 256
    return zlib.crc32(owner.encode()) % blocks * 256 + 10


def choose_ssh_port(owner: str) -> int:
    """Return the port that all instances of a server are reached at by SSH: 22 if it may be had, else 2222 or the next.

    Where the pool's addresses have to be made first (macOS) it is 2222: making an instance then says what is missing.
    """
    address = _in_pool(first_public(owner))
    ports: list[int] = [SSH_PORT, *range(OTHER_SSH_PORT, OTHER_SSH_PORT + PORTS_TRIED)]
    with contextlib.suppress(NoAddress):
        for port in ports:
            if can_listen(address, port):
                return port
    return OTHER_SSH_PORT


def can_listen(address: str, port: int) -> bool:
    """Return whether the address is free and this process may listen at it.

    Raises:
        NoAddress: this machine does not have the address.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen()
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise NoAddress(
                    f"this machine ({sys.platform}) lacks the address {address}; add it: `ifconfig lo0 alias {address}`"
                ) from error
            return False
    return True


def _in_pool(number: int) -> str:
    return str(POOL[number % POOL.num_addresses])
