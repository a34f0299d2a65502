"""Train on SageMaker: package the code, make the role, create or adopt the job, follow it, check and keep its result.

prefect deployment run 'train_sagemaker/train_sagemaker' -p run_id=dogs-1a2b3c4d -p training='{"instances": 2}'
"""

from __future__ import annotations

import asyncio

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from tasks.account.images import training_image
from tasks.account.prices import choose_training_instance
from tasks.account.roles import ensure_role, training_role
from tasks.model.backbones import require_backbone
from tasks.model.code import git_commit, stage_training_code
from tasks.model.weights import find_weights, upload_weights
from tasks.run.artifacts import publish_record
from tasks.run.errors import KennelError
from tasks.run.handle import Run
from tasks.run.options import ModelOptions, RunId, TrainingOptions
from tasks.run.records import DatasetRef, TrainedModel, WeightsRef
from tasks.run.waiting import say
from tasks.sagemaker.job import TrainingPlan, create_job, find_job
from tasks.sagemaker.kept import is_kept, keep_log, keep_result
from tasks.sagemaker.watch import follow_job

STAGE = "train_sagemaker"
PROVISIONING_SECONDS = 1800
SPOT_WAIT_FACTOR = 2


@flow(name=STAGE)
async def train_sagemaker(run_id: RunId, training: TrainingOptions = TrainingOptions()) -> TrainedModel:
    """Train the run's staged dataset; a job that the same command made before is adopted.

    Packaged ImageNet weights are used where there are any and no others are named.

    Args:
        run_id: The run whose dataset it is.
        training: The model, and the machines that train it.

    Raises:
        SettingsRefused: the run has no staged dataset.
        StageFailed: the job failed or was stopped, or its result does not agree with it.
        WaitTimedOut: the job did not end within its limits.
        AwsFailed: AWS refused.
    """
    require_backbone(training.backbone)
    run = Run.load(run_id)
    with run.lock():
        await stage_weights(run, training)
        plan = await plan_training(run, training)
        model = await run_training(run, plan)
        run.keep(model)
        await publish_record(STAGE, run_id, model)
    return model


@task(name="weights", cache_policy=NO_CACHE)
async def stage_weights(run: Run, training: ModelOptions) -> WeightsRef | None:
    """Upload the backbone's weights, if there are any, and record where they are."""
    return await asyncio.to_thread(_weights, run, training)


@task(name="plan training", cache_policy=NO_CACHE)
async def plan_training(run: Run, training: TrainingOptions) -> TrainingPlan:
    """Package the code, make the role and say what the job will be."""
    return await asyncio.to_thread(_plan, run, training)


@task(name="training job", cache_policy=NO_CACHE)
async def run_training(run: Run, plan: TrainingPlan) -> TrainedModel:
    """Create or adopt the job, follow it, check its result and keep model, log and metrics under runs/<id>/."""
    return await asyncio.to_thread(_train, run, plan)


def _weights(run: Run, training: ModelOptions) -> WeightsRef | None:
    path = find_weights(training.backbone, training.weights, run.settings.home)
    if path is None:
        run.forget(WeightsRef)
        return None
    weights = upload_weights(run, training.backbone, path)
    run.keep(weights)
    return weights


def _plan(run: Run, training: TrainingOptions) -> TrainingPlan:
    dataset, weights = run.need(DatasetRef), run.find(WeightsRef)
    instance = choose_training_instance(finetune=training.finetune, requested=training.instance_type)
    say(f"instances: {training.instances} × {instance.instance_type}: {instance.reason}")
    code_dir = run.folder / "code"
    code_digest = stage_training_code(code_dir)
    role = training_role(run.aws, run.id, dataset, weights)
    return TrainingPlan(
        run_id=run.id,
        image=training_image(run.aws.region, has_gpu=instance.has_gpu),
        role_arn=ensure_role(run, role),
        instance=instance,
        instance_count=training.instances,
        spot=training.spot,
        max_runtime_seconds=training.max_runtime_seconds,
        max_wait_seconds=SPOT_WAIT_FACTOR * training.max_runtime_seconds,
        hyperparameters=training.hyperparameters,
        dataset=dataset,
        weights=weights,
        code_dir=code_dir,
        code_digest=code_digest,
        git_commit=git_commit(),
    )


def _train(run: Run, plan: TrainingPlan) -> TrainedModel:
    found = find_job(run.aws, plan)
    if found.description is None:
        say(f"training job {found.name}: uploading the code and starting it")
        create_job(run, plan, found.name)
    else:
        say(f"training job {found.name}: adopted, it is {found.description['TrainingJobStatus']}")
        run.ledger.adopt("training-job", found.name, found.description["TrainingJobArn"])
        kept = run.find(TrainedModel)
        if kept is not None and found.description["TrainingJobStatus"] == "Completed" and kept.job_name == found.name:
            return kept if is_kept(run, found.description) else keep_result(run, plan, found.description)
    limit = plan.max_wait_seconds if plan.spot else plan.max_runtime_seconds
    try:
        description = follow_job(run.aws, found.name, deadline_seconds=limit + PROVISIONING_SECONDS)
    except KennelError:
        keep_log(run, found.name)
        raise
    model = keep_result(run, plan, description)
    say(f"training job {found.name}: test accuracy {model.test_accuracy:.4f} on {model.test_images} images")
    return model
