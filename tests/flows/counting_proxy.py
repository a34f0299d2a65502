"""An AWS endpoint in front of localaws that passes every request on and remembers what each one asked for."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

READING = ("Describe", "Get", "List", "Head", "Filter", "Lookup", "Simulate")
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


@dataclass
class Calls:
    """The operations seen, such as "SageMaker.CreateModel", "CreateRole" or "PUT /bucket/key"."""

    url: str = ""
    seen: list[str] = field(default_factory=list)

    def mutating(self) -> list[str]:
        """Return the operations that create, change or delete something; invoking a function is not one of them."""
        return [operation for operation in self.seen if not _only_reads(operation)]


@contextmanager
def counting_proxy(target: str) -> Iterator[Calls]:
    """Serve on a free loopback port and pass everything on to `target`."""
    calls = Calls()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(calls, urlsplit(target).netloc))
    server.daemon_threads = True
    calls.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield calls
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(calls: Calls, target: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            if self.headers.get("Expect", "").lower() == "100-continue":
                self.send_response_only(100)
                self.end_headers()
            body = self._body()
            calls.seen.append(_operation(self.command, self.path, self.headers.get("X-Amz-Target"), body))
            upstream = http.client.HTTPConnection(target, timeout=70)
            dropped = HOP_BY_HOP | {"expect"}
            headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
            headers["Content-Length"] = str(len(body))
            upstream.request(self.command, self.path, body=body, headers=headers)
            answer = upstream.getresponse()
            content = answer.read()
            upstream.close()
            self._reply(answer, content)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

        def _reply(self, answer: http.client.HTTPResponse, content: bytes) -> None:
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Keep the test's output quiet."""

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815  names that http.server asks for

    return Handler


def _operation(method: str, path: str, target: str | None, body: bytes) -> str:
    if target:
        return target
    if method == "POST" and body.startswith((b"Action=", b"Version=")):
        return parse_qs(body.decode())["Action"][0]
    return f"{method} {path}"


def _only_reads(operation: str) -> bool:
    if operation.startswith(("GET ", "HEAD ")):
        return True
    if operation.startswith("POST ") and operation.partition("?")[0].endswith("/invocations"):
        return True
    return operation.rpartition(".")[2].startswith(READING)
