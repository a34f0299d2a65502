"""`POST /2015-03-31/functions/{name}/invocations` and the download of a function's code, as routes of the front."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from localaws.errors import AwsError
from localaws.functions import naming, reporting
from localaws.functions.concurrency import ThrottledError
from localaws.functions.service import Event, FunctionService, Resolver, Result, new_trace_id

SYNC_LIMIT_BYTES = 6_291_456
EVENT_LIMIT_BYTES = 1_048_576
PARSE_INLINE_BYTES = 65_536  # a larger payload is checked on a thread, so that it does not hold up the others
CODE_PATH = "/_localaws/functions/code"


class Front:
    """The Lambda data plane's HTTP."""

    def __init__(self, service: FunctionService, resolver: Resolver) -> None:
        self._service = service
        self._resolver = resolver

    def routes(self) -> list[BaseRoute]:
        """Return the routes, which have to come before moto's."""
        return [
            _Passage(self._service),
            Route("/2015-03-31/functions/{name}/invocations", self.invoke, methods=["POST"]),
            Route(CODE_PATH + "/{name}/{archive}", self.download, methods=["GET"]),
        ]

    async def invoke(self, request: Request) -> Response:
        """Answer Invoke: RequestResponse, Event or DryRun."""
        request_id = str(uuid.uuid4())
        try:
            return await self._invoke(request, request_id)
        except ThrottledError as throttled:
            content = {"Reason": throttled.reason, "Type": "User", "message": throttled.message}
            return _error(429, "TooManyRequestsException", content, request_id)
        except AwsError as error:
            content = {
                "Type": "User" if error.status < 500 else "Service",
                "Message": error.message,
                "message": error.message,
            }
            return _error(error.status, error.code, content, request_id)

    async def _invoke(self, request: Request, request_id: str) -> Response:
        headers = request.headers
        kind = headers.get("x-amz-invocation-type", "RequestResponse")
        _check_kind(kind)
        name = naming.parse(request.path_params["name"], request.query_params.get("Qualifier"))
        target = self._resolver.resolve(name)
        payload = await _payload(request, EVENT_LIMIT_BYTES if kind == "Event" else SYNC_LIMIT_BYTES)
        trace_id = headers.get("x-amzn-trace-id") or new_trace_id()
        event = Event(request_id, payload, _client_context(headers.get("x-amz-client-context")), trace_id)
        answer = {"x-amzn-RequestId": request_id, "X-Amzn-Trace-Id": trace_id}
        if kind == "DryRun":
            return Response(status_code=204, headers=answer)
        if kind == "Event":
            self._service.accept_event(lambda: self._resolver.resolve(name), event)
            return Response(status_code=202, headers=answer)
        result = await self._service.invoke(target, event)
        return _answer(result, answer, wants_log=headers.get("x-amz-log-type") == "Tail")

    async def download(self, request: Request) -> Response:
        """Answer with the zip that `GetFunction` gives as Code.Location."""
        name, archive = request.path_params["name"], request.path_params["archive"]
        path = self._service.code_folder(name) / archive
        if not archive.endswith(".zip") or not path.resolve().is_relative_to(self._service.folder.resolve()):
            return Response(status_code=404)
        return FileResponse(path, media_type="application/zip") if path.is_file() else Response(status_code=404)


class _Passage(BaseRoute):
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
    if kind not in ("RequestResponse", "Event", "DryRun"):
        raise AwsError(
            "InvalidParameterValueException",
            f"1 validation error detected: Value '{kind}' at 'invocationType' failed to satisfy constraint: "
            "Member must satisfy enum value set: [Event, RequestResponse, DryRun]",
        )


async def _payload(request: Request, limit_bytes: int) -> bytes:
    chunks, size_bytes = [], 0
    async for chunk in request.stream():
        size_bytes += len(chunk)
        if size_bytes > limit_bytes:
            message = f"Request must be smaller than {limit_bytes} bytes for the InvokeFunction operation"
            raise AwsError("RequestEntityTooLargeException", message, status=413)
        chunks.append(chunk)
    payload = b"".join(chunks) or b"{}"
    try:
        if len(payload) <= PARSE_INLINE_BYTES:
            json.loads(payload)
        else:
            await asyncio.to_thread(json.loads, payload)
    except (ValueError, RecursionError) as error:
        message = f"Could not parse request body into json: {error}"
        raise AwsError("InvalidRequestContentException", message) from error
    return payload


def _client_context(header: str | None) -> str | None:
    """Return the caller's ClientContext as one line of JSON."""
    if not header:
        return None
    try:
        return json.dumps(json.loads(base64.b64decode(header, validate=True)))
    except (ValueError, RecursionError) as error:
        message = "Client context must be a valid Base64-encoded JSON object."
        raise AwsError("InvalidRequestContentException", message) from error


def _answer(result: Result, headers: dict[str, str], *, wants_log: bool) -> Response:
    outcome = result.execution.outcome
    headers["X-Amz-Executed-Version"] = result.version
    if outcome.status != "success":
        headers["X-Amz-Function-Error"] = "Unhandled"
    if wants_log:
        headers["X-Amz-Log-Result"] = base64.b64encode(reporting.tail(result.log_lines)).decode()
    return Response(outcome.payload, headers=headers, media_type="application/json")


def _error(status: int, code: str, content: dict[str, str], request_id: str) -> Response:
    headers = {"x-amzn-ErrorType": code, "x-amzn-RequestId": request_id}
    return Response(json.dumps(content), status_code=status, headers=headers, media_type="application/json")
