"""Signatures equal botocore's, bit for bit, and are made once a second for each body."""

from datetime import datetime

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.signing import Credentials, Payload, Route, Signer, signed_headers

ROUTES = [
    Route("runtime.sagemaker.us-east-1.amazonaws.com", "/endpoints/e-1/invocations", "", "sagemaker", "us-east-1"),
    Route("127.0.0.1:4577", "/2015-03-31/functions/f_1/invocations", "Qualifier=live", "lambda", "eu-west-1"),
]


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(ROUTES), st.binary(max_size=200), st.none() | st.text("abc/+=", min_size=1, max_size=40))
def test_a_signature_equals_botocores(route: Route, body: bytes, token: str | None) -> None:
    payload = Payload.of("image", body, "image/jpeg")
    query = f"?{route.query}" if route.query else ""
    url = f"https://{route.host}{route.path}{query}"
    theirs = AWSRequest("POST", url, data=body, headers={"content-type": "image/jpeg"})
    SigV4Auth(BotocoreCredentials("AKID", "secret", token), route.service, route.region).add_auth(theirs)
    ours = signed_headers(route, payload, Credentials("AKID", "secret", token), theirs.headers["X-Amz-Date"])
    assert ours["authorization"] == theirs.headers["Authorization"]
    assert ours.get("x-amz-security-token") == theirs.headers.get("X-Amz-Security-Token")


def test_a_request_is_signed_once_a_second_and_again_in_the_next() -> None:
    now, asked = [1_800_000_000.2], []

    def credentials() -> Credentials:
        asked.append(now[0])
        return Credentials("AKID", "secret")

    signer = Signer(ROUTES[0], credentials, clock=lambda: now[0])
    payload = Payload.of("image", b"jpeg", "image/jpeg")
    first = signer.request(payload)
    now[0] += 0.7
    assert signer.request(payload) is first and len(asked) == 1
    now[0] += 0.2
    assert signer.request(payload) != first and len(asked) == 2


def test_a_request_is_whole_http_with_the_time_of_its_second() -> None:
    moment = datetime.fromisoformat("2026-11-22T17:00:00+00:00").timestamp()
    signer = Signer(ROUTES[1], lambda: Credentials("AKID", "secret"), clock=lambda: moment)
    head, body = signer.request(Payload.of("image", b'{"url": "x"}', "application/json")).split(b"\r\n\r\n", 1)
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /2015-03-31/functions/f_1/invocations?Qualifier=live HTTP/1.1"
    assert {"host: 127.0.0.1:4577", "x-amz-date: 20261122T170000Z", "content-length: 12"} <= set(lines)
    assert body == b'{"url": "x"}'
