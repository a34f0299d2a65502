"""An AWS endpoint in front of localaws that passes every request on and remembers what each one asked for.

A test may add faults: an answer that is lost after the call was carried out, or another answer than localaws gives.
"""

import http.client
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.aws_requests import READING, Request

HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


@dataclass
class Fault:
    """What happens to the next `times` calls of an operation whose body holds `holding`, in one or any `region`.

    An operation "" is any.

    `instead` is (status, body) to answer, with `headers`, in place of the call or, with `is_carried_out`, after it;
    `change` is what to make of localaws's own answer. With neither the call is carried out and its answer lost: the
    connection closes.
    """

    operation: str
    holding: bytes = b""
    instead: tuple[int, bytes] | None = None
    is_carried_out: bool = False
    change: Callable[[bytes], bytes] | None = None
    times: int = 1
    headers: tuple[tuple[str, str], ...] = ()
    region: str = ""

    def is_for(self, operation: str, body: bytes) -> bool:
        """Tell whether the call is one of them, wherever it is."""
        return self.times > 0 and self.operation in ("", operation) and self.holding in body

    def is_there(self, request: Request) -> bool:
        """Tell whether a request is signed for the region."""
        return self.region == "" or f"/{self.region}/" in request.headers.get("Authorization", "")


def ec2_error(code: str, message: str, status: int = 400) -> tuple[int, bytes]:
    """Return an error as EC2 spells it, for `Fault.instead`."""
    error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return status, f"<Response><Errors>{error}</Errors><RequestID>0</RequestID></Response>".encode()


@dataclass
class Calls:
    """The operations seen, such as "SageMaker.CreateModel", "CreateRole" or "PUT /bucket/key"."""

    url: str = ""
    seen: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def fault_for(self, operation: str, request: Request) -> Fault | None:
        """Return the first fault that is for this call, one time less of it left."""
        for fault in self.faults:
            if fault.is_there(request) and fault.is_for(operation, request.body):
                fault.times -= 1
                return fault
        return None

    def mutating(self) -> list[str]:
        """Return the operations that create, change or delete something; invoking a function is not one of them."""
        return [operation for operation in self.seen if not _only_reads(operation)]


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep the test's output quiet about a client that was ended while it waited for its answer."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def counting_proxy(target: str, calls: Calls | None = None) -> Iterator[Calls]:
    """Serve on a free loopback port, pass everything on to `target`, and keep what was asked in `calls`."""
    calls = Calls() if calls is None else calls
    server = _Server(("127.0.0.1", 0), _handler(calls, urlsplit(target).netloc))
    server.daemon_threads = True
    calls.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02))
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
        disable_nagle_algorithm = True  # else every answer waits 40 ms for the acknowledgement of its headers

        def _pass_on(self) -> None:
            if self.headers.get("Expect", "").lower() == "100-continue":
                self.send_response_only(100)
                self.end_headers()
            body = self._body()
            operation = _operation(self.command, self.path, self.headers.get("X-Amz-Target"), body)
            calls.seen.append(operation)
            fault = calls.fault_for(operation, Request(self.command, self.path, dict(self.headers.items()), body))
            if fault and fault.instead and not fault.is_carried_out:
                self._send(fault.instead[0], "", list(fault.headers), fault.instead[1], str(len(fault.instead[1])))
                return
            answer, content = self._upstream(body)
            if fault and fault.instead:
                self._send(fault.instead[0], "", list(fault.headers), fault.instead[1], str(len(fault.instead[1])))
                return
            if fault and fault.change is None:
                self.close_connection = True
                return
            self._reply(answer, fault.change(content) if fault and fault.change else content)

        def _upstream(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
            upstream = http.client.HTTPConnection(target, timeout=70)
            dropped = HOP_BY_HOP | {"expect"}
            headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
            headers["Content-Length"] = str(len(body))
            upstream.request(self.command, self.path, body=body, headers=headers)
            answer = upstream.getresponse()
            content = answer.read()
            upstream.close()
            return answer, content

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
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            self._send(answer.status, answer.reason, answer.getheaders(), content, length or str(len(content)))

        def _send(self, status: int, reason: str, headers: list[tuple[str, str]], content: bytes, length: str) -> None:
            self.send_response_only(status, reason)
            for name, value in headers:
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", length)
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
