"""Finds free ports on loopback."""

from __future__ import annotations

import socket

from tasks.run.errors import StageFailed


def free_port(preferred: int) -> int:
    """Return the preferred port, or any free one when another program uses it.

    Raises:
        StageFailed: no port is free.
    """
    for port in (preferred, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StageFailed("ports", "127.0.0.1 has no free port", "the system gave none", "ss -ltn")
