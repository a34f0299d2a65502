"""Tests of the whole function, in a process of its own as on Lambda, with a scripted endpoint."""

import base64
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from handler import handler

from tests.lambda_front.conftest import CLASSIFY
from tests.lambda_front.scripted_server import ScriptedServer, answer, scripted
from tests.lambda_front.web_events import authorized

JPEG = b"\xff\xd8\xff" + bytes(200)
SCORES = {"labels": ["dog"], "scores": [1.0]}
RUN = """
import json, sys
class Context:
    def get_remaining_time_in_millis(self): return int(sys.argv[1])
import handler
for line in sys.stdin:
    print(json.dumps(handler.handler(json.loads(line), Context())), flush=True)
"""


def run(environ: dict[str, str], *events: Any, remaining_ms: int = 10_000) -> list[Any]:
    """Handle events in a fresh interpreter that has only this environment; return the responses."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(remaining_ms)],
        input="\n".join(json.dumps(event) for event in events),
        capture_output=True,
        text=True,
        cwd=CLASSIFY,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **environ},
        timeout=30,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def environment(runtime: ScriptedServer, photos: ScriptedServer) -> dict[str, str]:
    return {
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKID",
        "AWS_SECRET_ACCESS_KEY": "canary-secret",
        "AWS_ENDPOINT_URL": f"http://{runtime.netloc}",
        "ENDPOINT_NAME": "dogs",
        "ALLOWED_HOSTS": f"{photos.netloc}, 127.0.0.1:9001",
        "MAX_IMAGE_BYTES": "100000",
    }


def code_of(reply: Any) -> tuple[int, str]:
    return reply["statusCode"], json.loads(reply["body"])["error"]["code"]


def test_urls_images_and_api_gateway_bodies_are_answered_with_the_endpoints_scores() -> None:
    ok = answer("200 OK", json.dumps(SCORES).encode(), Content_Type="application/json")

    def photo(request: bytes, _number: int) -> list[bytes]:
        is_text = b"/text" in request.partition(b"\r\n")[0]
        return [answer("200 OK", b"<html>" if is_text else JPEG, Content_Type="image/jpeg")]

    with scripted(lambda _r, _n: [ok], keep_alive=True) as runtime, scripted(photo) as photos:
        by_url = {"url": photos.url()}
        replies = run(
            environment(runtime, photos),
            by_url,
            {"image": base64.b64encode(JPEG).decode()},
            authorized(json.dumps(by_url)),
            {"url": photos.url("/text")},
            {"url": "http://127.0.0.1:9001/2018-06-01/runtime/invocation/next"},
            {"image": base64.b64encode(b"%PDF-1.7").decode()},
            {},
        )
    for reply in replies[:3]:
        assert (reply["statusCode"], json.loads(reply["body"])) == (200, SCORES)
        assert reply["headers"] == {"Content-Type": "application/json"}
    assert [code_of(reply) for reply in replies[3:]] == [
        (415, "UnsupportedImage"),
        (400, "UrlNotAllowed"),
        (415, "UnsupportedImage"),
        (400, "BadRequest"),
    ]
    assert runtime.connections == 1
    assert "canary-secret" not in json.dumps(replies)


def test_the_function_returns_its_504_before_lambda_ends_it() -> None:
    with scripted(lambda _r, _n: [20.0]) as slow, scripted(lambda _r, _n: [answer("200 OK", JPEG)]) as photos:
        environ = environment(slow, photos)
        replies = run(environ, {"url": photos.url()}, {"url": photos.url()}, remaining_ms=1000)
        assert [code_of(reply) for reply in replies] == [(504, "EndpointTimeout")] * 2
        swapped = {**environ, "ALLOWED_HOSTS": slow.netloc, "FETCH_TIMEOUT_SECONDS": "0.3"}
        assert code_of(run(swapped, {"url": slow.url()})[0]) == (504, "FetchTimeout")


@pytest.mark.parametrize("environ", [{}, {"ENDPOINT_NAME": "dogs"}, {"MAX_IMAGE_BYTES": "many", "ENDPOINT_NAME": "x"}])
def test_a_misconfigured_function_says_so_without_details(environ: dict[str, str]) -> None:
    reply = run(environ, {"image": base64.b64encode(JPEG).decode()})[0]
    assert code_of(reply) == (500, "Misconfigured")


def test_an_unexpected_error_is_a_500_without_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken:
        def get_remaining_time_in_millis(self) -> int:
            raise LookupError("canary-secret")

    reply = handler({"url": "https://example.org/"}, Broken())
    assert code_of(reply) == (500, "InternalError")
    assert "canary-secret" not in reply["body"]
    assert "LookupError" in capsys.readouterr().err
