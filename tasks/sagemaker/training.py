"""Trains on SageMaker: plans the job, creates or adopts it, follows it to its end, checks and downloads its result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.account.container_images import training_image
from tasks.account.encryption import encryption_of
from tasks.account.prices import choose_training_instance
from tasks.account.role_policies import role_name, training_role
from tasks.account.roles import ensure_role
from tasks.model.code import git_commit, stage_training_code
from tasks.run.errors import KennelError
from tasks.run.handle import Run
from tasks.run.options import Network, TrainingOptions
from tasks.run.records import DatasetRef, TrainedModel, WeightsRef
from tasks.run.statuses import TRAINING_JOB
from tasks.run.waiting import say
from tasks.sagemaker.download import download_log, download_result, is_downloaded
from tasks.sagemaker.job import create_job, find_job
from tasks.sagemaker.job_plan import TrainingPlan
from tasks.sagemaker.tuning_plan import tuning_prefix
from tasks.sagemaker.watch import follow_job

PROVISIONING_SECONDS = 1800
SPOT_WAIT_FACTOR = 2


def plan_training(run: Run, training: TrainingOptions, network: Network) -> TrainingPlan:
    """Package the code, create the role and return the plan of the job.

    Raises:
        SettingsRefused: the run has no staged dataset, or the instance type is unknown.
        OwnershipRefused: a role of that name belongs to somebody else.
        AwsFailed: IAM refused.
    """
    plan = describe_training(run, training, network, run.need(DatasetRef), run.folder / "code")
    say(f"instances: {training.instances} × {plan.instance.instance_type}: {plan.instance.reason}")
    role = training_role(
        run.aws,
        run.id,
        plan.dataset,
        plan.weights,
        keeps_checkpoints=training.spot,
        in_vpc=plan.vpc is not None,
        key_arn=plan.encryption.key_arn,
        tuning=tuning_prefix(run.id) if training.search == "sagemaker" else None,
    )
    return replace(plan, role_arn=ensure_role(run, role))


def describe_training(
    run: Run, training: TrainingOptions, network: Network, dataset: DatasetRef, code_dir: Path
) -> TrainingPlan:
    """Return the plan of the job without changing AWS; the code is packaged in `code_dir`.

    Raises:
        SettingsRefused: AWS has no image in this region.
        TargetRefused, AwsFailed: the caller's account could not be read, or is not the one that the user named.
    """
    instance = choose_training_instance(run.aws.region, finetune=training.finetune, requested=training.instance_type)
    vpc, encryption = network.vpc, encryption_of(run.aws, dataset.bucket)
    return TrainingPlan(
        run_id=run.id,
        image=training_image(run.aws.region, has_gpu=instance.has_gpu),
        role_arn=run.aws.arn("iam", f"role/{role_name(run.id, 'training')}"),
        instance=instance,
        instance_count=training.instances,
        spot=training.spot,
        max_runtime_seconds=training.max_runtime_seconds,
        max_wait_seconds=SPOT_WAIT_FACTOR * training.max_runtime_seconds,
        vpc=vpc,
        encryption=encryption,
        hyperparameters=training.hyperparameters,
        dataset=dataset,
        weights=run.find(WeightsRef),
        code_dir=code_dir,
        code_digest=stage_training_code(code_dir),
        git_commit=git_commit(),
    )


def train_on_sagemaker(run: Run, plan: TrainingPlan) -> TrainedModel:
    """Create or adopt the job, follow it, check its result, and download model, log and metrics to the run's folder.

    Raises:
        OwnershipRefused: a job of that name was created from another plan.
        StageFailed: the job failed or was stopped, or its result does not agree with it.
        WaitTimedOut: the job did not end within its limits.
        AwsFailed: AWS refused.
    """
    description = completed_job(run, plan)
    name, kept = str(description["TrainingJobName"]), run.find(TrainedModel)
    if kept is not None and kept.job_name == name and is_downloaded(run, description):
        return kept
    model = download_result(run, plan, description)
    say(f"training job {name}: test accuracy {model.test_accuracy:.4f} on {model.test_images} images")
    return model


def completed_job(run: Run, plan: TrainingPlan) -> Mapping[str, Any]:
    """Create or adopt the job of a plan, follow it to its end, and return its description.

    Raises:
        OwnershipRefused: a job of that name was created from another plan.
        StageFailed: the job failed or was stopped.
        WaitTimedOut: the job did not end within its limits.
        AwsFailed: AWS refused.
    """
    found = find_job(run.aws, plan)
    if found.description is None:
        say(f"training job {found.name}: uploading the code and starting it")
        create_job(run, plan, found.name)
    else:
        status = found.description["TrainingJobStatus"]
        say(f"training job {found.name}: adopted the job of an earlier command; it is {status}")
        run.ledger.adopt("training-job", found.name, found.description["TrainingJobArn"])
        if TRAINING_JOB.is_ready(status):
            return found.description
    limit = plan.max_wait_seconds if plan.spot else plan.max_runtime_seconds
    try:
        return follow_job(run.aws, found.name, deadline_seconds=limit + PROVISIONING_SECONDS)
    except KennelError:
        download_log(run, found.name)
        raise
