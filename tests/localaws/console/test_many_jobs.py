"""A thousand jobs are shown in pages: real records in this process's own backend, no process of theirs."""

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from localaws.auth.routes import CONSOLE
from localaws.console.site import Console
from localaws.core import Core
from localaws.sagemaker.jobs.requests import Location
from localaws.sagemaker.training.record import TrainingJobRecord
from localaws.sagemaker.training.requests import TrainingRequest
from localaws.settings import Settings

JOBS = 1_000
ACCOUNT = "210987654321"  # no other test of this process has jobs in it
Get = Callable[[str], str]
REQUEST = TrainingRequest(
    name="job",
    role_arn=f"arn:aws:iam::{ACCOUNT}:role/r",
    command=(),
    hyperparameters={},
    environment={},
    channels=(),
    output=Location("b", "out"),
    is_compressed=True,
    instance_type="ml.m5.large",
    instance_count=2,
    max_runtime_seconds=60,
    max_wait_seconds=None,
    is_spot=False,
    is_isolated=False,
    checkpoints=None,
    metrics=(),
    vpc=None,
    output_key=None,
    volume_key=None,
    tags=(),
    echo={},
)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Get]:
    """Return what returns the HTML of a page."""
    from moto.sagemaker.models import sagemaker_backends

    core = Core(Settings(tmp_path, port=1, account_id=ACCOUNT))
    records = [TrainingJobRecord(replace(REQUEST, name=f"job-{number:04}"), "arn") for number in range(JOBS)]
    for record in records[::2]:
        record.finish("Completed")
    backend = sagemaker_backends[ACCOUNT][core.settings.region]
    backend.training_jobs.update({each.training_job_name: each for each in records})  # type: ignore[misc]
    transport = httpx.ASGITransport(Starlette(routes=[Console(core, "token").route]))

    async def get(address: str) -> str:
        async with httpx.AsyncClient(transport=transport, base_url=f"http://127.0.0.1{CONSOLE}token/") as client:
            return (await client.get(address)).raise_for_status().text

    yield lambda address: asyncio.run(get(address))
    backend.training_jobs.clear()
    core.shutdown()


def names(html: str) -> list[str]:
    return re.findall(r">(job-\d{4})</a>", html)


def test_a_thousand_jobs_are_in_pages_of_which_each_leads_to_the_next(page: Get) -> None:
    seen, address = [], "jobs"
    for _ in range(100):
        html = page(address)
        seen += names(html)
        following = re.search(r'rel="next" href="([^"]+)"', html)
        if following is None:
            break
        address = following[1].replace("&amp;", "&")
    assert seen == [f"job-{number:04}" for number in reversed(range(JOBS))]


def test_a_status_limits_them(page: Get) -> None:
    html = page("jobs?status=Completed")
    assert "1–50 of 500" in html and names(html)[0] == "job-0998"


@pytest.mark.parametrize("begin", ["-1", "x", "99999999999999999999", "1e3", "²", "5000"])
def test_a_page_that_there_is_not_is_one_that_there_is(page: Get, begin: str) -> None:
    assert len(names(page(f"jobs?from={begin}"))) == 50
