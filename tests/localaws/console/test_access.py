"""Who is let in to the console, over HTTP as browsers and programs send it."""

import http.client
import json
import socket
import stat
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from localaws.console.broadcast import MOST_VIEWERS
from localaws.folders import read_json
from tests.conftest import RunningLocalAws
from tests.keys import bearer
from tests.localaws.console.scene import address_of, get
from tests.polling import wait_until

LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
TYPED = {**LINK, "Sec-Fetch-Site": "none"}
OWN_SCRIPT = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "same-origin", "Sec-Fetch-Dest": "empty"}


@pytest.fixture
def address(localaws: RunningLocalAws) -> str:
    return address_of(localaws)


@pytest.mark.parametrize("headers", [{}, TYPED, LINK, {**LINK, "Sec-Fetch-Site": "same-site"}, OWN_SCRIPT])
def test_who_has_the_token_is_let_in_also_by_a_link_of_another_site(address: str, headers: dict[str, str]) -> None:
    status, _, text = get(address, headers)
    assert status == 200 and "<h1>Overview</h1>" in text


@pytest.mark.parametrize(
    "headers",
    [
        {**LINK, "Sec-Fetch-Dest": "iframe"},
        {**LINK, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {**LINK, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        {"Sec-Fetch-Site": "cross-site"},
        {**LINK, "Origin": "http://evil.example"},
        {"Origin": "http://evil.example"},
        {**TYPED, "Host": "evil.example"},
    ],
)
@pytest.mark.parametrize("page", ["", "live/jobs", "static/htmx.min.js"])
def test_nothing_else_of_another_site_is_let_in_with_the_token(
    address: str, headers: dict[str, str], page: str
) -> None:
    assert get(address + page, headers)[0] == 403


@pytest.mark.parametrize("headers", [{}, TYPED, LINK, dict(bearer())])
@pytest.mark.parametrize("path", ["", "x/", "x/jobs", "x/static/htmx.min.js", "x", "/jobs", "%00/"])
def test_without_the_right_token_nobody_is_told_anything(
    localaws: RunningLocalAws, headers: dict[str, str], path: str
) -> None:
    status, _, text = get(f"{localaws.url}/_localaws/console/{path}", headers)
    assert status == 403 and "<" not in text


def test_the_token_of_another_server_opens_nothing(address: str) -> None:
    token = address.rstrip("/").rpartition("/")[2]
    other = token[:-1] + ("A" if token[-1] != "A" else "B")
    assert get(address.replace(token, other))[0] == 403


def test_the_token_is_random_and_for_this_user_only(localaws: RunningLocalAws) -> None:
    record = localaws.home / "server.json"
    token = read_json(record)["console_token"]
    assert len(token) == 43 and token not in (localaws.home / "output.txt").read_text()
    assert stat.S_IMODE(record.stat().st_mode) == 0o600


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_sent_to_it(address: str, method: str) -> None:
    assert get(address, method=method)[0] in (403, 404, 405)


def test_a_head_request_is_answered_without_a_body(address: str) -> None:
    status, _, text = get(address, method="HEAD")
    assert (status, text) == (200, "")


@pytest.mark.parametrize("page", ["", "nothing", "job?name=nothing", "static/console.js"])
def test_every_answer_tells_no_other_site_and_lets_in_no_script_but_its_own(address: str, page: str) -> None:
    _, headers, _ = get(address + page)
    policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert headers["Referrer-Policy"] == "no-referrer" and headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store" and "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    "page",
    ["nothing", "job?name=nothing", "static/../site.py", "static/VENDORED.json", "live/nothing", "live/live/jobs"],
)
def test_what_is_not_there_is_not_found(address: str, page: str) -> None:
    assert get(address + page)[0] == 404


def test_an_address_without_its_last_slash_leads_to_the_console(address: str) -> None:
    status, headers, _ = get(address.rstrip("/"))
    assert status == 308 and headers["Location"] == urlsplit(address).path


def test_viewers_who_went_away_leave_room_for_others(address: str) -> None:
    for _ in range(MOST_VIEWERS + 5):
        wait_until(lambda: is_followed(f"{address}live/"), "room for a viewer")


def is_followed(address: str) -> bool:
    """Return whether a stream is opened, and go away."""
    parts = urlsplit(address)
    with closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)) as connection:
        connection.request("GET", parts.path)
        return connection.getresponse().status == 200


HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_a_browser_at_the_root_is_told_how_to_open_the_console(localaws: RunningLocalAws) -> None:
    status, headers, text = get(f"{localaws.url}/", {**TYPED, **HTML})
    assert status == 200 and headers["Content-Type"].startswith("text/html")
    assert "kennel open --console" in text and "/_localaws/console/" not in text


@pytest.mark.parametrize("headers", [{}, {"Accept": "*/*"}, {**HTML, "Authorization": "AWS a:b"}])
def test_a_client_at_the_root_is_answered_as_before(localaws: RunningLocalAws, headers: dict[str, str]) -> None:
    status, told, text = get(f"{localaws.url}/", headers)
    assert status == 403 and "xml" in told["Content-Type"] and "<Code>" in text


def test_a_browser_at_a_buckets_own_name_is_answered_as_before(localaws: RunningLocalAws) -> None:
    host = f"bucket.localhost:{urlsplit(localaws.url).port}"
    status, told, _ = get(f"{localaws.url}/", {**TYPED, **HTML, "Host": host})
    assert status in (403, 404) and "xml" in told["Content-Type"]


def test_a_stream_that_nobody_reads_is_closed_when_the_server_is_reset(own_localaws: RunningLocalAws) -> None:
    address = urlsplit(address_of(own_localaws))
    with closing(http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)) as connection:
        connection.request("GET", f"{address.path}live/")
        stream = connection.getresponse()
        assert stream.status == 200 and stream.readline() == b":\n"
        while b"<h1>" not in stream.readline():
            pass
        assert get(f"{own_localaws.url}/_localaws/reset", bearer(), "POST")[0] == 202
        stream.read()  # to its end
    assert get(address.geturl())[0] == 200, "the address outlives the reset"


MANY = 400
"""So many scripts are more than the buffers of both ends hold."""


def test_a_viewer_who_stopped_reading_does_not_delay_the_end_of_the_server(own_localaws: RunningLocalAws) -> None:
    """What it asked for waits to be sent, as the pages of a stream would that change while nobody reads them."""
    address = urlsplit(address_of(own_localaws))
    with closing(socket.create_connection((address.hostname or "", address.port or 0), timeout=60)) as viewer:
        request = f"GET {address.path}static/htmx.min.js HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n"
        viewer.sendall(request.encode() * MANY)
        assert viewer.recv(12) == b"HTTP/1.1 200"
        before, log = generation_of(own_localaws), own_localaws.home / "output.txt"
        known = log.stat().st_size
        assert get(f"{own_localaws.url}/_localaws/reset", bearer(), "POST")[0] == 202
        wait_until(lambda: generation_of(own_localaws) != before, "the next state", seconds=60, every=0.1)
    assert "graceful shutdown exceeded" not in log.read_text()[known:], "it was waited for until the time was over"


def generation_of(server: RunningLocalAws) -> str:
    """Return the name of the server's state; who asks while it begins anew waits for the answer."""
    return str(json.loads(get(f"{server.url}/_localaws/health")[2])["generation"])
