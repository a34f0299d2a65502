"""Train on SageMaker: package the code, make the role, create or adopt the job, follow it, check and keep its result.

prefect deployment run 'train_sagemaker/train_sagemaker' -p run_id=dogs-1a2b3c4d -p instances=2
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.parameters import (
    Backbone,
    BatchSize,
    Epochs,
    InstanceCount,
    InstanceType,
    LearningRate,
    RunId,
    Seconds,
    Seed,
    Views,
)
from tasks.account.images import training_image
from tasks.account.prices import choose_training_instance
from tasks.account.roles import ensure_role, training_role
from tasks.model.backbones import require_backbone
from tasks.model.code import git_commit, stage_training_code
from tasks.model.weights import find_weights, upload_weights
from tasks.run.artifacts import publish_record
from tasks.run.aws import Aws
from tasks.run.errors import KennelError, SettingsRefused
from tasks.run.ledger import Ledger, run_lock
from tasks.run.records import DatasetRef, Hyperparameters, TrainedModel, WeightsRef, load_record, save_record
from tasks.run.settings import Settings
from tasks.run.waiting import say
from tasks.sagemaker.job import TrainingPlan, create_job, find_job
from tasks.sagemaker.kept import is_kept, keep_log, keep_result
from tasks.sagemaker.watch import follow_job

STAGE = "train_sagemaker"
PROVISIONING_SECONDS = 1800
SPOT_WAIT_FACTOR = 2


@flow(name=STAGE)
async def train_sagemaker(
    run_id: RunId,
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
) -> TrainedModel:
    """Train the run's staged dataset on `instances` machines; a job that the same command made before is adopted.

    `weights` is a local .safetensors file for the backbone; packaged ImageNet weights are used where there are any.

    Raises:
        SettingsRefused: the run has no staged dataset.
        StageFailed: the job failed or was stopped, or its result does not agree with it.
        WaitTimedOut: the job did not end within its limits.
        AwsFailed: AWS refused.
    """
    require_backbone(backbone)
    settings = Settings.load()
    aws, run_dir = Aws(settings), settings.run_dir(run_id)
    with run_lock(run_dir):
        hyperparameters = Hyperparameters(
            backbone=backbone,
            epochs=epochs,
            views=views,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
            finetune=finetune,
        )
        await stage_weights(aws, run_id, backbone, weights)
        plan = await plan_training(
            aws, run_id, hyperparameters, instances, instance_type, spot=spot, max_runtime_seconds=max_runtime_seconds
        )
        model = await run_training(aws, plan)
        save_record(run_dir, STAGE, model)
        await publish_record(STAGE, run_id, model)
    return model


@task(name="weights", cache_policy=NO_CACHE)
async def stage_weights(aws: Aws, run_id: str, backbone: str, named: str | None) -> WeightsRef | None:
    """Upload the backbone's weights, if there are any, and record where they are."""
    return await asyncio.to_thread(_weights, aws, run_id, backbone, named)


@task(name="plan training", cache_policy=NO_CACHE)
async def plan_training(
    aws: Aws,
    run_id: str,
    hyperparameters: Hyperparameters,
    instances: int,
    instance_type: str | None,
    *,
    spot: bool,
    max_runtime_seconds: int,
) -> TrainingPlan:
    """Package the code, make the role and say what the job will be."""
    return await asyncio.to_thread(
        _plan, aws, run_id, hyperparameters, instances, instance_type, spot, max_runtime_seconds
    )


@task(name="training job", cache_policy=NO_CACHE)
async def run_training(aws: Aws, plan: TrainingPlan) -> TrainedModel:
    """Create or adopt the job, follow it, check its result and keep model, log and metrics under runs/<id>/."""
    return await asyncio.to_thread(_train, aws, plan)


def _weights(aws: Aws, run_id: str, backbone: str, named: str | None) -> WeightsRef | None:
    run_dir = aws.settings.run_dir(run_id)
    path = find_weights(backbone, Path(named) if named else None, aws.settings.home)
    if path is None:
        (run_dir / "weights.json").unlink(missing_ok=True)
        return None
    weights = upload_weights(aws, Ledger.open(aws, run_id), backbone, path)
    save_record(run_dir, "weights", weights)
    return weights


def _plan(
    aws: Aws,
    run_id: str,
    hyperparameters: Hyperparameters,
    instances: int,
    instance_type: str | None,
    spot: bool,
    max_runtime_seconds: int,
) -> TrainingPlan:
    run_dir = aws.settings.run_dir(run_id)
    dataset = load_record(run_dir, "stage_data", DatasetRef)
    if dataset is None:
        stage = f"prefect deployment run 'stage_data/stage_data' -p run_id={run_id}, or kennel run"
        raise SettingsRefused(STAGE, f"run {run_id}", "it has no staged dataset", stage)
    weights = load_record(run_dir, "weights", WeightsRef)
    instance = choose_training_instance(finetune=hyperparameters.finetune, requested=instance_type)
    say(f"instances: {instances} × {instance.instance_type}: {instance.reason}")
    code_dir = run_dir / "code"
    code_digest = stage_training_code(code_dir)
    role = training_role(aws, run_id, dataset, weights)
    return TrainingPlan(
        run_id=run_id,
        image=training_image(aws.region, has_gpu=instance.has_gpu),
        role_arn=ensure_role(aws, Ledger.open(aws, run_id), run_id, role),
        instance=instance,
        instance_count=instances,
        spot=spot,
        max_runtime_seconds=max_runtime_seconds,
        max_wait_seconds=SPOT_WAIT_FACTOR * max_runtime_seconds,
        hyperparameters=hyperparameters,
        dataset=dataset,
        weights=weights,
        code_dir=code_dir,
        code_digest=code_digest,
        git_commit=git_commit(),
    )


def _train(aws: Aws, plan: TrainingPlan) -> TrainedModel:
    ledger, run_dir = Ledger.open(aws, plan.run_id), aws.settings.run_dir(plan.run_id)
    found = find_job(aws, plan)
    if found.description is None:
        say(f"training job {found.name}: uploading the code and starting it")
        create_job(aws, ledger, plan, found.name)
    else:
        say(f"training job {found.name}: adopted, it is {found.description['TrainingJobStatus']}")
        ledger.adopt("training-job", found.name, found.description["TrainingJobArn"])
        kept = load_record(run_dir, STAGE, TrainedModel)
        if kept is not None and found.description["TrainingJobStatus"] == "Completed" and kept.job_name == found.name:
            return kept if is_kept(run_dir, found.description) else keep_result(aws, plan, found.description)
    limit = plan.max_wait_seconds if plan.spot else plan.max_runtime_seconds
    try:
        description = follow_job(aws, found.name, deadline_seconds=limit + PROVISIONING_SECONDS)
    except KennelError:
        keep_log(aws, run_dir, found.name)
        raise
    model = keep_result(aws, plan, description)
    say(f"training job {found.name}: test accuracy {model.test_accuracy:.4f} on {model.test_images} images")
    return model
