"""A real browser, driven by its own protocol (CDP): tabs, their addresses, and JavaScript in them.

One start takes seconds, so a module shares one. https://chromedevtools.github.io/devtools-protocol/
"""

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from tests.http_server import serving
from tests.polling import wait_until

ANSWER_SECONDS = 60.0
STOP_SECONDS = 20.0
ASKING = ("requestWillBeSent", "webSocketCreated")
STATUSES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "responseReceivedExtraInfo": lambda about: about["statusCode"],  # also of what the page may not read
    "webSocketHandshakeResponseReceived": lambda about: about["response"]["status"],
    "webSocketFrameError": lambda about: about["errorMessage"].rpartition(" ")[2],  # "Unexpected response code: 403"
}
"""Where an event of the browser tells a status."""
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --remote-debugging-port=0"
)
needs_browser = pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium: `make apt` installs it")


class Browser:
    """A running browser; `hosts` in `running_browser` are the names that it resolves to 127.0.0.1."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, /, **parameters: object) -> dict[str, Any]:
        """Send one command and return its result; events that come meanwhile are kept in `events`."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters, **({"sessionId": session} if session else {})}
        self._connection.send(json.dumps(message))
        while (answer := json.loads(self._connection.recv(ANSWER_SECONDS))).get("id") != number:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return dict(answer["result"])

    def open(self, url: str) -> "Tab":
        """Open an address in a new tab, as if a person had typed it."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Network.enable", session)
        tab = Tab(self, session)
        tab.go(url)
        return tab


class Tab:
    """A tab of the browser."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def go(self, url: str) -> None:
        """Go to an address and wait for its document."""
        self._browser.call("Page.navigate", self._session, url=url)
        address = "document.readyState == 'complete' && location.href"
        wait_until(lambda: self.run(address), f"the document of {url}", holds=lambda at: at and at != "about:blank")

    def resize(self, width: int, height: int) -> None:
        """Give the tab a window of so many pixels, as wide as that also for a narrow one."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send one command for this tab and return its result."""
        return self._browser.call(method, self._session, **parameters)

    def owns(self, event: Mapping[str, Any]) -> bool:
        """Return whether an event of the browser is about this tab."""
        return event.get("sessionId") == self._session

    def addresses(self) -> list[str]:
        """Return the addresses that the tab asked so far, also those that did not answer."""
        here = [each for each in self._browser.events if self.owns(each)]
        return [_url(each["params"]) for each in here if each["method"].removeprefix("Network.") in ASKING]

    def statuses(self, url: str) -> list[int]:
        """Return the HTTP statuses that the tab was answered with so far at `url`, handshakes and preflights too.

        Scripts see none of them in answers that their page may not read.
        """
        here = [each for each in self._browser.events if self.owns(each)]
        events = [(each["method"].removeprefix("Network."), each["params"]) for each in here]
        asked = {about["requestId"]: _url(about) for kind, about in events if kind in ASKING}
        answers = [
            STATUSES[kind](about) for kind, about in events if kind in STATUSES and asked.get(about["requestId"]) == url
        ]
        return [int(status) for status in answers]

    def run(self, script: str) -> Any:
        """Evaluate an expression, wait for it if it is a promise, and return its value."""
        asked = {"expression": script, "awaitPromise": True, "returnByValue": True}
        answer = self._browser.call("Runtime.evaluate", self._session, **asked)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")


def _url(asked: Mapping[str, Any]) -> str:
    """Return where a request or a WebSocket goes, as an http URL."""
    url: str = asked["request"]["url"] if "request" in asked else asked["url"]
    return url.replace("ws", "http", 1) if url.startswith("ws") else url


@contextlib.contextmanager
def running_browser(*hosts: str) -> Iterator[Browser]:
    """Run a browser until the block ends."""
    rules = ",".join(f"MAP {host} 127.0.0.1" for host in hosts)
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as profile:
        command = ["chromium", *OPTIONS.split(), f"--user-data-dir={profile}", f"--host-resolver-rules={rules}"]
        with (Path(profile) / "output.txt").open("w") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            # no pings: while a test does other things nobody reads, and events pile up in front of the answer
            address = _address(Path(profile), process)
            with connect(address, max_size=None, proxy=None, ping_interval=None) as connection:
                yield Browser(connection)
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # closing the tabs one by one takes seconds
            process.wait(STOP_SECONDS)


def _address(profile: Path, process: "subprocess.Popen[bytes]") -> str:
    def read() -> list[str]:
        assert process.poll() is None, (profile / "output.txt").read_text()
        written = profile / "DevToolsActivePort"
        return written.read_text().splitlines() if written.exists() else []

    port, path = wait_until(read, "the browser", ANSWER_SECONDS, holds=lambda lines: len(lines) == 2)
    return f"ws://127.0.0.1:{port}{path}"


@contextlib.contextmanager
def empty_pages() -> Iterator[int]:
    """Serve an empty page at every path of a free port, for scripts that a foreign page could hold."""
    with serving(_EmptyPage) as url:
        yield int(url.rpartition(":")[2])


class _EmptyPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "0")
        self.end_headers()


FOREIGN = {
    "read": "fetch(url).catch(() => 0)",
    "no-cors": "fetch(url, {method: 'POST', mode: 'no-cors', body})",
    "query": "fetch(url, {method: 'POST', mode: 'no-cors', body: new URLSearchParams(body)})",
    "upload": """(() => {
        const form = new FormData()
        form.append('key', 'made')
        form.append('file', new Blob([body]), 'model.tar.gz')
        return fetch(url, {method: 'POST', mode: 'no-cors', body: form})
    })()""",
    "preflight": "fetch(url, {method: 'POST', headers, body}).catch(() => 0)",
    "beacon": "navigator.sendBeacon(url, new Blob([body], {type: 'text/plain'}))",
    "form": """new Promise(done => {
        const frame = document.createElement('iframe'), form = document.createElement('form')
        const field = document.createElement('input'), half = body.lastIndexOf('=')
        const name = `answer ${document.forms.length}`  // a frame that has gone to another site is another process
        Object.assign(frame, {name, onload: done})
        Object.assign(form, {method: 'POST', enctype: 'text/plain', action: url, target: name})
        Object.assign(field, {name: body.slice(0, half), value: body.slice(half + 1)})
        document.body.append(frame, form)
        form.append(field)
        form.submit()
    })""",
    "websocket": """new Promise(done => {
        const socket = new WebSocket(url.replace('http', 'ws'), 'prefect')
        socket.onopen = socket.onclose = done
    })""",
}
"""The ways in which a page sends a request that it did not ask anybody for; each uses url, body (with a =), headers."""


def attack(tab: Tab, way: str, url: str, body: str, headers: Mapping[str, str]) -> list[int]:
    """Send a request from a tab's page by one of the `FOREIGN` ways, and return the statuses of its answers."""
    sent = (
        f"((url, body, headers) => {FOREIGN[way]})({json.dumps(url)}, {json.dumps(body)}, {json.dumps(dict(headers))})"
    )
    before = len(tab.statuses(url))
    tab.run(f"Promise.resolve({sent}).then(() => 0)")

    def look() -> list[int]:
        tab.run("0")  # takes in the events
        return tab.statuses(url)[before:]

    return wait_until(look, f"an answer to {way} at {url}")
