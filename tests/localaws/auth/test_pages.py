"""What a browser sends for a web page is refused before any routing, and no answer lets a page read it."""

import base64
import os
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from localaws.auth.gate import PageGate
from localaws.auth.routes import OpenRoute
from tests.conftest import RunningLocalAws
from tests.localaws.auth.wire import send

TARGETS = {
    "buckets": ("GET", "/"),
    "an upload": ("PUT", "/bucket/model.tar.gz"),
    "a form": ("POST", "/bucket"),
    "a function": ("POST", "/2015-03-31/functions/f/invocations"),
    "an endpoint": ("POST", "/endpoints/e/invocations"),
    "a fault": ("POST", "/_localaws/launch-failures?type=c5.large&count=1"),
    "the health": ("GET", "/_localaws/health"),
}
OF_PAGES = {
    "another port": {"Origin": "http://localhost:18999"},
    "another name of this machine": {"Origin": "http://evil.localhost"},
    "a site": {"Origin": "https://example.com"},
    "no origin of its own": {"Origin": "null"},
    "a link": {"Sec-Fetch-Site": "cross-site"},
    "an image": {"Sec-Fetch-Site": "same-site"},
    "an unknown relation": {"Sec-Fetch-Site": "next-door"},
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("page", OF_PAGES)
def test_a_page_of_another_origin_is_refused_whatever_it_asks_for(
    localaws: RunningLocalAws, page: str, target: str
) -> None:
    answer = send(localaws.url, *TARGETS[target], OF_PAGES[page])
    assert (answer.status, answer.body) == (
        403,
        b"localaws answers no request that a web page of another origin sends\n",
    )
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_programs_and_pages_of_the_servers_own_origin_are_answered(localaws: RunningLocalAws) -> None:
    for headers in ({}, {"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "same-origin", "Origin": localaws.url}):
        assert send(localaws.url, "GET", "/_localaws/health", headers).status == 200


def test_a_request_with_two_hosts_is_not_judged_by_the_first(localaws: RunningLocalAws) -> None:
    address = urlsplit(localaws.url)
    asked = f"GET /_localaws/health HTTP/1.1\r\nHost: {address.netloc}\r\nHost: evil.example\r\n\r\n"
    with socket.create_connection((str(address.hostname), address.port or 0), timeout=30) as connection:
        connection.sendall(asked.encode())
        assert connection.recv(100).split()[1] in (b"400", b"403")


@pytest.mark.parametrize("target", ["/", "/bucket/key", "/2015-03-31/functions/f/invocations", "/_localaws/health"])
@pytest.mark.parametrize("headers", [{}, {"Origin": "http://localhost:18999"}], ids=["bare", "of a page"])
def test_a_preflight_is_refused(localaws: RunningLocalAws, target: str, headers: dict[str, str]) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,x-amz-target"}
    answer = send(localaws.url, "OPTIONS", target, {**asked, **headers})
    assert answer.status == 403
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_no_answer_lets_a_page_read_it_even_if_its_bucket_says_so(localaws: RunningLocalAws) -> None:
    s3 = localaws.client("s3")
    s3.create_bucket(Bucket="pages")
    rule = {"AllowedOrigins": ["*"], "AllowedMethods": ["GET"]}
    s3.put_bucket_cors(Bucket="pages", CORSConfiguration={"CORSRules": [rule]})
    s3.put_object(Bucket="pages", Key="key", Body=b"content")
    own = {"Origin": localaws.url}
    url = urlsplit(s3.generate_presigned_url("get_object", Params={"Bucket": "pages", "Key": "key"}))
    answer = send(localaws.url, "GET", f"{url.path}?{url.query}", own)
    assert (answer.status, answer.body) == (200, b"content")
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_websocket_is_refused(localaws: RunningLocalAws) -> None:
    key = base64.b64encode(os.urandom(16)).decode()
    asked = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key}
    assert send(localaws.url, "GET", "/_localaws/health", asked).status in (400, 403)
    page = {**asked, "Origin": "http://localhost:18999"}
    assert send(localaws.url, "GET", "/_localaws/health", page).status in (400, 403)


@pytest.fixture(scope="module")
def declared() -> Iterator[str]:
    """A gate before two routes of which one is declared to admit pages."""

    def answer(_: Request) -> PlainTextResponse:
        return PlainTextResponse("read")

    routes = [OpenRoute("/_localaws/shown", answer, admits_pages=True), OpenRoute("/_localaws/closed", answer)]
    app = PageGate(Starlette(routes=routes), routes)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(60)


def test_only_a_route_that_is_declared_for_pages_admits_them(declared: str) -> None:
    page = {"Origin": "http://localhost:18999", "Sec-Fetch-Site": "same-site"}
    assert send(declared, "GET", "/_localaws/shown", page).body == b"read"
    assert send(declared, "POST", "/_localaws/shown", page).status == 403
    assert send(declared, "GET", "/_localaws/closed", page).status == 403
    assert send(declared, "GET", "/_localaws/closed").body == b"read"
