"""A listener that handlers report to, and may be held by: they see no folder of the test's."""

import contextlib
import socket
import threading
from collections.abc import Iterator

TELL = """
import socket
def tell(port, line):
    with socket.create_connection(("127.0.0.1", int(port))) as connection:
        connection.sendall(line.encode())
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(100).decode()
"""
"""Source for a handler: it says a line and gets, once the gate is open, how many had been said before."""


class Ear:
    """Hears what handlers say; whoever says something waits until the gate is open."""

    def __init__(self, listener: socket.socket) -> None:
        self.port: int = listener.getsockname()[1]
        self.lines: list[str] = []
        self.gate = threading.Event()
        self._listener = listener

    def listen(self) -> None:
        """Accept until the listener is shut down."""
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._hear, args=(connection,), daemon=True).start()

    def _hear(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            line = b"".join(iter(lambda: connection.recv(1000), b""))
            self.lines.append(line.decode())
            number = len(self.lines) - 1
            self.gate.wait()
            connection.sendall(str(number).encode())


@contextlib.contextmanager
def hearing(*, is_open: bool = True) -> Iterator[Ear]:
    """Listen on loopback until the block ends, which opens the gate."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ear = Ear(listener)
        if is_open:
            ear.gate.set()
        threading.Thread(target=ear.listen, daemon=True).start()
        try:
            yield ear
        finally:
            ear.gate.set()
            listener.shutdown(socket.SHUT_RDWR)
