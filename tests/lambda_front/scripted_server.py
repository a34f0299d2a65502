"""A TCP server on loopback that sends what a test's script says, and records the requests."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

Pieces = Iterable[bytes | float]  # bytes are sent; a number is a pause in seconds
Script = Callable[[bytes, int], Pieces]  # takes the request and its number


@dataclass
class ScriptedServer:
    """Responds to each request with the pieces that the script returns for it."""

    port: int
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    @property
    def netloc(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/photo.jpg") -> str:
        return f"http://{self.netloc}{path}"


@contextlib.contextmanager
def scripted(script: Script, *, keep_alive: bool = False) -> Iterator[ScriptedServer]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = ScriptedServer(listener.getsockname()[1])
        thread = threading.Thread(target=_accept, args=(listener, server, script, keep_alive), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(60)


def answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    """Return a whole HTTP response; underscores in header names become hyphens."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status}", *(f"{k}: {v}" for k, v in {"Content-Length": str(len(body)), **given}.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _accept(listener: socket.socket, server: ScriptedServer, script: Script, keep_alive: bool) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            server.connections += 1
            threading.Thread(target=_serve, args=(connection, server, script, keep_alive), daemon=True).start()


def _serve(connection: socket.socket, server: ScriptedServer, script: Script, keep_alive: bool) -> None:
    with connection, contextlib.suppress(OSError):
        while request := _read(connection):
            server.requests.append(request)
            for piece in script(request, len(server.requests)):
                if isinstance(piece, bytes):
                    connection.sendall(piece)
                else:
                    time.sleep(piece)
            if not keep_alive:
                return


def _read(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = connection.recv(65536)
        if not chunk:
            return b""
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while lengths and len(body) < int(lengths[0]):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body
