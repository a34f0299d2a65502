"""Runs all stages: stage the data, train, deploy, load-test, report. A repeated command adopts what exists already.

prefect deployment run 'pipeline/pipeline' -p data=sample -p training='{"instances": 2}'
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from typing import Any

from prefect import Flow, State, flow
from prefect.client.schemas.objects import FlowRun

from flows.deploy import Deployment
from flows.deploy import deploy as deploy_model
from flows.harmless import harmless_errors
from flows.loadtest import loadtest
from flows.run_name import SAMPLE, named, trained_run
from flows.stage_clock import StageClock
from flows.stage_data import stage_data
from flows.step import step
from flows.train_ec2 import train_ec2
from flows.train_sagemaker import train_sagemaker
from tasks.account.budget_alarm import ensure_budget_alarm, require_budget
from tasks.account.container_images import require_images
from tasks.account.permission_use import keep_permission_use
from tasks.doctor.account import RunParts, require_account
from tasks.ec2.terminate import end_instances
from tasks.evidence.take import keep_evidence
from tasks.load.options import LoadOptions, PipelineLoadOptions
from tasks.load.report import LoadTestIdentity
from tasks.model import weights
from tasks.model.backbones import require_backbone
from tasks.model.code import lock_sha256
from tasks.model.search import of_the_winner, require_search
from tasks.page.artifact import artifact_markdown
from tasks.page.page import write_page
from tasks.plan.spending import require_unspent
from tasks.plan.wanted import Limits as SpendingLimits
from tasks.plan.wanted import Wanted, ec2_training
from tasks.plan.within import begin_within
from tasks.report.summary import RunSummary, StageTimes, forget_load_test_of_other_deployment, summarise
from tasks.run.artifacts import publish_markdown
from tasks.run.errors import Inconclusive, KennelError, StageFailed
from tasks.run.handle import Run, RunFolder
from tasks.run.machine import measured_on
from tasks.run.naming import RunId
from tasks.run.options import (
    BudgetUsd,
    DataOptions,
    DeployOptions,
    Ec2Instances,
    Email,
    Network,
    StagingOptions,
    TrainingOptions,
    TtlHours,
)
from tasks.run.records import FunctionRef, LoadReport
from tasks.run.run_id import run_of_training
from tasks.run.settings import Settings
from tasks.run.source_name import keep_in_memory
from tasks.run.waiting import say
from tasks.verdicts.check import ScalingVerdicts

fetch_weights = step("fetch weights")(weights.fetch_weights)

STAGE = "pipeline"

look_at_account = step("look at the account")(require_account)
hold_to_limits = step("limits of cost")(begin_within)
set_alarm = step("budget alarm")(ensure_budget_alarm)
take_evidence = step("evidence")(keep_evidence)


def end_instances_of(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001 Prefect's names
    """Terminate the run's instances when a worker's flow run was cancelled or its process ended.

    Raises:
        TeardownIncomplete: an instance could not be terminated.
        AwsFailed: EC2 refused.
    """
    if flow_run.parameters.get("ec2_instances"):
        end_instances(Run.load(trained_run(flow_run.parameters)))


@flow(
    name=STAGE,
    flow_run_name=named(STAGE, trained_run),
    on_cancellation=[end_instances_of],
    on_crashed=[end_instances_of],
)
@harmless_errors
async def pipeline(
    data: str = SAMPLE,
    run_id: RunId | None = None,
    training: TrainingOptions = TrainingOptions(),
    ec2_instances: Ec2Instances = 0,
    deploy: DeployOptions = DeployOptions(),
    load_test: bool = True,
    load: PipelineLoadOptions = PipelineLoadOptions(),
    network: Network = Network(),
    budget_usd: BudgetUsd | None = None,
    ttl_hours: TtlHours | None = None,
    budget_alarm: Email | None = None,
    data_options: DataOptions = DataOptions(),
    staging: StagingOptions = StagingOptions(),
) -> RunSummary:
    """Turn a zip, URL, folder or `sample` into a load-tested endpoint behind a function, and write the report.

    When the load test fails, the report is written first and then the error is raised. When it is inconclusive, the
    summary says so.

    Args:
        data: A URL, an archive, a folder, s3://BUCKET/PREFIX/, or `sample`.
        run_id: By default derived from data and training, so that a repeated command adopts what exists.
        training: The training on SageMaker.
        ec2_instances: Also train on this many EC2 instances over SSH, and compare; 0 trains on none.
        deploy: The endpoint, and the hosts from which the function in front of it may fetch photos.
        load_test: Whether to load-test the deployment.
        load: The load test.
        network: The subnets and security groups of a VPC of yours, for all of these.
        budget_usd: The run does not begin if it may cost more, and ends after the stage in which it has.
        ttl_hours: From now on; then `kennel down --expired`, or the flow `teardown`, removes what the run made.
        budget_alarm: An address to which AWS Budgets sends mail when 80 % and all of the budget are spent.
        data_options: How photos are distributed that have no split, and what becomes of a photo in two splits.
        staging: Where photos are decoded and judged: on this machine, or by a job of SageMaker.

    Raises:
        SpendingRefused: the run may cost more than its budget, or has.
        KennelError: the kind that the failing stage names.
    """
    require_backbone(training.backbone)
    require_search(training)
    require_budget(budget_usd, budget_alarm)
    settings = Settings.load()
    require_images(settings)
    chosen = run_id or run_of_training(settings.runs, data, training, data_options)
    run, clock = RunFolder(settings.run_dir(chosen)), StageClock()
    with run.at_work(*_stages(ec2=ec2_instances > 0, load_test=load_test)):
        same = ec2_training(training, ec2_instances)
        await look_at_account(settings, RunParts(training, deploy, same, network))
        limits = SpendingLimits(budget_usd, ttl_hours, budget_alarm)
        tested_by = load if load_test else None
        wanted = Wanted.of(settings.target(), chosen, training, deploy, same, tested_by, network, staging)
        await hold_to_limits(wanted, limits)
        await fetch_weights(training, settings)
        staged = stage_data(keep_in_memory(data), chosen, data_options, staging, network)
        await clock.time("stage_data", staged)
        if budget_alarm is not None:
            await set_alarm(Run.load(chosen), budget_usd, budget_alarm)
        trained = await clock.time("train_sagemaker", train_sagemaker(chosen, training, network))
        require_unspent(Run.load(chosen), budget_usd)
        if same is not None:
            await clock.time("train_ec2", train_ec2(chosen, of_the_winner(same, trained.search), network))
            require_unspent(Run.load(chosen), budget_usd)
        deployment = await clock.time("deploy", deploy_model(chosen, deploy, network))
        require_unspent(Run.load(chosen), budget_usd)
        tested = _tested(deployment, load)
        refused, open_ = None, ""
        forget_load_test_of_other_deployment(run, tested)
        if load_test:
            try:
                await clock.time("loadtest", _load_test(run, tested, load))
            except Inconclusive as error:
                open_ = f"{error.what}: {error.why}"
                say(f"loadtest: inconclusive: {open_}")
            except StageFailed as error:
                refused = error
        await _keep_evidence(Run.load(chosen))
        keep_permission_use(Run.load(chosen))
        run.keep(StageTimes(clock.seconds, measured_on(settings), open_, lock_sha256()))
        summary = summarise(run)
        write_page(summary)
        await publish_markdown(STAGE, chosen, artifact_markdown(summary), folder=run.folder)
    if refused is not None:
        raise refused
    require_unspent(Run.load(chosen), budget_usd)
    return summary


def _stages(*, ec2: bool, load_test: bool) -> tuple[str, ...]:
    wanted = {"stage_data": True, "train_sagemaker": True, "train_ec2": ec2, "deploy": True, "loadtest": load_test}
    return tuple(stage for stage, is_wanted in wanted.items() if is_wanted)


async def _load_test(run: RunFolder, tested: LoadTestIdentity, load: LoadOptions) -> None:
    """Load-test the deployment, unless the same deployment was tested with the same options before."""
    is_checked = load.mode == "checked"
    kept = run.find(ScalingVerdicts) if is_checked else run.find(LoadReport)
    if kept is not None and run.find(LoadTestIdentity) == tested:
        say("loadtest: adopted the result of an earlier command; the deployment and the options are the same")
        return
    await loadtest(run.id, load)
    function = run.need(FunctionRef)  # a plan may have published another version
    run.keep(replace(tested, function_version=function.version))


async def _keep_evidence(run: Run, take: Callable[[Run], Awaitable[None]] = take_evidence) -> None:
    """Keep what the run looks like; a run without evidence is as good a run."""
    try:
        await take(run)
    except KennelError as error:
        say(f"WARNING: there is no evidence of this run: {error}")


def _tested(deployment: Deployment, load: LoadOptions) -> LoadTestIdentity:
    return LoadTestIdentity(
        deployment.endpoint.config_name,
        deployment.function.version,
        deployment.function.code_sha256,
        load.rate_per_second,
        load.seconds,
        deployment.endpoint.created,
        mode=load.mode,
        traffic={} if load.traffic is None else asdict(load.traffic),
        pace=load.pace,
        through=load.through,
        processes=load.processes,
        seed=load.seed,
        safety_factor=load.safety_factor,
        ladder_first_rps=load.ladder_first_rps,
        overrides=load.overrides,
    )
