"""Load-test what a run deployed: real images at a set rate, through the function's alias or directly at the endpoint.

prefect deployment run 'loadtest/loadtest' -p run_id=dogs-1a2b3c4d -p rate_per_second=20 -p seconds=60
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.parameters import LoadSeconds, Processes, RatePerSecond, RunId
from tasks.artifacts import publish_markdown
from tasks.aws import Aws
from tasks.errors import SettingsRefused
from tasks.ledger import run_lock
from tasks.load_images import fetch_test_images
from tasks.load_report import STAGE, report_markdown
from tasks.loadtest import LoadOptions, run_load_test
from tasks.records import DatasetRef, EndpointRef, FunctionRef, LoadReport, load_record
from tasks.settings import Settings

IMAGES = 16
"""So many different photos are sent in turn: enough that no cache of one answer could serve them all."""


@flow(name=STAGE)
async def loadtest(
    run_id: RunId,
    rate_per_second: RatePerSecond = 10.0,
    seconds: LoadSeconds = 30.0,
    through: Literal["function", "endpoint"] = "function",
    processes: Processes = 1,
    seed: int = 0,
    time_scale: float = 1.0,
) -> LoadReport:
    """Send Poisson arrivals of `rate_per_second` for `seconds` and keep Locust's report, CSVs and our figures.

    Raises:
        SettingsRefused: the run has no staged dataset or no endpoint or function yet.
        StageFailed: the target is dead, nothing succeeded, or the generator was the bottleneck (the run is void).
        WaitTimedOut: the generator did not end in time.
        AwsFailed: AWS refused.
    """
    settings = Settings.load()
    run_dir = settings.run_dir(run_id)
    with run_lock(run_dir):
        target = _target(run_dir, through)
        images = await choose_images(Aws(settings), run_dir)
        options = LoadOptions(processes=processes, seed=seed, time_scale=time_scale)
        try:
            return await send_requests(settings, run_dir, target, images, rate_per_second, seconds, options)
        finally:
            report = load_record(run_dir, STAGE, LoadReport)
            if report is not None:
                await publish_markdown(STAGE, run_id, report_markdown(report))


@task(name="choose images", cache_policy=NO_CACHE)
async def choose_images(aws: Aws, run_dir: Path) -> list[Path]:
    """Fetch photos of the test split that the run staged."""
    dataset = load_record(run_dir, "stage_data", DatasetRef)
    if dataset is None:
        raise SettingsRefused(
            STAGE, f"run {run_dir.name}", "it has no staged dataset to take photos from", "kennel run"
        )
    return await asyncio.to_thread(fetch_test_images, aws, dataset, run_dir / "loadtest-images", count=IMAGES)


@task(name="send requests", cache_policy=NO_CACHE)
async def send_requests(
    settings: Settings,
    run_dir: Path,
    target: EndpointRef | FunctionRef,
    images: list[Path],
    rate_per_second: float,
    seconds: float,
    options: LoadOptions,
) -> LoadReport:
    """Run the load generator to its end in a process of its own."""
    return await asyncio.to_thread(
        run_load_test,
        settings,
        run_dir,
        target=target,
        images=images,
        rate_per_second=rate_per_second,
        seconds=seconds,
        options=options,
    )


def _target(run_dir: Path, through: Literal["function", "endpoint"]) -> EndpointRef | FunctionRef:
    kind: type[EndpointRef | FunctionRef] = FunctionRef if through == "function" else EndpointRef
    target = load_record(run_dir, through, kind)
    if target is None:
        raise SettingsRefused(
            STAGE, f"run {run_dir.name}", f"it has no {through} yet", "kennel run, or the deploy flow"
        )
    return target
