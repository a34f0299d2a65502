"""Tests of classifying responses: throttling, a model's errors, and a function's status inside a 200 response."""

import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.outcomes import Kind, endpoint_outcome, function_outcome, network_outcome


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str:
        return self.headers.get(name, "")


def model_error(original: int) -> Reply:
    body = json.dumps({"OriginalStatusCode": original, "OriginalMessage": "boom"}).encode()
    return Reply(424, body, {"x-amzn-errortype": "ModelError:http://internal.amazon.com/"})


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (Reply(200, b"not even json"), "ok", ""),
        (Reply(429, b"{}", {"x-amzn-errortype": "ThrottlingException"}), "throttled", "429 ThrottlingException"),
        (Reply(400, b'{"__type": "com.amazon#ThrottlingException"}'), "throttled", "400 ThrottlingException"),
        (Reply(400, b'{"__type": "ValidationError"}'), "client_error", "400 ValidationError"),
        (Reply(503, b"<html>"), "server_error", "503 no error code"),
        (model_error(500), "server_error", "424 ModelError 500"),
        (model_error(415), "client_error", "424 ModelError 415"),
        (model_error(429), "throttled", "424 ModelError 429"),
    ],
)
def test_a_response_of_invoke_endpoint_is_counted_under_its_code(reply: Reply, kind: Kind, code: str) -> None:
    outcome = endpoint_outcome(reply)
    assert (outcome.kind, outcome.code, outcome.is_ok) == (kind, code, kind == "ok")


def payload(status: object, code: str = "") -> bytes:
    body = json.dumps({"error": {"code": code, "message": "m"}})
    return json.dumps({"statusCode": status, "body": body}).encode()


REASON = b'{"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded"}'


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (Reply(200, payload(200)), "ok", ""),
        (Reply(200, payload(422, "BadImage")), "client_error", "422 BadImage"),
        (Reply(200, payload(429, "Throttled")), "throttled", "429 Throttled"),
        (Reply(200, payload(502, "ModelFailed")), "server_error", "502 ModelFailed"),
        (Reply(200, b'{"errorType": "KeyError"}', {"x-amz-function-error": "Unhandled"}), "function_error",
         "200 FunctionError Unhandled KeyError"),
        (Reply(200, payload("200")), "function_error", "200 payload without a statusCode"),
        (Reply(200, b"null"), "function_error", "200 payload without a statusCode"),
        (Reply(429, REASON, {"x-amzn-errortype": "TooManyRequestsException"}), "throttled",
         "429 TooManyRequestsException ReservedFunctionConcurrentInvocationLimitExceeded"),
        (Reply(404, b"{}", {"x-amzn-errortype": "ResourceNotFoundException"}), "client_error",
         "404 ResourceNotFoundException"),
    ],
)  # fmt: skip
def test_a_response_of_invoke_is_classified_by_its_payload(reply: Reply, kind: Kind, code: str) -> None:
    outcome = function_outcome(reply)
    assert (outcome.kind, outcome.code) == (kind, code)


@settings(deadline=None, max_examples=50)
@given(st.integers(200, 599), st.binary(max_size=80), st.dictionaries(st.just("x-amzn-errortype"), st.text(max_size=9)))
def test_every_response_has_an_outcome(status: int, body: bytes, headers: dict[str, str]) -> None:
    for judge in (endpoint_outcome, function_outcome):
        outcome = judge(Reply(status, body, headers))
        assert outcome.is_ok == (outcome.code == "")
        assert status == 200 or not outcome.is_ok


def test_timeouts_and_broken_connections_are_distinguished() -> None:
    assert network_outcome(TimeoutError()).kind == "timeout"
    assert network_outcome(ConnectionRefusedError()).code == "ConnectionRefusedError"
