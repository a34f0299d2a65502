"""The last requests that were made of the services, in memory: who asked for what, what was decided, how it went.

Requests are named from what the gates found out about them; nothing is read for the feed, and no body is kept. A load
test's invocations have a ring of their own, so that they push out nothing else.
"""

import contextlib
import re
import time
from collections import deque
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from localaws.permissions.operations import UnknownOperation, asked_in

INVOCATIONS = "/invocations"
MOST_INVOCATIONS, MOST_OTHERS = 200, 1_000
LONGEST_PATH, LONGEST_TARGET = 512, 128  # of what unsigned requests may say, in characters
ERROR_BYTES = 2_048  # of an error's body, in which its code stands
ALLOWED = "localaws.allowed"  # in the scope: what IAM decided, unless it refused the request
_CODE = re.compile(rb'"(?:__type|Code|code)"\s*:\s*"(?:[^"#]*#)?(\w+)|<Code>([\w.]+)</Code>')
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")


@dataclass(frozen=True, slots=True)
class Answered:
    """One request. `at`: a Unix time by the real clock; `principal`: an ARN, empty if it was not verified."""

    at: float
    service: str
    operation: str
    resource: str
    principal: str
    decision: str
    status: int
    milliseconds: float
    error: str


class RequestFeed:
    """A bounded record of requests. Written on the event loop, read by threads."""

    def __init__(self) -> None:
        self._invocations: deque[Answered] = deque(maxlen=MOST_INVOCATIONS)
        self._others: deque[Answered] = deque(maxlen=MOST_OTHERS)

    def add(self, answered: Answered) -> None:
        """Add a request that was answered."""
        is_invocation = answered.operation in ("InvokeEndpoint", "Invoke")
        (self._invocations if is_invocation else self._others).append(answered)

    def newest(self) -> list[Answered]:
        """Return the requests, the newest first."""
        return sorted([*self._invocations.copy(), *self._others.copy()], key=lambda each: -each.at)


class Feeding:
    """An ASGI application that adds the requests which another one answers to a feed; localaws's own paths are none."""

    def __init__(self, app: ASGIApp, feed: RequestFeed, own: str) -> None:
        self._app, self._feed, self._own = app, feed, own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].startswith(self._own):
            await self._app(scope, receive, send)
            return
        begun, watched = time.perf_counter(), _Watched(send)
        path = scope["path"]  # a mounted application is given another one
        try:
            await self._app(scope, receive, watched)
        finally:
            if watched.status:
                milliseconds = 1e3 * (time.perf_counter() - begun)
                self._feed.add(_answered(scope, path, watched, milliseconds))


class _Watched:
    """Sends an answer on, and keeps its status and the beginning of an error."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.error = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif self.status >= 400 and len(self.error) < ERROR_BYTES:
            self.error += message.get("body", b"")[:ERROR_BYTES]
        await self._send(message)


def _answered(scope: Scope, path: str, watched: _Watched, milliseconds: float) -> Answered:
    caller, signed = scope.get("localaws.caller"), scope.get("localaws.signed")
    service = getattr(signed, "service", "") or ("" if signed is None else "s3")
    error = _error_of(watched)
    return Answered(
        at=time.time(),
        service=service,
        operation=_operation_of(scope, service, path),
        resource=path[:LONGEST_PATH],
        principal=caller.principal.arn or "" if caller is not None else "",
        decision=_decision_of(scope.get(ALLOWED), error),
        status=watched.status,
        milliseconds=milliseconds,
        error=error,
    )


def _operation_of(scope: Scope, service: str, path: str) -> str:
    """Return the operation's name, or what the request shows of one that has none."""
    if path.endswith(INVOCATIONS):
        return "Invoke" if service == "lambda" else "InvokeEndpoint"
    if service:
        with contextlib.suppress(UnknownOperation):
            return asked_in(scope, service).operation.name  # the gates read it before, and it is kept
    target = next((value for name, value in scope["headers"] if name == b"x-amz-target"), b"")
    return target.decode("latin1").rpartition(".")[2][:LONGEST_TARGET] or str(scope["method"])


def _error_of(watched: _Watched) -> str:
    if watched.status < 400:
        return ""
    found = _CODE.search(watched.error)
    return (found[1] or found[2]).decode() if found else str(watched.status)


def _decision_of(is_allowed: bool | None, error: str) -> str:
    """Return IAM's decision; one that was denied and let pass was only recorded."""
    if is_allowed is None:
        return "denied" if error in _DENIED else ""
    if is_allowed:
        return "denied" if error in _DENIED else "allowed"
    return "would be denied"
