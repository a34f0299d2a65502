"""Load-test what a run deployed, with real images: at a set rate, or as the check of a scaling plan.

prefect deployment run 'loadtest/loadtest' -p run_id=dogs-1a2b3c4d -p rate_per_second=20 -p seconds=60
prefect deployment run 'loadtest/loadtest' -p run_id=dogs-1a2b3c4d -p mode=checked
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.checked_loadtest import check, checked_test
from flows.parameters import DemoPace, LoadSeconds, Processes, RatePerSecond, RunId, SafetyFactor
from tasks.load.generator import LoadOptions, run_load_test
from tasks.load.images import fetch_test_images
from tasks.load.report import STAGE, TESTED, report_markdown
from tasks.report.markdown import write_report
from tasks.report.summary import summarise
from tasks.run.artifacts import publish_markdown
from tasks.run.aws import Aws
from tasks.run.errors import SettingsRefused
from tasks.run.ledger import run_lock
from tasks.run.records import DatasetRef, EndpointRef, FunctionRef, LoadReport, load_record
from tasks.run.settings import Settings
from tasks.verdicts.check import SCALING, ScalingVerdicts
from tasks.verdicts.report import raise_unless_passed, scaling_markdown

IMAGES = 16
"""So many different photos are sent in turn: enough that no cache of one answer could serve them all."""


Through = Literal["function", "endpoint", "both"]
Mode = Literal["steady", "checked"]


@flow(name=STAGE)
async def loadtest(
    run_id: RunId,
    rate_per_second: RatePerSecond = 10.0,
    seconds: LoadSeconds = 30.0,
    through: Through = "function",
    processes: Processes = 1,
    seed: int = 0,
    mode: Mode = "steady",
    traffic: dict[str, float] | None = None,
    safety_factor: SafetyFactor | None = None,
    ladder_first_rps: RatePerSecond | None = None,
    overrides: dict[str, float] | None = None,
    remeasures: bool = True,
    pace: DemoPace = 1.0,
) -> LoadReport:
    """Send Poisson arrivals and keep Locust's report, CSVs and our figures.

    `steady`: `rate_per_second` for `seconds`. `checked`: the `traffic` statement is planned for and the plan is put to
    the test (`flows.checked_loadtest`); `overrides` sets numbers of the plan by hand, and with `remeasures` False an
    earlier ladder of the run counts. Without a statement, the demo's is taken at the `pace` that fits this machine
    (`tasks.load.pace`). The report returned is that of the first way's whole profile.

    Raises:
        SettingsRefused: the run has no staged dataset or no endpoint or function yet, or a parameter does not fit.
        StageFailed: the target is dead, nothing succeeded, or a verdict failed.
        Inconclusive: the generator was the bottleneck (the run is void), or no verdict failed and some are open.
        WaitTimedOut: the generator, an instance or an environment was not ready in time.
        AwsFailed: AWS refused.
    """
    settings = Settings.load()
    run_dir = settings.run_dir(run_id)
    options = LoadOptions(processes=processes, seed=seed, time_scale=settings.time_scale)
    test = None
    if mode == "checked":
        test = checked_test(
            settings.target(),
            traffic=traffic,
            safety_factor=safety_factor,
            first_rps=ladder_first_rps,
            through=through,
            options=options,
            overrides=overrides or {},
            remeasures=remeasures,
            pace=pace,
        )
    with run_lock(run_dir):
        aws = Aws(settings)
        target = _target(run_dir, through, mode)
        images = await choose_images(aws, run_dir)
        if test is not None:
            for record in (SCALING, TESTED):
                (run_dir / f"{record}.json").unlink(missing_ok=True)
        try:
            if test is None:
                return await send_requests(settings, run_dir, target, images, rate_per_second, seconds, options)
            result = await check(aws, run_dir, test, images)
            raise_unless_passed(result, run_id)
        finally:
            await _publish(run_dir, mode)
        return next(iter(result.reports.values()))


async def _publish(run_dir: Path, mode: Mode) -> None:
    """Show what was kept of this test, whether or not it passed."""
    report, result = load_record(run_dir, STAGE, LoadReport), load_record(run_dir, SCALING, ScalingVerdicts)
    if mode == "steady" and report is not None:
        await publish_markdown(STAGE, run_dir.name, report_markdown(report))
    elif mode == "checked" and result is not None:
        parts = [*(report_markdown(each) for each in result.reports.values()), scaling_markdown(result)]
        await publish_markdown(STAGE, run_dir.name, "\n".join(parts))
    if (run_dir / "pipeline.json").exists():
        write_report(summarise(run_dir))


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


def _target(run_dir: Path, through: Through, mode: Mode) -> EndpointRef | FunctionRef:
    if through == "both" and mode == "steady":
        why = "one load test at a set rate goes one way"
        raise SettingsRefused(STAGE, "through=both", why, "choose function or endpoint, or mode=checked")
    name = "endpoint" if through == "endpoint" else "function"
    kind: type[EndpointRef | FunctionRef] = EndpointRef if through == "endpoint" else FunctionRef
    target = load_record(run_dir, name, kind)
    if target is None:
        raise SettingsRefused(STAGE, f"run {run_dir.name}", f"it has no {name} yet", "kennel run, or the deploy flow")
    return target
