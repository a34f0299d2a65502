"""JSON messages with descriptors, over a pair of connected Unix sockets that keep messages apart."""

import contextlib
import json
import os
import socket
from collections.abc import Sequence
from typing import Any

MESSAGE_BYTES = 1 << 20
DESCRIPTORS = 8


def channel() -> tuple[socket.socket, socket.socket]:
    """Return two connected ends."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MESSAGE_BYTES)
    return ends


def send(end: socket.socket, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send a message; the descriptors are copied to the receiver.

    Raises:
        OSError: the other end is closed.
    """
    socket.send_fds(end, [json.dumps(message).encode()], list(descriptors))


def receive(end: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Return the next message and its descriptors, None when the other end is closed."""
    try:
        data, descriptors, _, _ = socket.recv_fds(end, MESSAGE_BYTES, DESCRIPTORS)
    except ConnectionError:
        return None
    return (json.loads(data), descriptors) if data else None


def close_all(descriptors: Sequence[int]) -> None:
    """Close descriptors that came with a message and are not wanted."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
