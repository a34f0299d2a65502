"""Tests Locust's report page of a load test as a real browser renders it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tasks.load.generator import GeneratorOptions, run_load_test
from tasks.load.report import FILES
from tasks.run.errors import StageFailed
from tasks.run.escaping import valid_text
from tasks.run.records import EndpointRef
from tasks.run.settings import Settings
from tests.hostile import CORPUS, harmful_in
from tests.loadtest.conftest import InvokeServer
from tests.tasks.load.void_runs import even_if_void

CHROMIUM = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=8000 --dump-dom"
)
NAME = "kennel-dogs-1-endpoint"
ARN = f"arn:aws:sagemaker:us-east-1:123456789012:endpoint/{NAME}"


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium: `make apt` installs it")
def test_the_page_shows_the_target_and_every_request(server: InvokeServer, image: Path, tmp_path: Path) -> None:
    report = even_if_void(
        tmp_path / "run",
        lambda: run_load_test(
            Settings.load(endpoint_url=server.url, region="us-east-1"),
            tmp_path / "run",
            target=EndpointRef(NAME, ARN, "config", "model", "AllTraffic", "ml.m5.large", 1, "s3://b/k", 1.0),
            images=[image],
            rate_per_second=200,
            seconds=1.0,
            options=GeneratorOptions(warm_up_seconds=0.5, drain_seconds=5, seed=4),
            say=lambda _: None,
        ),
    )
    page = rendered(Path(report.files["html"]), tmp_path / "profile")
    cells = re.sub(r"<[^>]+>", "|", page)
    assert NAME in cells
    assert re.search(rf"\|{report.requests}\|", cells), f"{report.requests} requests are nowhere on the page"


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium: `make apt` installs it")
def test_what_a_target_answers_is_text_on_the_page_and_in_every_file(
    server: InvokeServer, image: Path, tmp_path: Path
) -> None:
    """The server answers each request with 429 and one of the 40 strings as the reason."""
    with pytest.raises(StageFailed, match=r"none of \d+ requests succeeded"):
        run_load_test(
            Settings.load(endpoint_url=server.url, region="us-east-1"),
            tmp_path / "run",
            target=EndpointRef("hostile", ARN, "config", "model", "AllTraffic", "ml.m5.large", 1, "s3://b/k", 1.0),
            images=[image],
            rate_per_second=200,
            seconds=1.0,
            options=GeneratorOptions(warm_up_seconds=0.5, drain_seconds=5, seed=4),
            say=lambda _: None,
        )
    files = {name: tmp_path / "run" / "loadtest" / file for name, file in FILES.items()}
    codes = {f"429 ThrottlingException {valid_text(text)}".rstrip() for text in CORPUS}
    assert set(json.loads(files["json"].read_bytes())["failures"]["by_code"]) == codes, "these are the exact texts"
    page = rendered(files["html"], tmp_path / "profile")
    assert "<title>Locust</title>" in page and "forged" in page, "no script ran, and the texts are shown"
    assert not re.search(r"<(script|img|b|i)[^>]*(forged|src=.?x)|href=.?(http://evil|javascript:alert)", page)
    for name in ("html", "csv_failures", "log"):
        assert harmful_in(files[name].read_text()) <= {repr("\r"), repr("\t")}, name


def rendered(page: Path, profile: Path) -> str:
    """Return the page's elements after its scripts ran."""
    command = ["chromium", *CHROMIUM.split(), f"--user-data-dir={profile}", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout
