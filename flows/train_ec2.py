"""Train on EC2 over SSH what train_sagemaker trains on SageMaker: launch, connect, train detached, bring back, end.

prefect deployment run 'train_ec2/train_ec2' -p run_id=dogs-1a2b3c4d -p instances=2
"""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import Flow, State, flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import FlowRun

from flows.parameters import (
    Backbone,
    BatchSize,
    Ec2Type,
    Epochs,
    InstanceCount,
    KeepMinutes,
    LearningRate,
    RunId,
    Seconds,
    Seed,
    Views,
)
from flows.train_sagemaker import stage_weights
from tasks.ec2.job import RemoteJob
from tasks.ec2.prices import choose_instances
from tasks.ec2.run import InstanceWish, adopt_model, end_instances, train_on_instances
from tasks.model.backbones import require_backbone
from tasks.model.code import git_commit, stage_training_code
from tasks.report.parity import STAGE as PARITY
from tasks.report.parity import Parity, compare
from tasks.run.artifacts import publish_record
from tasks.run.aws import Aws
from tasks.run.errors import SettingsRefused
from tasks.run.ledger import run_lock
from tasks.run.records import (
    DatasetRef,
    Hyperparameters,
    InstanceModel,
    TrainedModel,
    WeightsRef,
    load_record,
    save_record,
)
from tasks.run.settings import Settings
from tasks.run.waiting import say

STAGE = "train_ec2"


def end_instances_of(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001 Prefect's names
    """Terminate the run's instances, for a flow run that was cancelled or died before its own end could."""
    end_instances(Aws(Settings.load()), str(flow_run.parameters["run_id"]))


@flow(name=STAGE, on_cancellation=[end_instances_of], on_crashed=[end_instances_of])
async def train_ec2(
    run_id: RunId,
    backbone: Backbone = "efficientnet_lite0",
    instances: InstanceCount = 1,
    instance_type: Ec2Type | None = None,
    epochs: Epochs | None = None,
    views: Views | None = None,
    batch_size: BatchSize | None = None,
    learning_rate: LearningRate | None = None,
    seed: Seed = 0,
    finetune: bool = False,
    weights: str | None = None,
    spot: bool = False,
    max_runtime_seconds: Seconds = 3600,
    keep_on_failure_minutes: KeepMinutes = 0,
) -> InstanceModel:
    """Train the run's staged dataset on `instances` EC2 machines and end them, whatever comes.

    A model that the same command made before is adopted, and so are instances that still work on it. If the run was
    trained on SageMaker too, the two are compared.

    Raises:
        SettingsRefused: the run has no staged dataset.
        LimitReached: no instance could be had of any candidate type.
        StageFailed, RemoteFailed: the training failed, or an instance was not what was launched.
        WaitTimedOut: an instance did not come up, or the training did not end.
        AwsFailed: AWS refused.
    """
    require_backbone(backbone)
    settings = Settings.load()
    aws, run_dir = Aws(settings), settings.run_dir(run_id)
    hyperparameters = Hyperparameters(
        backbone=backbone,
        epochs=epochs,
        views=views,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        finetune=finetune,
    )
    wish = InstanceWish(choose_instances(finetune=finetune, requested=instance_type), spot, keep_on_failure_minutes)
    with run_lock(run_dir):
        await stage_weights(aws, run_id, backbone, weights)
        job = await plan_job(aws, run_id, hyperparameters, instances, wish, max_runtime_seconds)
        model = await train(aws, job, wish)
        save_record(run_dir, STAGE, model)
        await publish_record(STAGE, run_id, model)
        parity = await compare_with_sagemaker(aws, run_id, model)
        if parity is not None:
            await publish_record(PARITY, run_id, parity)
    return model


@task(name="plan EC2 training", cache_policy=NO_CACHE)
async def plan_job(
    aws: Aws, run_id: str, hyperparameters: Hyperparameters, instances: int, wish: InstanceWish, limit_seconds: int
) -> RemoteJob:
    """Package the code and say what the job will be."""
    return await asyncio.to_thread(_plan, aws, run_id, hyperparameters, instances, wish, limit_seconds)


@task(name="EC2 training", cache_policy=NO_CACHE)
async def train(aws: Aws, job: RemoteJob, wish: InstanceWish) -> InstanceModel:
    """Adopt the model that an earlier command made, or train it."""
    kept = await asyncio.to_thread(adopt_model, aws, job)
    if kept is not None:
        say(f"EC2 training {job.name}: adopted, its model is at {kept.model_uri}")
        say(f"  trained on {kept.instance_count} × {kept.instance_type}; on another machine it would be the same")
        await asyncio.to_thread(end_instances, aws, job.run_id)
        return kept
    return await asyncio.to_thread(train_on_instances, aws, job, wish)


@task(name="compare", cache_policy=NO_CACHE)
async def compare_with_sagemaker(aws: Aws, run_id: str, model: InstanceModel) -> Parity | None:
    """Compare with the run's SageMaker training; None, and no record, if it has none."""
    return await asyncio.to_thread(_compare, aws, run_id, model)


def _plan(
    aws: Aws, run_id: str, hyperparameters: Hyperparameters, instances: int, wish: InstanceWish, limit_seconds: int
) -> RemoteJob:
    run_dir = aws.settings.run_dir(run_id)
    dataset = load_record(run_dir, "stage_data", DatasetRef)
    if dataset is None:
        stage = f"prefect deployment run 'stage_data/stage_data' -p run_id={run_id}, or kennel train-ec2"
        raise SettingsRefused(STAGE, f"run {run_id}", "it has no staged dataset", stage)
    code_dir = run_dir / "code"
    return RemoteJob(
        run_id=run_id,
        instance_count=instances,
        processes_per_instance=1,
        spot=wish.spot,
        max_runtime_seconds=limit_seconds,
        hyperparameters=hyperparameters,
        dataset=dataset,
        weights=load_record(run_dir, "weights", WeightsRef),
        code_dir=code_dir,
        code_digest=stage_training_code(code_dir),
        git_commit=git_commit(),
    )


def _compare(aws: Aws, run_id: str, model: InstanceModel) -> Parity | None:
    run_dir = aws.settings.run_dir(run_id)
    sagemaker = load_record(run_dir, "train_sagemaker", TrainedModel)
    if sagemaker is None:
        say("compare: this run was not trained on SageMaker, so there is nothing to compare with (kennel run)")
        return None
    kept = load_record(run_dir, PARITY, Parity)
    if kept is not None and (kept.training_job, kept.ec2_job) == (sagemaker.job_name, model.name):
        return kept
    parity = compare(aws, sagemaker, model)
    save_record(run_dir, PARITY, parity)
    say(f"compare: {parity.verdict}")
    return parity
