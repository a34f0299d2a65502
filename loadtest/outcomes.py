"""Classify a response as success or as a kind of failure with AWS's code. Pure.

Throttling is a kind of its own among the 4xx errors. A model's errors are distinguished from SageMaker's. A Lambda
function's own statusCode is read from the payload of a 200 response.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tasks.run.escaping import valid_text

Kind = Literal["ok", "throttled", "client_error", "server_error", "function_error", "timeout", "connection"]
FAILURES: tuple[Kind, ...] = ("throttled", "client_error", "server_error", "function_error", "timeout", "connection")

_THROTTLING = frozenset(
    {"ThrottlingException", "TooManyRequestsException", "Throttling", "ModelNotReadyException", "EC2ThrottledException"}
)


class HttpAnswer(Protocol):
    """The parts of an HTTP response that decide its outcome."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def body(self) -> bytes:
        """The whole body."""

    def header(self, name: str) -> str:
        """Return a header's value, or an empty string."""


@dataclass(frozen=True)
class Outcome:
    """The result of one request; `code` is "" for success, else "<status> <AWS code>" or the network error."""

    kind: Kind
    code: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether the request succeeded."""
        return self.kind == "ok"


OK = Outcome("ok")


def endpoint_outcome(answer: HttpAnswer) -> Outcome:
    """Classify a response of SageMaker's InvokeEndpoint."""
    if answer.status == 200:
        return OK
    return _aws_error(answer)


def function_outcome(answer: HttpAnswer) -> Outcome:
    """Classify a response of Lambda's Invoke by the HTTP status, FunctionError and the payload's statusCode."""
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
    """Classify a request that got no response."""
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
    """Return the function's own error code, from {"body": "{\"error\": {\"code\": …}}"}."""
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
    return valid_text(value) if isinstance(value, str) else ""  # messages between processes are UTF-8
