"""Tests Locust's page: it answers on loopback only, Start runs the schedule, and no process remains at the end."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks.load.generator import GeneratorOptions
from tasks.load.web_interface import LocustInterface, start_locust_interface
from tasks.run.aws import Aws
from tasks.run.errors import SettingsRefused
from tasks.run.handle import Run
from tasks.run.records import EndpointRef
from tasks.run.settings import Settings
from tests.loadtest.conftest import InvokeServer
from tests.polling import wait_until
from tests.tasks.load.test_report_page import CHROMIUM


class OneAccount(Aws):
    """An `Aws` that knows its account without asking the scripted server."""

    @property
    def account_id(self) -> str:
        return "123456789012"


def run_at(server: InvokeServer, folder: Path) -> Run:
    return Run(OneAccount(Settings.load(endpoint_url=server.url, region="us-east-1", runs=folder)), "run")


@pytest.fixture
def page(server: InvokeServer, image: Path, tmp_path: Path) -> Iterator[LocustInterface]:
    with start_locust_interface(
        run_at(server, tmp_path),
        target=EndpointRef("steady", "arn", "c", "m", "AllTraffic", "ml.m5.large", 1, "s3://b/k", 1.0),
        images=[image],
        rate_per_second=50,
        seconds=2,
        port=0,
        options=GeneratorOptions(warm_up_seconds=0.2, drain_seconds=3),
        say=lambda _: None,
    ) as started:
        yield started


def get(page: LocustInterface, path: str) -> Any:
    with urllib.request.urlopen(page.url + path, timeout=10) as answer:
        return answer.read()


def press_start(page: LocustInterface, **typed: object) -> Any:
    """Send what the page's form sends, and return the answer."""
    form = urllib.parse.urlencode({"host": "", **typed}).encode()
    with urllib.request.urlopen(f"{page.url}/swarm", form, timeout=10) as answer:
        return json.loads(answer.read())


def requests_after(page: LocustInterface, count: int) -> int:
    def look() -> tuple[int, str]:
        stats = json.loads(get(page, "/stats/requests"))
        return int(stats["stats"][-1]["num_requests"]), stats["state"]

    def is_over(seen: tuple[int, str]) -> bool:
        return seen[0] >= count and seen[1] in {"stopped", "ready"}

    return wait_until(look, f"the end of a test of {count} requests", every=0.1, holds=is_over)[0]


def test_start_runs_the_schedule_and_the_result_is_kept_when_the_page_is_ended(
    page: LocustInterface, server: InvokeServer
) -> None:
    assert b"Locust" in get(page, "/")
    assert press_start(page)["success"] is True
    shown = requests_after(page, 60)
    children = psutil.Process(page.process.pid).children(recursive=True)
    page.__exit__()
    content = json.loads((page.folder / "loadtest.json").read_bytes())
    assert content["requests"]["sent"] == content["requests"]["answered"] == shown
    assert sum(server.counts().values()) == shown + content["warm_up"]["requests"]
    assert not any(child.is_running() for child in children)


def test_a_rate_typed_into_the_page_is_the_next_start_s(page: LocustInterface, server: InvokeServer) -> None:
    assert press_start(page, rate_per_second=200, seconds=1.5)["success"] is True
    requests_after(page, 200)
    page.__exit__()
    content = json.loads((page.folder / "loadtest.json").read_bytes())
    assert content["rate_per_second"]["asked"] == 200
    assert content["seconds"] == 1.5
    assert 200 <= content["requests"]["sent"] <= 400, "a Poisson count around 300"


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ({"rate_per_second": "0"}, "not above 0"),
        ({"seconds": "long"}, "'long' is not a number"),
        ({"seconds": "nan"}, "not above"),
    ],
)
def test_a_number_that_cannot_be_taken_is_refused_on_the_page(
    page: LocustInterface, typed: dict[str, object], why: str
) -> None:
    answer = press_start(page, **typed)
    assert answer["success"] is False and why in answer["message"]
    assert json.loads(get(page, "/stats/requests"))["state"] == "ready"


def test_it_listens_on_loopback_only_and_lets_no_foreign_page_start_a_test(page: LocustInterface) -> None:
    listening = [
        each.laddr.ip for each in psutil.Process(page.process.pid).net_connections("tcp") if each.status == "LISTEN"
    ]
    assert set(listening) == {"127.0.0.1"}
    for name, value in (("Origin", "http://localhost:1"), ("Sec-Fetch-Site", "cross-site"), ("Host", "evil.example")):
        request = urllib.request.Request(f"{page.url}/swarm", b"host=", {name: value})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request, timeout=10)
    assert json.loads(get(page, "/stats/requests"))["state"] == "ready"


def test_a_port_that_is_taken_is_refused_before_anything_starts(
    server: InvokeServer, image: Path, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SettingsRefused, match="use another port: --port 0"):
            start_locust_interface(
                run_at(server, tmp_path),
                target=EndpointRef("steady", "arn", "c", "m", "AllTraffic", "ml.m5.large", 1, "s3://b/k", 1.0),
                images=[image],
                rate_per_second=5,
                seconds=1,
                port=taken.getsockname()[1],
            )


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium: `make apt` installs it")
def test_a_browser_shows_the_page(page: LocustInterface, tmp_path: Path) -> None:
    command = ["chromium", *CHROMIUM.split(), f"--user-data-dir={tmp_path / 'profile'}", page.url]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
    assert "Start new load test" in shown or "START" in shown.upper()
    fields = dict(re.findall(r'<input[^>]* value="([^"]*)" name="(\w+)"', shown))
    assert {"50": "ratePerSecond", "2": "seconds"}.items() <= fields.items()
    style = shown.partition("<style>")[2].partition("</style>")[0]
    assert "userCount" in style and "display: none" in style, "an open model has no users to set"
