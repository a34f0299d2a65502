"""The whole way: stage the data, train, deploy, load-test, report. A repeated command adopts what the first one made.

prefect deployment run 'pipeline/pipeline' -p data=sample -p instances=2
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from prefect import flow

from flows.deploy import Deployment, deploy
from flows.loadtest import Mode, loadtest
from flows.parameters import (
    AllowedHost,
    Backbone,
    BatchSize,
    DemoPace,
    Ec2Count,
    Epochs,
    InstanceCount,
    InstanceType,
    LearningRate,
    LoadSeconds,
    RatePerSecond,
    RunId,
    Seconds,
    Seed,
    Views,
)
from flows.stage_data import stage_data
from flows.train_ec2 import train_ec2
from flows.train_sagemaker import train_sagemaker
from tasks.load.report import STAGE as LOADTEST
from tasks.load.report import TESTED
from tasks.model.backbones import require_backbone
from tasks.report.markdown import write_report
from tasks.report.summary import LoadTested, RunSummary, StageTimes, forget_load_test_of_another, summarise
from tasks.run import naming
from tasks.run.artifacts import publish_markdown
from tasks.run.errors import Inconclusive, StageFailed
from tasks.run.ledger import run_lock
from tasks.run.machine import where
from tasks.run.progress import Stage, tell_stage
from tasks.run.records import FunctionRef, LoadReport, load_record, save_record
from tasks.run.settings import Settings
from tasks.run.waiting import say
from tasks.verdicts.check import SCALING, ScalingVerdicts

STAGE = "pipeline"
Result = TypeVar("Result")


class StageClock:
    """Wall seconds of the stages of one command, told as they begin and end."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    async def time(self, stage: str, work: Awaitable[Result]) -> Result:
        """Do the work of a stage; its seconds count also when it fails."""
        tell_stage(Stage(stage, "begins"))
        begun = time.perf_counter()
        try:
            result = await work
        except BaseException:
            tell_stage(Stage(stage, "failed", time.perf_counter() - begun))
            raise
        finally:
            self.seconds[stage] = round(time.perf_counter() - begun, 2)
        tell_stage(Stage(stage, "done", self.seconds[stage]))
        return result


@flow(name=STAGE)
async def pipeline(
    data: str = "sample",
    run_id: RunId | None = None,
    backbone: Backbone = "efficientnet_lite0",
    instances: InstanceCount = 1,
    instance_type: InstanceType | None = None,
    epochs: Epochs | None = None,
    views: Views | None = None,
    batch_size: BatchSize | None = None,
    learning_rate: LearningRate | None = None,
    seed: Seed = 0,
    finetune: bool = False,
    weights: str | None = None,
    spot: bool = False,
    max_runtime_seconds: Seconds = 3600,
    ec2_instances: Ec2Count = 0,
    endpoint_instances: InstanceCount = 1,
    endpoint_instance_type: InstanceType | None = None,
    allowed_hosts: tuple[AllowedHost, ...] = (),
    load_test: bool = True,
    load_rate_per_second: RatePerSecond = 10.0,
    load_seconds: LoadSeconds = 10.0,
    load_mode: Mode = "steady",
    load_traffic: dict[str, float] | None = None,
    load_pace: DemoPace = 1.0,
) -> RunSummary:
    """Take a zip, URL, folder or `sample` to a load-tested endpoint behind a function, and report.

    With `ec2_instances` the same training is done on EC2 over SSH too, and compared. `load_mode` "checked" plans the
    scaling for `load_traffic` (None: the demo's at `load_pace`) and puts the plan to the test. A load test that fails
    fails the command after the report is written; one that is inconclusive is told in the summary.

    Raises:
        KennelError: the kind that the failing stage names.
    """
    require_backbone(backbone)
    settings = Settings.load()
    chosen = run_id or naming.training_run_id(
        data,
        backbone=backbone,
        instances=instances,
        instance_type=instance_type,
        epochs=epochs,
        views=views,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        finetune=finetune,
        weights=weights,
        spot=spot,
    )
    run_dir, clock = settings.run_dir(chosen), StageClock()
    with run_lock(run_dir):
        await clock.time("stage_data", stage_data(data, chosen))
        training = train_sagemaker(
            chosen,
            backbone=backbone,
            instances=instances,
            instance_type=instance_type,
            epochs=epochs,
            views=views,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
            finetune=finetune,
            weights=weights,
            spot=spot,
            max_runtime_seconds=max_runtime_seconds,
        )
        await clock.time("train_sagemaker", training)
        if ec2_instances:
            on_ec2 = train_ec2(
                chosen,
                backbone=backbone,
                instances=ec2_instances,
                epochs=epochs,
                views=views,
                batch_size=batch_size,
                learning_rate=learning_rate,
                seed=seed,
                finetune=finetune,
                weights=weights,
            )
            await clock.time("train_ec2", on_ec2)
        deployment = await clock.time(
            "deploy", deploy(chosen, endpoint_instances, endpoint_instance_type, allowed_hosts)
        )
        tested = _tested(deployment, load_rate_per_second, load_seconds, load_mode, load_traffic, load_pace)
        refused, open_ = None, ""
        forget_load_test_of_another(run_dir, tested)
        if load_test:
            try:
                await clock.time("loadtest", _load_test(run_dir, tested, load_traffic))
            except Inconclusive as error:
                open_ = f"{error.what}: {error.why}"
                say(f"loadtest: inconclusive: {open_}")
            except StageFailed as error:
                refused = error
        save_record(run_dir, STAGE, StageTimes(clock.seconds, where(settings), open_))
        summary = summarise(run_dir)
        await publish_markdown(STAGE, chosen, write_report(summary).read_text(), folder=run_dir)
    if refused is not None:
        raise refused
    return summary


async def _load_test(run_dir: Path, tested: LoadTested, traffic: dict[str, float] | None) -> None:
    """Test what is deployed, unless this very deployment was tested in this way before."""
    is_checked = tested.mode == "checked"
    kept = load_record(run_dir, SCALING, ScalingVerdicts) if is_checked else load_record(run_dir, LOADTEST, LoadReport)
    if kept is not None and load_record(run_dir, TESTED, LoadTested) == tested:
        say("loadtest: adopted, this deployment was tested so before")
        return
    await loadtest(
        run_dir.name,
        rate_per_second=tested.rate_per_second,
        seconds=tested.seconds,
        mode="checked" if is_checked else "steady",
        traffic=traffic,
        pace=tested.pace,
    )
    function = load_record(run_dir, "function", FunctionRef)  # a plan may have published another version
    save_record(run_dir, TESTED, tested if function is None else replace(tested, function_version=function.version))


def _tested(
    deployment: Deployment,
    rate_per_second: float,
    seconds: float,
    mode: Mode,
    traffic: dict[str, float] | None,
    pace: float,
) -> LoadTested:
    return LoadTested(
        deployment.endpoint.config_name,
        deployment.function.version,
        deployment.function.code_sha256,
        rate_per_second,
        seconds,
        deployment.endpoint.created,
        mode=mode,
        traffic=traffic or {},
        pace=pace,
    )
