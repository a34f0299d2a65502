"""Load-tests a run's deployment with real photos, either at a set rate or to check a scaling plan.

prefect deployment run 'loadtest/loadtest' -p run_id=dogs-1a2b3c4d -p load='{"rate_per_second": 20, "seconds": 60}'
prefect deployment run 'loadtest/loadtest' -p run_id=dogs-1a2b3c4d -p load='{"mode": "checked"}'
prefect deployment run 'loadtest/loadtest' -p run_id=dogs-1a2b3c4d -p workers='{"workers": 2}'
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from prefect import Flow, State, flow
from prefect.client.schemas.objects import FlowRun

from flows.checked_loadtest import check, checked_test
from flows.harmless import harmless_errors
from flows.run_name import named, named_run
from flows.step import step
from tasks.ec2.guard import guarded
from tasks.ec2.prices import with_current_prices
from tasks.ec2.terminate import end_instances
from tasks.load.generator import GeneratorOptions, run_load_test
from tasks.load.options import LoadOptions, Mode, Through, WorkerOptions, require_steady
from tasks.load.photos import fetch_test_images
from tasks.load.report import STAGE, LoadTestIdentity, report_markdown
from tasks.load.workers.estimate import capacity_text, estimate, require_within_budget, worker_candidates
from tasks.load.workers.fleet import load_fleet
from tasks.page.page import write_page
from tasks.plan.spending import require_unspent
from tasks.promotion import canary
from tasks.report.summary import StageTimes, summarise
from tasks.run.artifacts import publish_markdown
from tasks.run.errors import KennelError, LedgerRefused, SettingsRefused, Unreachable
from tasks.run.handle import Run, RunFolder
from tasks.run.naming import RunId
from tasks.run.record_store import AnyRecord
from tasks.run.records import DatasetRef, EndpointRef, FunctionRef, LoadReport
from tasks.run.waiting import say
from tasks.teardown.rebuild import working_on
from tasks.verdicts.check import ScalingVerdicts
from tasks.verdicts.report import raise_unless_passed, scaling_markdown

settle_canary = step("earlier canary")(canary.settle_canary)

IMAGES = 16
"""The number of different photos that are sent in turn, so that a cache of one answer cannot serve them all."""


def end_workers_of(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001 Prefect's names
    """Terminate the workers when a flow run was cancelled or crashed before it could do that itself.

    Raises:
        TeardownIncomplete: an instance could not be terminated.
        AwsFailed: EC2 refused.
    """
    given = flow_run.parameters.get("workers")
    if given is not None and WorkerOptions.model_validate(given).workers:
        end_instances(Run.load(str(flow_run.parameters["run_id"])))


@flow(name=STAGE, flow_run_name=named(STAGE, named_run), on_cancellation=[end_workers_of], on_crashed=[end_workers_of])
@harmless_errors
async def loadtest(
    run_id: RunId, load: LoadOptions = LoadOptions(), workers: WorkerOptions = WorkerOptions()
) -> LoadReport:
    """Send requests that arrive as a Poisson process, and keep Locust's report, its CSV files and our figures.

    Mode `steady` sends `rate_per_second` for `seconds`. Mode `checked` derives a scaling plan from the `traffic`
    statement and tests it (`flows.checked_loadtest`). There, `overrides` sets numbers of the plan by hand, and with
    `remeasures` False an earlier measurement of the run is used. Without a statement, the demo's is used at the `pace`
    that fits this machine (`tasks.load.pace`). The returned report is that of the first target. With `workers`, EC2
    instances send the requests (mode `steady`), and are terminated at the end.

    Args:
        run_id: The run whose deployment is tested.
        load: The requests, their target, and what a scaling plan is derived from.
        workers: The machines that send the requests; by default this one.

    Raises:
        SettingsRefused: the run has no staged dataset or no endpoint or function yet, or a parameter does not fit.
        StageFailed: the target does not answer, no request succeeded, or a verdict failed.
        SpendingRefused: the workers may cost more than their budget, or the run has cost that much already.
        LimitReached: EC2 has no instance for a worker.
        RemoteFailed: something went wrong on a worker's instance or on the way to it.
        Inconclusive: the generator was the bottleneck, a worker is missing, or no verdict failed and some could not be
            reached.
        WaitTimedOut: the generator, an instance or an environment was not ready in time.
        AwsFailed: AWS refused, or the embedded AWS ended during the test.
    """
    run = Run.load(run_id)
    require_steady(load, workers)
    generator = GeneratorOptions(processes=load.processes, seed=load.seed, time_scale=run.settings.time_scale)
    test = checked_test(run.settings.target(), load, generator) if load.mode == "checked" else None
    with working_on(run, STAGE):
        await settle_canary(run)
        target = _target(run, load.through, load.mode)
        images = await choose_images(run)
        if test is not None:
            run.forget(ScalingVerdicts, LoadTestIdentity)
        try:
            with _with_one_aws(run):
                if test is None:
                    return await send_requests(run, target, images, load, generator, workers)
                result = await check(run, test, images)
                raise_unless_passed(result, run_id)
        finally:
            await _publish(run, load.mode)
        return next(iter(result.reports.values()))


@contextmanager
def _with_one_aws(run: Run) -> Iterator[None]:
    """Forget the result of a test during which the embedded AWS ended: requests that it did not answer prove nothing.

    Raises:
        Unreachable: it ended.
    """
    try:
        yield
    except KennelError as error:
        _require_one_aws(run, error)
        raise
    _require_one_aws(run, None)


def _require_one_aws(run: Run, first: KennelError | None) -> None:
    try:
        run.aws.require_same(STAGE)
    except Unreachable as error:
        run.forget(LoadReport, LoadTestIdentity, ScalingVerdicts)
        raise error from first


async def _publish(run: RunFolder, mode: Mode) -> None:
    """Publish the records of this test as a Prefect artifact, whether or not it passed."""
    report, result = _readable(run, LoadReport), _readable(run, ScalingVerdicts)
    if mode == "steady" and report is not None:
        await publish_markdown(STAGE, run.id, report_markdown(report))
    elif mode == "checked" and result is not None:
        parts = [*(report_markdown(each) for each in result.reports.values()), scaling_markdown(result)]
        await publish_markdown(STAGE, run.id, "\n".join(parts))
    if run.path(StageTimes).exists():
        write_page(summarise(run))


def _readable(run: RunFolder, kind: type[AnyRecord]) -> AnyRecord | None:
    """Return a record, or None when there is none or it is damaged, which the report notes."""
    try:
        return run.find(kind)
    except LedgerRefused:
        return None


@step("choose images")
def choose_images(run: Run) -> list[Path]:
    """Download photos of the test split that the run staged.

    Raises:
        SettingsRefused: the run has no staged dataset.
        AwsFailed: S3 refused.
    """
    return fetch_test_images(run.aws, run.need(DatasetRef), run.folder / "loadtest-images", count=IMAGES)


@step("send requests")
def send_requests(
    run: Run,
    target: EndpointRef | FunctionRef,
    images: list[Path],
    load: LoadOptions,
    generator: GeneratorOptions,
    workers: WorkerOptions,
) -> LoadReport:
    """Run the load generator to its end in a process of its own, or on EC2 instances.

    Raises:
        StageFailed: the target does not answer, or no request succeeded.
        Inconclusive: the generator was the bottleneck, or a worker is missing.
        WaitTimedOut: the generator did not end in time.
        KennelError: the kinds that `tasks.load.workers.fleet.load_fleet` names.
    """
    send = partial(
        run_load_test,
        run.settings,
        run.folder,
        target=target,
        images=images,
        rate_per_second=load.rate_per_second,
        seconds=load.seconds,
        options=generator,
    )
    if not workers.workers:
        return send()
    candidates = with_current_prices(run.aws, worker_candidates(workers.worker_type))
    costs = estimate(load, workers, candidates)
    spent_usd = require_unspent(run, workers.budget_usd)
    require_within_budget(costs, workers.budget_usd, spent_usd=spent_usd)
    say(f"load test: {costs.text()}")
    bucket, count = run.need(DatasetRef).bucket, workers.workers
    machines = load_fleet(run, target, candidates, bucket=bucket, count=count, processes=load.processes)
    with guarded(run), machines as fleet:
        report = send(workers=fleet)
    if report.requests_per_core:
        shown = capacity_text(report.requests_per_core, candidates, busy=report.generator_cpu)
        say(f"load test: {shown}")
    return report


def _target(run: RunFolder, through: Through, mode: Mode) -> EndpointRef | FunctionRef:
    if through == "both" and mode == "steady":
        why = "a load test at a set rate has one target"
        raise SettingsRefused(STAGE, "through=both", why, "choose function or endpoint, or mode=checked")
    return run.need(EndpointRef) if through == "endpoint" else run.need(FunctionRef)
