"""What an answer means: success, or a failure with AWS's own code. Pure.

Throttling is kept apart from other 4xx, a model's error apart from AWS's, and a Lambda function's own statusCode is
read from the payload of its 200.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Kind = Literal["ok", "throttled", "client_error", "server_error", "function_error", "timeout", "connection"]
FAILURES: tuple[Kind, ...] = ("throttled", "client_error", "server_error", "function_error", "timeout", "connection")

_THROTTLING = frozenset(
    {"ThrottlingException", "TooManyRequestsException", "Throttling", "ModelNotReadyException", "EC2ThrottledException"}
)


class HttpAnswer(Protocol):
    """The part of an HTTP answer that is looked at."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def body(self) -> bytes:
        """The whole body."""

    def header(self, name: str) -> str:
        """Return a header's value, or an empty text."""


@dataclass(frozen=True)
class Outcome:
    """What became of one request; `code` is "" for success, else "<status> <AWS code>" or the kind of network error."""

    kind: Kind
    code: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether the request was answered with success."""
        return self.kind == "ok"


OK = Outcome("ok")


def endpoint_outcome(answer: HttpAnswer) -> Outcome:
    """Judge an answer of InvokeEndpoint."""
    if answer.status == 200:
        return OK
    return _aws_error(answer)


def function_outcome(answer: HttpAnswer) -> Outcome:
    """Judge an answer of Invoke: the HTTP status, then FunctionError, then the payload's statusCode."""
    if answer.status != 200:
        return _aws_error(answer)
    function_error = answer.header("x-amz-function-error")
    payload = _json(answer.body)
    if function_error:
        return Outcome("function_error", f"200 FunctionError {function_error} {_text(payload, 'errorType')}".rstrip())
    status = payload.get("statusCode")
    if status == 200:
        return OK
    if not isinstance(status, int):
        return Outcome("function_error", "200 payload without a statusCode")
    return Outcome(_kind(status, ""), f"{status} {_function_code(payload)}".rstrip())


def network_outcome(error: OSError) -> Outcome:
    """Judge an exchange that brought no answer."""
    if isinstance(error, TimeoutError):
        return Outcome("timeout", "no answer within the timeout")
    return Outcome("connection", type(error).__name__)


def _aws_error(answer: HttpAnswer) -> Outcome:
    payload = _json(answer.body)
    code = answer.header("x-amzn-errortype") or _text(payload, "__type") or _text(payload, "Code") or "no error code"
    code = code.split(":")[0].split("#")[-1]
    original = payload.get("OriginalStatusCode")
    if code == "ModelError" and isinstance(original, int):
        return Outcome(_kind(original, ""), f"{answer.status} ModelError {original}")
    reason = _text(payload, "Reason")
    return Outcome(_kind(answer.status, code), f"{answer.status} {code} {reason}".rstrip())


def _kind(status: int, code: str) -> Kind:
    if status == 429 or code in _THROTTLING:
        return "throttled"
    return "client_error" if 400 <= status < 500 else "server_error"


def _function_code(payload: dict[str, Any]) -> str:
    """Return the code of {"body": "{\"error\": {\"code\": …}}"}, the function's own error."""
    body = payload.get("body")
    inner = _json(body.encode()) if isinstance(body, str) else {}
    error = inner.get("error")
    return _text(error, "code") if isinstance(error, dict) else ""


def _json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(payload: dict[str, Any], name: str) -> str:
    value = payload.get(name)
    return value if isinstance(value, str) else ""
