"""The container's HTTP contract as a bare ASGI application: `GET /ping`, `POST /invocations`.

The event loop reads and writes; handlers run on a few threads. A handler's exception that carries a `status_code` is
answered with it, any other with 500: a trace goes to the log, never into a body.
"""

import asyncio
import hmac
import json
import sys
import traceback
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from localaws.sagemaker.model_server import TOKEN_HEADER
from localaws.sagemaker.model_server.handlers import Answer

Scope = dict[str, Any]
MAX_BODY_BYTES = 25 * 1024 * 1024  # what AWS's container allows a direct caller; InvokeEndpoint itself stops at 6 MB
_TOKEN_NAME = TOKEN_HEADER.encode()
RESERVED_HEADERS = frozenset({"content-type", "content-length", "connection", "transfer-encoding"})


class Refused(Exception):
    """A request that reaches no handler."""

    def __init__(self, status_code: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.code = code


class Answering(Protocol):
    """What answers requests: a model's handlers."""

    def answer(self, body: bytes, content_type: str, accept: str, headers: Mapping[str, str]) -> Answer:
        """Answer one request; whatever the model's code raises comes through."""


class ModelServer:
    """Serves one model on `threads` threads, with at most `queue_size` requests waiting for one.

    `token`: what each request has to bring, because all programs of the machine reach its port; None: nothing.
    """

    def __init__(
        self, handlers: Answering, *, threads: int, queue_size: int, default_accept: str, token: str | None = None
    ) -> None:
        self._handlers = handlers
        self._default_accept = default_accept
        self._limit = threads + queue_size
        self._token = None if token is None else token.encode()
        self._inside = 0
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="handler")

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer one request."""
        path, method = scope["path"], scope["method"]
        if not self._knows(scope["headers"]):
            await _respond(send, 403, error_body("Forbidden", "only the endpoint's router may ask this server"))
        elif path == "/invocations" and method == "POST":
            await self._invocation(scope, receive, send)
        elif path == "/ping" and method == "GET":
            await _respond(send, 200, b"{}")
        else:
            await _respond(
                send, 404, error_body("NotFound", f"{method} {path}: this server has GET /ping, POST /invocations")
            )

    def _knows(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        brought = next((value for name, value in headers if name == _TOKEN_NAME), b"")
        return self._token is None or hmac.compare_digest(brought, self._token)

    async def _invocation(self, scope: Scope, receive: Any, send: Any) -> None:
        try:
            answer = await self._handle(scope, await _read_body(receive))
        except Exception as error:  # noqa: BLE001 a handler may raise anything, and the server goes on
            await _respond(send, *describe(error))
            return
        extra = [
            (name.lower().encode("latin1"), value.encode("latin1"))
            for name, value in answer.headers.items()
            if name.lower() not in RESERVED_HEADERS
        ]
        await _respond(send, 200, answer.body, answer.content_type, extra)

    async def _handle(self, scope: Scope, body: bytes) -> Answer:
        if self._inside >= self._limit:
            raise Refused(503, "ServiceUnavailable", f"{self._inside} requests are already being served or waiting")
        headers = {name.decode("latin1"): value.decode("latin1") for name, value in scope["headers"]}
        headers.pop(TOKEN_HEADER, None)
        if "origin" in headers:  # browsers send it with every POST, and the endpoint's router never
            raise Refused(403, "Forbidden", "a web page may not ask this server")
        accept = headers.get("accept", "*/*")
        if accept == "*/*":
            accept = self._default_accept
        content_type = headers.get("content-type", "application/octet-stream")
        self._inside += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._handlers.answer, body, content_type, accept, headers)
        finally:
            self._inside -= 1


def describe(error: Exception) -> tuple[int, bytes]:
    """Return the status and body for what a handler raised; the trace of an unexpected one is printed."""
    status = getattr(error, "status_code", None)
    if not (isinstance(status, int) and 400 <= status <= 599):
        traceback.print_exception(error, file=sys.stdout)
        sys.stdout.flush()
        message = f"the model's handler failed with {type(error).__name__}; the trace is in the log"
        return 500, error_body("InternalServerError", message)
    code = getattr(error, "code", None)
    return status, error_body(code if isinstance(code, str) else type(error).__name__, str(error))


def error_body(code: str, message: str) -> bytes:
    """Return the JSON body of an error."""
    return json.dumps({"error": {"code": code, "message": message}}).encode()


async def _read_body(receive: Any) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return body
    chunks, size = [body], len(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "BadRequest", "the client disconnected before the whole body arrived")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MAX_BODY_BYTES:
            raise Refused(413, "PayloadTooLarge", f"the body has more than {MAX_BODY_BYTES:,} bytes")
    return b"".join(chunks)


async def _respond(
    send: Any,
    status: int,
    body: bytes,
    content_type: str = "application/json",
    extra: list[tuple[bytes, bytes]] | None = None,
) -> None:
    headers = [
        (b"content-type", content_type.encode("latin1")),
        (b"content-length", str(len(body)).encode()),
        *(extra or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
