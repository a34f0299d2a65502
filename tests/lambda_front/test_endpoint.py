"""Tests of the InvokeEndpoint client: its signature equals botocore's, and each failure has its own status."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from endpoint import Endpoint
from hypothesis import given, settings
from hypothesis import strategies as st
from refusal import Refusal
from signature import Credentials, Signer
from timing import Budget

from tests.lambda_front.scripted_server import Script, answer, scripted

SIGNER = Signer(Credentials("AKID", "secret", "token"), "us-east-1", "sagemaker")
SCORES = b'{"labels": ["a"], "scores": [1.0]}'
OK = answer("200 OK", SCORES, Content_Type="application/json")


def budget(seconds: float = 5.0) -> Budget:
    return Budget(time.monotonic() + seconds)


def aws_error(status: int, code: str, **fields: Any) -> bytes:
    body = json.dumps({"message": "arn:aws:secret", **fields}).encode()
    return answer(f"{status} X", body, x_amzn_errortype=f"{code}:http://x/", Content_Type="application/json")


def model_error(status: int, message: str) -> bytes:
    return aws_error(424, "ModelError", OriginalStatusCode=status, OriginalMessage=message)


def invoke(script: Script, seconds: float = 5.0) -> tuple[str | Refusal, int]:
    """Return the response or the refusal, and how many requests were sent."""
    with scripted(script, keep_alive=True) as server:
        endpoint = Endpoint("dogs", f"http://{server.netloc}", SIGNER, sleep=lambda _: None)
        try:
            return endpoint.invoke(b"image", "image/jpeg", budget(seconds)), len(server.requests)
        except Refusal as refusal:
            return refusal, len(server.requests)
        finally:
            endpoint._close()


@settings(max_examples=60, deadline=None)
@given(
    body=st.binary(max_size=200),
    secret=st.text(min_size=1, max_size=40),
    token=st.none() | st.text("abcXYZ+/=", min_size=1),
    name=st.from_regex(r"[a-zA-Z0-9](-[a-zA-Z0-9]){0,20}", fullmatch=True),
)
def test_the_signature_is_the_one_that_botocore_makes(body: bytes, secret: str, token: str | None, name: str) -> None:
    path, headers = f"/endpoints/{name}/invocations", {"Host": "example.org", "Content-Type": "image/jpeg"}
    mine = Signer(Credentials("AKID", secret, token), "eu-west-1", "sagemaker")
    signed = mine.sign(path, headers, body, datetime.now(UTC))
    request = AWSRequest("POST", f"https://example.org{path}", data=body, headers=headers)
    SigV4Auth(BotoCredentials("AKID", secret, token), "sagemaker", "eu-west-1").add_auth(request)
    if request.headers["X-Amz-Date"] == signed["X-Amz-Date"]:  # the clock may have moved on to the next second
        assert request.headers["Authorization"] == signed["Authorization"]


def test_the_image_goes_to_the_endpoint_signed_and_its_json_comes_back_unchanged() -> None:
    with scripted(lambda _r, _n: [OK], keep_alive=True) as server:
        endpoint = Endpoint("dogs", f"http://{server.netloc}/", SIGNER)
        replies = [endpoint.invoke(b"\xff\xd8image", "image/jpeg", budget()) for _ in range(3)]
        endpoint._close()
    assert replies == [SCORES.decode()] * 3
    assert server.connections == 1
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /endpoints/dogs/invocations HTTP/1.1\r\n")
    assert b"\r\nContent-Type: image/jpeg\r\n" in head
    assert b"\r\nX-Amz-Security-Token: token\r\n" in head
    assert body == b"\xff\xd8image"


def test_a_connection_that_the_server_closed_is_replaced() -> None:
    with scripted(lambda _r, _n: [OK], keep_alive=False) as server:
        endpoint = Endpoint("dogs", f"http://{server.netloc}", SIGNER)
        assert [endpoint.invoke(b"i", "image/jpeg", budget()) for _ in range(3)] == [SCORES.decode()] * 3
        endpoint._close()
    assert server.connections == 3


@pytest.mark.parametrize(
    ("reply", "status", "code", "requests"),
    [
        (model_error(422, '{"error": {"code": "Truncated", "message": "cut"}}'), 422, "Truncated", 1),
        (model_error(415, "Traceback (most recent call last)"), 415, "ImageRefused", 1),
        (model_error(400, '{"error": "text"}'), 400, "ImageRefused", 1),
        (model_error(413, ""), 413, "ImageRefused", 1),
        (model_error(404, ""), 502, "ModelFailed", 1),
        (model_error(500, "Traceback"), 502, "ModelFailed", 1),
        (model_error(503, ""), 502, "ModelFailed", 1),
        (model_error(429, ""), 503, "EndpointUnavailable", 3),
        (aws_error(400, "ThrottlingException"), 503, "EndpointUnavailable", 3),
        (aws_error(429, "ModelNotReadyException"), 503, "EndpointUnavailable", 3),
        (aws_error(503, "ServiceUnavailable"), 503, "EndpointUnavailable", 3),
        (aws_error(500, "InternalFailure"), 503, "EndpointUnavailable", 3),
        (aws_error(400, "ValidationError"), 503, "EndpointMissing", 1),
        (answer("400 X", b'{"__type": "com.amazon#ValidationException"}'), 503, "EndpointMissing", 1),
        (aws_error(403, "AccessDeniedException"), 500, "Misconfigured", 1),
        (answer("200 OK", b"<html>", Content_Type="text/html"), 502, "EndpointError", 1),
        (answer("400 X", b"[[[["), 502, "EndpointError", 1),
    ],
)
def test_each_failure_has_its_status_and_only_temporary_ones_are_retried(
    reply: bytes, status: int, code: str, requests: int
) -> None:
    refusal, count = invoke(lambda _r, _n: [reply])
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code, count) == (status, code, requests)
    assert (refusal.retry_after_seconds is not None) == (status == 503)
    assert "secret" not in refusal.message
    assert "Traceback" not in refusal.message


def test_a_caller_does_not_see_a_throttle_that_a_retry_resolves() -> None:
    throttled = aws_error(400, "ThrottlingException")
    assert invoke(lambda _r, number: [OK if number == 3 else throttled]) == (SCORES.decode(), 3)


def test_nothing_is_retried_when_the_time_is_up() -> None:
    refusal, count = invoke(lambda _r, _n: [aws_error(400, "ThrottlingException")], seconds=0.25)
    assert isinstance(refusal, Refusal)
    assert (refusal.status, count) == (503, 1)


def test_a_model_slower_than_the_budget_is_a_504_in_time() -> None:
    started = time.monotonic()
    refusal, _ = invoke(lambda _r, _n: [60.0, OK], seconds=0.4)
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code) == (504, "EndpointTimeout")
    assert time.monotonic() - started < 15


def test_an_endpoint_without_a_listening_server_is_a_503() -> None:
    with scripted(lambda _r, _n: []) as server:
        port = server.port
    endpoint = Endpoint("dogs", f"http://127.0.0.1:{port}", SIGNER, sleep=lambda _: None)
    with pytest.raises(Refusal) as caught:
        endpoint.invoke(b"i", "image/jpeg", budget())
    assert (caught.value.status, caught.value.code) == (503, "EndpointUnavailable")


def test_the_address_is_the_override_or_that_of_aws() -> None:
    base = {"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    general, special = {"AWS_ENDPOINT_URL": "http://x:1"}, {"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": "http://y:2"}
    found = [
        Endpoint.from_environment("e", environ)._netloc
        for environ in (base, {**base, **general}, {**base, **general, **special}, {**base, "AWS_REGION": "cn-north-1"})
    ]
    assert found == [
        "runtime.sagemaker.eu-west-1.amazonaws.com",
        "x:1",
        "y:2",
        "runtime.sagemaker.cn-north-1.amazonaws.com.cn",
    ]
    with pytest.raises(Refusal) as caught:
        Endpoint.from_environment("e", {})
    assert (caught.value.status, caught.value.code) == (500, "Misconfigured")


@pytest.mark.parametrize("name", ["a/b", "../x", "a b", "-a", "", "a" * 64])
def test_an_invalid_endpoint_name_is_a_misconfiguration(name: str) -> None:
    with pytest.raises(Refusal) as caught:
        Endpoint(name, "http://x", SIGNER)
    assert caught.value.code == "Misconfigured"
