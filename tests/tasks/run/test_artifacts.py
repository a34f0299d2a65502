"""Tests of the Markdown that Prefect shows: pictures are embedded, so that a browser sees them without local files."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tasks.run.artifacts import MAX_PICTURE_BYTES, embed_pictures
from tests.conftest import ROOT

CHROMIUM = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=15000 --dump-dom"
)
PUBLISHING = """
import asyncio, sys
from prefect import flow
from tasks.run.artifacts import publish_markdown
@flow
async def show() -> None:
    await publish_markdown("loadtest", "dogs-1", f"## Load test\\n\\n![profile, function]({sys.argv[1]})\\n")
asyncio.run(show())
"""


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "runs (2)" / "profile.png"
    path.parent.mkdir()
    Image.new("RGB", (321, 123), "red").save(path)
    return path


def test_a_picture_of_this_machine_is_embedded(picture: Path) -> None:
    text = embed_pictures(f"before\n![profile, function]({picture})\nafter")
    data = base64.b64encode(picture.read_bytes()).decode()
    assert text == f"before\n![profile, function](data:image/png;base64,{data})\nafter"


def test_a_picture_that_is_gone_or_too_large_is_named(picture: Path, tmp_path: Path) -> None:
    assert embed_pictures(f"![p]({tmp_path / 'gone.png'})") == f"p: `{tmp_path / 'gone.png'}`"
    with picture.open("ab") as file:
        file.truncate(MAX_PICTURE_BYTES + 1)
    assert embed_pictures(f"![p]({picture})") == f"p: `{picture}`"


@pytest.mark.parametrize("text", ["![p](https://example.com/p.png)", "![p](data:image/png;base64,AA)", "see `p.png`"])
def test_other_markdown_stays_as_it_is(text: str) -> None:
    assert embed_pictures(text) == text


@pytest.fixture
def prefect(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Start a Prefect server for one test and return the environment that its clients need."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    url = f"http://127.0.0.1:{port}/api"
    more = {"PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_API_URL": url, "PREFECT_SERVER_ANALYTICS_ENABLED": "0"}
    environment = {**os.environ, **more, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
    with (tmp_path / "server.log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not answers(f"{url}/health"):
            assert server.poll() is None and time.monotonic() < deadline, (tmp_path / "server.log").read_text()
            time.sleep(0.1)
        yield environment
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium: `make apt` installs it")
def test_prefects_page_shows_the_picture(prefect: dict[str, str], picture: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", PUBLISHING, str(picture)], env=prefect, check=True, timeout=90)
    url = prefect["PREFECT_API_URL"]
    request = urllib.request.Request(f"{url}/artifacts/filter", b"{}", {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        (artifact,) = json.load(answer)
    page = f"{url.removesuffix('/api')}/artifacts/artifact/{artifact['id']}"
    command = ["chromium", *CHROMIUM.split(), f"--user-data-dir={tmp_path / 'profile'}", page]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert f'src="data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"' in shown


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False
