"""Carries bytes between two connected sockets in both directions."""

import contextlib
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable

PIPE_BYTES = 256 * 1024
F_SETPIPE_SZ = 1031
RESET = struct.pack("ii", 1, 0)

Connect = Callable[[], socket.socket]


def carry(first: socket.socket, second: socket.socket) -> None:
    """Carry until both ends have finished; half-closing and resets are carried as well. Closes both."""
    with first, second:
        for end in (first, second):
            end.settimeout(None)  # splice waits only on sockets that block
            with contextlib.suppress(OSError):  # an end that was reset already
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=_pump, args=(second, first), daemon=True)
        back.start()
        _pump(first, second)
        back.join()


def reset(*ends: socket.socket) -> None:
    """Wake whoever uses the sockets; closing them then resets the connections."""
    for end in ends:
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            end.shutdown(socket.SHUT_RDWR)


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        if hasattr(os, "splice"):
            _splice(source, target)
        else:
            _copy(source, target)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        reset(source, target)


def _splice(source: socket.socket, target: socket.socket) -> None:
    """Move pages in the kernel; Python sees no byte."""
    exit_end, entry_end = os.pipe()
    try:
        with contextlib.suppress(OSError):  # a user's pipes may have used up their memory: then 64 KiB
            fcntl.fcntl(entry_end, F_SETPIPE_SZ, PIPE_BYTES)
        while moved := os.splice(source.fileno(), entry_end, PIPE_BYTES):
            while moved:
                moved -= os.splice(exit_end, target.fileno(), moved)
    finally:
        os.close(exit_end)
        os.close(entry_end)


def _copy(source: socket.socket, target: socket.socket) -> None:
    while data := source.recv(PIPE_BYTES):
        target.sendall(data)


class Relay:
    """Accepts on a listener and carries each connection to what `connect` gives, until closed."""

    def __init__(self, listener: socket.socket, connect: Connect) -> None:
        self._listener = listener
        self._connect = connect
        self._lock = threading.Lock()
        self._live: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self, *, cut: bool) -> None:
        """Accept no more; with `cut` the connections that are open are reset."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept, which close alone does not
        self._listener.close()
        if cut:
            with self._lock:
                reset(*self._live)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        try:
            far = self._connect()
        except OSError:
            reset(near)
            near.close()
            return
        with self._lock:
            self._live |= {near, far}
        try:
            carry(near, far)
        finally:
            with self._lock:
                self._live -= {near, far}
