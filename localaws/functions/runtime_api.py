"""The Lambda Runtime API (2018-06-01) of one execution environment, as an asyncio protocol.

Each environment listens on a loopback port of its own, so the port identifies the environment and requests need no
token; on AWS it is 127.0.0.1:9001. Any program of this machine can connect to it, so that each connection is judged
before a request is read from it: only processes of the environment may ask. This module handles HTTP and the paths;
`environment.py` decides what a call means.
Source: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import asyncio
import json
from typing import Protocol, cast

import httptools

from localaws.peers import Address

RESPONSE_LIMIT_BYTES = 6 * 1024 * 1024 + 100  # AWS's own figure: 6,291,556
_PREFIX = "/2018-06-01/runtime/"
_ACCEPTED = (
    b"HTTP/1.1 202 Accepted\r\nContent-Length: 16\r\nContent-Type: application/json\r\n\r\n" + b'{"status": "OK"}'
)
_REASONS = {
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    413: "Payload Too Large",
}


class RuntimeEvents(Protocol):
    """What an environment has to answer for."""

    async def is_own(self, near: Address, far: Address) -> bool:
        """Return whether a process of the environment holds the connection from `near` to `far`."""

    def on_next(self, connection: RuntimeConnection) -> None:
        """The runtime waits for an invocation; answer it with `connection.deliver`."""

    def on_response(self, request_id: str, body: bytes) -> bool:
        """The handler returned. False: no such invocation is running."""

    def on_error(self, request_id: str, body: bytes) -> bool:
        """The handler raised. False: no such invocation is running."""

    def on_oversized_response(self, request_id: str, size_bytes: int) -> None:
        """The handler's answer was larger than the limit and has been dropped."""

    def on_init_error(self, body: bytes) -> None:
        """The runtime could not load the handler."""

    def on_disconnect(self, connection: RuntimeConnection) -> None:
        """A connection of the runtime is gone, possibly with its process."""


class RuntimeConnection(asyncio.Protocol):
    """One TCP connection of a runtime client, requests served one after the other.

    What arrives before the connection is judged waits, and is dropped with the connection if it is a stranger's.
    """

    def __init__(self, environment: RuntimeEvents) -> None:
        self._environment = environment
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._unjudged: list[bytes] | None = []
        self._judging: asyncio.Task[None] | None = None
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._size_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        near, far = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if not (near and far):  # the client has gone meanwhile
            self.close()
            return
        self._judging = asyncio.get_running_loop().create_task(self._judge(near, far))

    async def _judge(self, near: Address, far: Address) -> None:
        is_own = await self._environment.is_own(near, far)
        arrived, self._unjudged = self._unjudged or [], None
        if self._transport is None:
            return  # what it asked for would go to nobody
        if is_own:
            self.data_received(b"".join(arrived))
        else:
            self._answer(403, {"errorType": "Forbidden", "errorMessage": "the caller is no process of the environment"})
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 asyncio's signature
        self._transport = None
        self._environment.on_disconnect(self)

    def data_received(self, data: bytes) -> None:
        if self._unjudged is not None:
            self._unjudged.append(data)
            if sum(map(len, self._unjudged)) > RESPONSE_LIMIT_BYTES:
                self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._answer(400, {"errorType": "InvalidRequest", "errorMessage": "not HTTP/1.1"})
            self.close()

    # httptools callbacks
    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self._headers.get(b"expect", b"").lower() == b"100-continue" and self._transport:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._size_bytes += len(body)
        if self._size_bytes <= RESPONSE_LIMIT_BYTES:
            self._body.append(body)

    def on_message_complete(self) -> None:
        method = self._parser.get_method()
        path = self._url.decode("latin-1").partition("?")[0]
        body, size_bytes = b"".join(self._body), self._size_bytes
        self._reset()
        self._route(method, path.removeprefix(_PREFIX) if path.startswith(_PREFIX) else "", body, size_bytes)

    def _route(self, method: bytes, path: str, body: bytes, size_bytes: int) -> None:
        parts = path.split("/")
        if method == b"GET" and path == "invocation/next":
            self._environment.on_next(self)
        elif method == b"POST" and path == "init/error":
            self._environment.on_init_error(body)
            self._accept()
        elif method == b"POST" and len(parts) == 3 and parts[0] == "invocation" and parts[2] in ("response", "error"):
            self._finish(parts[1], parts[2], body, size_bytes)
        else:
            self._answer(404, {"errorType": "InvalidPath", "errorMessage": f"no such call: {path}"})

    def _finish(self, request_id: str, kind: str, body: bytes, size_bytes: int) -> None:
        if size_bytes > RESPONSE_LIMIT_BYTES:
            self._environment.on_oversized_response(request_id, size_bytes)
            self._answer(413, {"errorType": "RequestEntityTooLarge", "errorMessage": f"{size_bytes} bytes"})
            return
        if kind == "response":
            is_known = self._environment.on_response(request_id, body)
        else:
            is_known = self._environment.on_error(request_id, body)
        if is_known:
            self._accept()
        else:
            self._answer(400, {"errorType": "InvalidRequestID", "errorMessage": "Invalid request ID"})

    def deliver(self, payload: bytes, headers: dict[str, str]) -> None:
        """Answer the runtime's pending `next` with an event."""
        self._write(200, payload, {"Content-Type": "application/json", **headers})

    def close(self) -> None:
        """Close the connection once what was written is out."""
        if self._transport:
            self._transport.close()

    def _accept(self) -> None:
        if self._transport is not None:
            self._transport.write(_ACCEPTED)

    def _answer(self, status: int, content: dict[str, str]) -> None:
        self._write(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _write(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        if self._transport is None:
            return
        lines = [f"HTTP/1.1 {status} {_REASONS[status]}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._transport.write("\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + body)
