"""Finds free ports on loopback, and tells who has one."""

from __future__ import annotations

import contextlib
import socket

import psutil

from tasks.run.errors import StageFailed

_reserved: dict[int, socket.socket] = {}


def free_port(*preferred: int) -> int:
    """Return the first preferred port that no program has and no other command is about to use, or any free one.

    Raises:
        StageFailed: no port is free.
    """
    for port in (*preferred, 0):
        if port and not _reserve(port):
            continue
        if found := _bound(port):
            return found
    raise StageFailed("ports", "127.0.0.1 has no free port", "the system gave none", "ss -ltn")


def is_free(port: int) -> bool:
    """Tell whether no program has the port."""
    return _bound(port) is not None


def listens(pid: int, port: int) -> bool:
    """Tell whether that very process listens on a port of loopback; then no other program does."""
    with contextlib.suppress(psutil.Error):
        held = psutil.Process(pid).net_connections("tcp4")
        return any(each.status == psutil.CONN_LISTEN and each.laddr == ("127.0.0.1", port) for each in held)
    return False


def _bound(port: int) -> int | None:
    """Return the port that a socket gets by asking for it, or for any with 0; None if it is taken."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return None
        return int(probe.getsockname()[1])


def _reserve(port: int) -> bool:
    """Reserve a port among kennel's commands until this process ends; tell whether no other command has done so.

    A server needs seconds until it listens. A command that starts meanwhile would choose the same port, and take the
    other command's server for its own. The reservation is a name in Linux's abstract namespace, which the kernel frees.
    """
    if port in _reserved:
        return True
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0kennel-port-{port}")
    except OSError:
        name.close()
        return False
    _reserved[port] = name
    return True
