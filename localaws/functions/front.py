"""The HTTP routes of Lambda's data plane: invocations, the download of a function's code, and the counts of spares."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import asdict, dataclass
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from localaws.auth.routes import OpenRoute, ServiceRoute
from localaws.errors import AwsError
from localaws.functions import log_lines, naming
from localaws.functions.concurrency import ThrottledError
from localaws.functions.requests import Event, Resolver, Result, new_request_id, new_trace_id
from localaws.functions.service import FunctionService
from localaws.process_tree import memory_bytes
from localaws.violations import not_a_member

SYNC_LIMIT_BYTES = 6_291_456
EVENT_LIMIT_BYTES = 1_048_576
PARSE_INLINE_BYTES = 65_536  # a larger payload is checked on a thread, so that it does not hold up the others
INVOKE_PATH = "/2015-03-31/functions/{name}/invocations"
CODE_PATH = "/_localaws/functions/code"
INVOCATION_TYPES = ("Event", "RequestResponse", "DryRun")
SPARES_PATH = "/_localaws/function-spares"


class Front:
    """The Lambda data plane's HTTP."""

    def __init__(self, service: FunctionService, resolver: Resolver) -> None:
        self._service = service
        self._resolver = resolver

    def routes(self) -> list[BaseRoute]:
        """Return the routes, which have to come before moto's."""
        return [
            _InvocationRoute(self._service),
            ServiceRoute("lambda", INVOKE_PATH, _Invoke(self._service, self._resolver)),
            OpenRoute(CODE_PATH + "/{name}/{archive}", self.download),
            OpenRoute(SPARES_PATH, self.spares),
        ]

    async def spares(self, _: Request) -> Response:
        """Answer with the spare environments of each function that had a cold start on demand."""
        shown = {}
        for name, counts in self._service.spares.counts().items():
            fields = asdict(counts)
            sizes = await asyncio.to_thread(lambda pids: [memory_bytes(pid) for pid in pids], fields.pop("pids"))
            shown[name] = {**fields, "memory_bytes": sum(sizes)}
        return JSONResponse({"functions": shown})

    async def download(self, request: Request) -> Response:
        """Answer with the zip that `GetFunction` gives as Code.Location, for ten minutes."""
        if not self._service.core.links.admits(request.url.path, request.query_params):
            return Response(status_code=403)
        name, archive = request.path_params["name"], request.path_params["archive"]
        path = self._service.code_folder(name) / archive
        if not archive.endswith(".zip") or not path.resolve().is_relative_to(self._service.folder.resolve()):
            return Response(status_code=404)
        return FileResponse(path, media_type="application/zip") if path.is_file() else Response(status_code=404)


class _Invoke:
    """Answers Invoke: RequestResponse, Event or DryRun. An ASGI application, without starlette's objects in between."""

    def __init__(self, service: FunctionService, resolver: Resolver) -> None:
        self._service = service
        self._resolver = resolver

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = new_request_id()
        try:
            reply = await self._reply(scope, receive, request_id)
        except ThrottledError as throttled:
            content = {"Reason": throttled.reason, "Type": "User", "message": throttled.message}
            reply = _error(429, "TooManyRequestsException", content)
        except AwsError as error:
            kind = "User" if error.status < 500 else "Service"
            content = {"Type": kind, "Message": error.message, "message": error.message}
            reply = _error(error.status, error.code, content)
        headers = {**reply.headers, "x-amzn-requestid": request_id, "content-length": str(len(reply.body))}
        if reply.status == 204:
            del headers["content-length"]
        lines = [(name.encode(), value.encode("latin1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": lines})
        await send({"type": "http.response.body", "body": reply.body})

    async def _reply(self, scope: Scope, receive: Receive, request_id: str) -> _Reply:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        kind = headers.get(b"x-amz-invocation-type", b"RequestResponse").decode("latin1")
        _check_kind(kind)
        name = naming.parse(scope["path_params"]["name"], _qualifier(scope["query_string"]))
        target = self._resolver.resolve(name)
        payload = await _payload(receive, EVENT_LIMIT_BYTES if kind == "Event" else SYNC_LIMIT_BYTES)
        trace_id = headers.get(b"x-amzn-trace-id", b"").decode("latin1") or new_trace_id()
        event = Event(request_id, payload, _client_context(headers.get(b"x-amz-client-context")), trace_id)
        answer = {"x-amzn-trace-id": trace_id}
        if kind == "DryRun":
            return _Reply(204, answer)
        if kind == "Event":
            self._service.accept_event(lambda: self._resolver.resolve(name), event)
            return _Reply(202, answer)
        result = await self._service.invoke(target, event)
        return _answer(result, answer, wants_log=headers.get(b"x-amz-log-type") == b"Tail")


@dataclass(frozen=True)
class _Reply:
    status: int
    headers: dict[str, str]
    body: bytes = b""


class _InvocationRoute(BaseRoute):
    """Takes no request; by those that pass it on their way to moto, the service knows the loop before any invocation.

    Environments live on that loop, and some are started from the control plane, which runs on threads.
    """

    def __init__(self, service: FunctionService) -> None:
        self._service = service

    def matches(self, scope: Scope) -> tuple[Match, Scope]:  # noqa: ARG002 starlette's signature
        if self._service.loop is None:
            self._service.loop = asyncio.get_running_loop()
        return Match.NONE, {}


def _check_kind(kind: str) -> None:
    if kind not in INVOCATION_TYPES:
        raise AwsError("InvalidParameterValueException", not_a_member(kind, "invocationType", INVOCATION_TYPES))


def _qualifier(query: bytes) -> str | None:
    if not query:
        return None
    found = parse_qs(query.decode("latin1")).get("Qualifier")
    return found[-1] if found else None


async def read_whole(receive: Receive, limit_bytes: int) -> bytes:
    """Return a request's body.

    Raises:
        AwsError: it is larger (413).
        ClientDisconnect: the client went away.
    """
    chunks, size_bytes, is_more = [], 0, True
    while is_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk, is_more = message.get("body", b""), message.get("more_body", False)
        size_bytes += len(chunk)
        if size_bytes > limit_bytes:
            text = f"Request must be smaller than {limit_bytes} bytes for the InvokeFunction operation"
            raise AwsError("RequestEntityTooLargeException", text, status=413)
        chunks.append(chunk)
    return b"".join(chunks)


async def _payload(receive: Receive, limit_bytes: int) -> bytes:
    payload = await read_whole(receive, limit_bytes) or b"{}"
    try:
        if len(payload) <= PARSE_INLINE_BYTES:
            json.loads(payload)
        else:
            await asyncio.to_thread(json.loads, payload)
    except (ValueError, RecursionError) as error:
        text = f"Could not parse request body into json: {error}"
        raise AwsError("InvalidRequestContentException", text) from error
    return payload


def _client_context(header: bytes | None) -> str | None:
    """Return the caller's ClientContext as one line of JSON."""
    if not header:
        return None
    try:
        return json.dumps(json.loads(base64.b64decode(header, validate=True)))
    except (ValueError, RecursionError) as error:
        message = "Client context must be a valid Base64-encoded JSON object."
        raise AwsError("InvalidRequestContentException", message) from error


def _answer(result: Result, headers: dict[str, str], *, wants_log: bool) -> _Reply:
    outcome = result.execution.outcome
    headers["content-type"] = "application/json"
    headers["x-amz-executed-version"] = result.version
    if outcome.status != "success":
        headers["x-amz-function-error"] = "Unhandled"
    if wants_log:
        headers["x-amz-log-result"] = base64.b64encode(log_lines.tail(result.log_lines)).decode()
    return _Reply(200, headers, outcome.payload)


def _error(status: int, code: str, content: dict[str, str]) -> _Reply:
    headers = {"x-amzn-errortype": code, "content-type": "application/json"}
    return _Reply(status, headers, json.dumps(content).encode())
