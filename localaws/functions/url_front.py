"""Function URLs at work: who may call one, what its function gets, and what becomes of the answer.

A URL's host is `<id>.lambda-url.<region>.localhost`. Requests of web pages of other origins are refused unless the
URL's CORS names them, which is stricter than AWS: there only browsers heed it.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from dataclasses import replace

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from localaws.auth.origin import is_foreign
from localaws.errors import AwsError
from localaws.functions.concurrency import ThrottledError
from localaws.functions.front import SYNC_LIMIT_BYTES, read_whole
from localaws.functions.requests import Event, Resolver, new_request_id, new_trace_id
from localaws.functions.service import FunctionService
from localaws.functions.url_access import FORBIDDEN, UrlAccess
from localaws.functions.url_config import NONE, UrlConfig
from localaws.functions.url_event import event_of
from localaws.functions.url_reply import (
    MalformedAnswer,
    UrlReply,
    error_of,
    failed,
    is_preflight,
    names_origin,
    reply_of,
    sharing_headers,
)
from localaws.hosts import HostRoute

FOREIGN = "localaws answers no request of a web page whose origin the URL's Cors does not name"
_HOST = re.compile(r"([a-z0-9]{32})\.lambda-url\.([a-z0-9-]+)\.localhost")
_NO_BODY = (204, 304)


class UrlFront(HostRoute):
    """Answers requests to function URLs."""

    def __init__(self, service: FunctionService, resolver: Resolver) -> None:
        self._service, self._resolver = service, resolver

    def takes(self, host: str) -> bool:
        """Return whether a host is a function URL's, also of one that does not exist."""
        return _HOST.fullmatch(host) is not None

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        self._service.loop = self._service.loop or asyncio.get_running_loop()
        begun, request_id = time.perf_counter(), new_request_id()
        config = self._config(scope)
        try:
            reply = error_of(404, None) if config is None else await self._reply(config, scope, receive, request_id)
        except ClientDisconnect:
            return
        if config is not None:
            milliseconds = 1e3 * (time.perf_counter() - begun)
            self._service.metrics.url_answered(config.function, reply.status, milliseconds)
        await _send(reply.adding({"x-amzn-requestid": request_id}), scope["method"], send)

    def _config(self, scope: Scope) -> UrlConfig | None:
        found = _HOST.match(_header(scope, b"host").lower())
        if found is None or found[2] != self._service.core.settings.region:
            return None
        return next((each for each in list(self._service.url_configs.values()) if each.id == found[1]), None)

    async def _reply(self, config: UrlConfig, scope: Scope, receive: Receive, request_id: str) -> UrlReply:
        """Answer with CORS, whatever the answer is, if the caller is a page that the URL's CORS names."""
        origin = _header(scope, b"origin")
        if is_foreign(scope) and not names_origin(config.cors, origin or None):
            return error_of(403, FOREIGN)
        shares = bool(config.cors) and bool(origin) and names_origin(config.cors, origin)
        if shares and is_preflight(scope["method"], {name.decode("latin1"): "" for name, _ in scope["headers"]}):
            return UrlReply(200, tuple(sharing_headers(config.cors or {}, origin, is_preflight=True).items()))
        try:
            body = await read_whole(receive, SYNC_LIMIT_BYTES)
            reply = await self._invoked(config, scope, body, request_id)
        except AwsError as error:
            reply = error_of(error.status, error.message)
        return reply.sharing(sharing_headers(config.cors or {}, origin, is_preflight=False)) if shares else reply

    async def _invoked(self, config: UrlConfig, scope: Scope, body: bytes, request_id: str) -> UrlReply:
        """Have the function run for a request that may be made.

        Raises:
            AwsError: it may not, or is too large.
        """
        access = UrlAccess(self._service.core.authority, config)
        signed_by = None
        if config.auth_type == NONE:
            if not access.is_public():
                raise AwsError("AccessDeniedException", FORBIDDEN, status=403)
        else:
            signed_by = access.check(self.callers.find(scope, "lambda", body))
        payload = json.dumps(event_of(scope, body, request_id, signed_by)).encode()
        if len(payload) > SYNC_LIMIT_BYTES:
            text = f"Request must be smaller than {SYNC_LIMIT_BYTES} bytes for the InvokeFunction operation"
            raise AwsError("RequestEntityTooLargeException", text, status=413)
        return await self._run(config, Event(request_id, payload, None, new_trace_id()))

    async def _run(self, config: UrlConfig, event: Event) -> UrlReply:
        try:
            result = await self._service.invoke(self._resolver.resolve(config.function), event)
            if result.execution.outcome.status != "success":
                return failed()
            return reply_of(result.execution.outcome.payload)
        except ThrottledError as throttled:
            content = {"Reason": throttled.reason, "Type": "User", "message": throttled.message}
            return replace(error_of(429, None), body=json.dumps(content).encode())
        except (AwsError, MalformedAnswer):
            return failed()


def _header(scope: Scope, name: bytes) -> str:
    found: bytes = next((value for each, value in scope["headers"] if each == name), b"")
    return found.decode("latin1")


async def _send(reply: UrlReply, method: str, send: Send) -> None:
    headers = [(name.encode("latin1"), value.encode("latin1")) for name, value in reply.headers]
    if reply.status not in _NO_BODY:
        headers.append((b"content-length", str(len(reply.body)).encode()))
    body = b"" if method == "HEAD" or reply.status in _NO_BODY else reply.body
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
