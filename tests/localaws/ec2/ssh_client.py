"""Reaching an instance by SSH, whatever host key it shows."""

import contextlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko


@contextmanager
def connected(address: str, port: int, key: paramiko.PKey) -> Iterator[paramiko.SSHClient]:
    """Connect by SSH as `ubuntu`."""
    with contextlib.closing(paramiko.SSHClient()) as client:
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
        client.connect(
            address, port, "ubuntu", pkey=key, allow_agent=False, look_for_keys=False, timeout=60, banner_timeout=60
        )
        yield client


def banner(address: str, port: int) -> bytes:
    """Return the first bytes that a server sends.

    Raises:
        ConnectionRefusedError: nobody listens.
    """
    with socket.create_connection((address, port), 5) as connection:
        connection.settimeout(5)
        return connection.recv(4)
