"""Prefect's server in a real browser: its page works with the home's password, and foreign pages get nowhere.

The attacks know the password, so that what refuses them is the guard in front of the server and not the password.
"""

import base64
import json
import os
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from PIL import Image

from kennel.servers import prefect, processes
from tests.browser import FOREIGN, Browser, Tab, attack, empty_pages, needs_browser, running_browser
from tests.conftest import ROOT
from tests.polling import wait_until

EVIL = "evil.example"
PUBLISHING = """
import asyncio, sys
from prefect import flow
from tasks.run.artifacts import publish_markdown
@flow
async def show() -> None:
    await publish_markdown("loadtest", "dogs-1", f"## Load test\\n\\n![profile, function]({sys.argv[1]})\\n")
asyncio.run(show())
"""
FLOWS, PATHS = "/api/flows/", {"websocket": "/api/events/in"}
MADE = json.dumps({"name": "made", "labels": {"a": "="}})
JSON = {"Content-Type": "application/json"}
REFUSED = {way: [403] for way in FOREIGN}
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Server:
    """A Prefect server of this module's own."""

    home: Path
    process: processes.BackgroundProcess

    @property
    def port(self) -> str:
        return self.process.url.rpartition(":")[2]

    @property
    def variables(self) -> dict[str, str]:
        return prefect.settings_for(self.home, self.process.url)

    @property
    def password(self) -> str:
        return self.variables["PREFECT_API_AUTH_STRING"]

    @property
    def signed(self) -> dict[str, str]:
        return {"Authorization": f"Basic {base64.b64encode(self.password.encode()).decode()}"}

    def ask(self, path: str, content: object = None, headers: Mapping[str, str] | None = None) -> Any:
        """Ask the API as a program does; `content` None is a GET, `headers` None are those with the password."""
        body = None if content is None else json.dumps(content).encode()
        sent = {"Content-Type": "application/json", **(self.signed if headers is None else headers)}
        request = urllib.request.Request(f"{self.process.url}/api{path}", body, sent)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def flows(self) -> list[str]:
        return sorted(flow["name"] for flow in self.ask("/flows/filter", {}))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    process = prefect.begin(home)
    try:
        prefect.wait(process)
        yield Server(home, process)
    finally:
        processes.stop(home, prefect.NAME)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser(EVIL) as browser:
        yield browser


@pytest.fixture(scope="module")
def other_port() -> Iterator[int]:
    with empty_pages() as port:
        yield port


def signed_in(browser: Browser, server: Server, page: str) -> Tab:
    """Open one of Prefect's pages, wait for its login, and open it again with the password."""
    tab = browser.open(f"http://{urlsplit(page).netloc}/api/health")
    tab.run("localStorage.clear()")
    tab.go(page)
    wait_until(lambda: tab.run("document.body.innerText"), "the login", holds=lambda text: "Login" in text)
    key = base64.b64encode(server.password.encode()).decode()
    tab.run(f"localStorage.setItem('prefect-password', '{key}')")
    tab.go(page)
    return tab


def answers(tab: Tab, server: Server, url: str) -> dict[str, list[int]]:
    """Send a request to the server at `url` in every way that a page has; return the statuses by the way."""
    sent = JSON | server.signed
    return {way: attack(tab, way, f"{url}{PATHS.get(way, FLOWS)}", MADE, sent) for way in FOREIGN}


@needs_browser
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", EVIL])
def test_a_foreign_page_is_refused_whatever_it_sends(
    server: Server, browser: Browser, other_port: int, host: str
) -> None:
    tab = browser.open(f"http://{host}:{other_port}/")
    assert answers(tab, server, server.process.url) == REFUSED
    assert "made" not in server.flows()


@needs_browser
def test_a_name_that_resolves_to_this_machine_is_refused(server: Server, browser: Browser) -> None:
    """DNS rebinding: the page is of the server's own origin, by a name that its author controls."""
    tab = browser.open(f"http://{EVIL}:{server.port}/")
    assert "loopback host" in tab.run("document.body.innerText")
    assert answers(tab, server, f"http://{EVIL}:{server.port}") == REFUSED
    assert "made" not in server.flows()


@needs_browser
@pytest.mark.parametrize("pages", ["", "/v2"])
def test_prefects_page_shows_a_run_s_picture_once_it_has_the_password(
    server: Server, browser: Browser, tmp_path: Path, pages: str
) -> None:
    """By the other name of loopback, too: the page asks the address that it was loaded from."""
    picture = tmp_path / "runs (2)" / "profile.png"
    picture.parent.mkdir()
    Image.new("RGB", (321, 123), "red").save(picture)
    command = [sys.executable, "-c", PUBLISHING, str(picture)]
    subprocess.run(command, env={**os.environ, **server.variables, "PYTHONPATH": str(ROOT)}, check=True, timeout=90)
    artifact = server.ask("/artifacts/filter", {"sort": "CREATED_DESC"})[0]
    tab = signed_in(browser, server, f"http://localhost:{server.port}{pages}/artifacts/artifact/{artifact['id']}")
    data = base64.b64encode(picture.read_bytes()).decode()
    shown = "[...document.images].map(image => image.src)"
    wait_until(lambda: tab.run(shown), "the picture", holds=lambda sources: f"data:image/png;base64,{data}" in sources)


@needs_browser
@pytest.mark.parametrize("page", ["/v2/dashboard", "/v2/runs", "/dashboard"])
def test_prefects_pages_ask_nobody_but_their_server(server: Server, page: str) -> None:
    """Without the policy the pages under /v2/, to which / leads, ask an analytics service as soon as they are there."""
    with running_browser("*") as browser:
        tab = signed_in(browser, server, f"{server.process.url}{page}")
        wait_until(lambda: tab.run("document.body.innerText"), "the page", holds=lambda text: "Dashboard" in text)
        asked = tab.addresses()
    assert any(url.startswith(f"{server.process.url}/api/") for url in asked)
    assert [url for url in asked if not url.startswith((server.process.url, "data:", "blob:"))] == []


@needs_browser
def test_what_foreign_pages_sent_is_carried_out_for_prefects_own_page(server: Server, browser: Browser) -> None:
    """Else the attacks above would prove nothing."""
    tab = browser.open(f"{server.process.url}/api/health")
    body = MADE.replace("made", "own")
    assert attack(tab, "preflight", f"{server.process.url}{FLOWS}", body, JSON | server.signed) == [201]
    assert attack(tab, "websocket", f"{server.process.url}{PATHS['websocket']}", "=", {}) == [101]
    assert "own" in server.flows()


def test_a_request_without_the_password_is_refused(server: Server) -> None:
    for headers in ({}, {"Authorization": "Basic a2VubmVsOmd1ZXNz"}):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            server.ask("/flows/filter", {}, headers)


def test_the_password_is_the_users_alone_and_stays_the_same(server: Server) -> None:
    assert stat.S_IMODE(prefect.password_path(server.home).stat().st_mode) == 0o600
    assert prefect.settings_for(server.home, "http://127.0.0.1:1")["PREFECT_API_AUTH_STRING"] == server.password
    assert server.password not in " ".join(psutil.Process(server.process.pid).cmdline())


def test_commands_that_start_at_once_agree_on_the_password(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = pool.map(lambda _: prefect.settings_for(tmp_path, "u")["PREFECT_API_AUTH_STRING"], range(16))
    assert len(set(made)) == 1
