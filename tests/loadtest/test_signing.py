"""Requests are whole, signed by botocore, and made once a second for each body."""

import re

import pytest
from botocore.credentials import ReadOnlyCredentials

from loadtest.signing import Payload, Route, Signer

ROUTES = [
    Route("runtime.sagemaker.us-east-1.amazonaws.com", "/endpoints/e-1/invocations", "", "sagemaker", "us-east-1"),
    Route("127.0.0.1:4577", "/2015-03-31/functions/f_1/invocations", "Qualifier=live", "lambda", "eu-west-1"),
]


def head_of(request: bytes) -> tuple[str, dict[str, str]]:
    """Return a request's first line, and its headers by their names in lower case."""
    first, *lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    return first, {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


def test_a_request_is_signed_once_a_second_and_again_in_the_next() -> None:
    now, asked = [1_800_000_000.2], []

    def credentials() -> ReadOnlyCredentials:
        asked.append(now[0])
        return ReadOnlyCredentials("AKID", "secret", None)

    signer = Signer(ROUTES[0], credentials, clock=lambda: now[0])
    payload = Payload.of("image", b"jpeg", "image/jpeg")
    first = signer.request(payload)
    now[0] += 0.7
    assert signer.request(payload) is first and len(asked) == 1
    now[0] += 0.2
    assert signer.request(payload) is not first and len(asked) == 2


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.service)
def test_a_request_is_whole_http_and_names_who_signed_what(route: Route) -> None:
    signer = Signer(route, lambda: ReadOnlyCredentials("AKID", "secret", None))
    request = signer.request(Payload.of("image", b'{"url": "x"}', "application/json"))
    first, headers = head_of(request)
    assert first == f"POST {route.target} HTTP/1.1"
    fixed = {"host": route.host, "content-type": "application/json", "content-length": "12"}
    assert {name: headers[name] for name in fixed} == fixed
    assert set(headers) == {*fixed, "x-amz-date", "authorization"}
    day = headers["x-amz-date"][:8]
    assert re.fullmatch(
        f"AWS4-HMAC-SHA256 Credential=AKID/{day}/{route.region}/{route.service}/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, Signature=[0-9a-f]{64}",
        headers["authorization"],
    )
    assert request.endswith(b'\r\n\r\n{"url": "x"}')


def test_a_session_token_is_sent_and_signed() -> None:
    signer = Signer(ROUTES[0], lambda: ReadOnlyCredentials("AKID", "secret", "a token"))
    headers = head_of(signer.request(Payload.of("image", b"jpeg", "image/jpeg")))[1]
    assert headers["x-amz-security-token"] == "a token"
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token," in headers["authorization"]
