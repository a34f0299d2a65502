"""Tests Locust's report page of a load test as a real browser renders it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tasks.load.generator import GeneratorOptions, run_load_test
from tasks.run.records import EndpointRef
from tasks.run.settings import Settings
from tests.loadtest.conftest import InvokeServer

CHROMIUM = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=8000 --dump-dom"
)
NAME = "kennel-dogs-1-endpoint"
ARN = f"arn:aws:sagemaker:us-east-1:123456789012:endpoint/{NAME}"


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium: `make apt` installs it")
def test_the_page_shows_the_target_and_every_request(server: InvokeServer, image: Path, tmp_path: Path) -> None:
    report = run_load_test(
        Settings.load(endpoint_url=server.url, region="us-east-1"),
        tmp_path / "run",
        target=EndpointRef(NAME, ARN, "config", "model", "AllTraffic", "ml.m5.large", 1, "s3://b/k", 1.0),
        images=[image],
        rate_per_second=200,
        seconds=1.0,
        options=GeneratorOptions(warm_up_seconds=0.5, drain_seconds=5, seed=4),
        say=lambda _: None,
    )
    page = rendered(Path(report.files["html"]), tmp_path / "profile")
    cells = re.sub(r"<[^>]+>", "|", page)
    assert NAME in cells
    assert re.search(rf"\|{report.requests}\|", cells), f"{report.requests} requests are nowhere on the page"


def rendered(page: Path, profile: Path) -> str:
    """Return the page's elements after its scripts ran."""
    command = ["chromium", *CHROMIUM.split(), f"--user-data-dir={profile}", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
