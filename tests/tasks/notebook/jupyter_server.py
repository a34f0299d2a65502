"""A server on loopback that answers like Jupyter about kernels, sessions and terminals, over self-signed TLS."""

import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Jupyter:
    """The server's answers by path; a number is a status without a body."""

    url: str = ""
    answers: dict[str, Any] = field(default_factory=dict)

    def has(self, kernels: list[dict[str, Any]], terminals: list[dict[str, Any]] | None = None) -> None:
        """Answer with kernels, each with a session of the notebook `<id>.ipynb`, and terminals; None means 404."""
        self.answers = {
            "/api/kernels": kernels,
            "/api/sessions": [{"path": f"{kernel['id']}.ipynb", "kernel": kernel} for kernel in kernels],
            "/api/terminals": 404 if terminals is None else terminals,
        }


def kernel(name: str, at: float, state: str = "idle") -> dict[str, Any]:
    """Return a kernel as Jupyter describes it; `at` in seconds since the epoch."""
    return {"id": name, "name": "python3", "last_activity": stamp(at), "execution_state": state, "connections": 1}


def stamp(at: float) -> str:
    """Return a moment in Jupyter's format."""
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


@contextmanager
def jupyter_server(folder: Path) -> Iterator[Jupyter]:
    """Serve on a free port of 127.0.0.1 until the block ends."""
    jupyter = Jupyter()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(jupyter))
    server.daemon_threads = True
    server.socket = _context(folder).wrap_socket(server.socket, server_side=True)
    jupyter.url = f"https://localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield jupyter
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _context(folder: Path) -> ssl.SSLContext:
    key, certificate = folder / "jupyter.key", folder / "jupyter.pem"
    ask = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    where = ["-subj", "/CN=nobody.invalid", "-days", "1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*ask, *where], check=True, capture_output=True, timeout=30)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _handler(jupyter: Jupyter) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = jupyter.answers.get(self.path, 404)
            body = b"" if isinstance(answer, int) else answer if isinstance(answer, bytes) else _json(answer)
            self.send_response(answer if isinstance(answer, int) else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Keep the test's output quiet."""

    return Handler


def _json(content: Any) -> bytes:
    return json.dumps(content).encode()
