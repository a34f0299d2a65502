"""Creates a SageMaker training job through the SDK's ModelTrainer, or adopts the job that exists already.

`tasks.sagemaker.watch` follows a job, `tasks.sagemaker.result` reads its result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from tasks.account.lookup import none_if_missing
from tasks.account.objects import object_exists
from tasks.account.role_policies import run_prefix
from tasks.run.aws import Aws, transfer
from tasks.run.errors import OwnershipRefused, StageFailed, aws_boundary, is_not_found
from tasks.run.handle import Run
from tasks.run.lost_answers import repeated_if_lost
from tasks.run.statuses import TRAINING_JOB
from tasks.run.waiting import retry_until_role_propagates
from tasks.sagemaker.job_plan import SPEC_VARIABLE, Script, TrainingPlan, artefact_of
from tasks.sagemaker.trainer import model_trainer

MAX_ATTEMPTS = 20


@dataclass(frozen=True)
class FoundJob:
    """A job name to use, and the job's description when it exists already."""

    name: str
    description: Mapping[str, Any] | None


def find_job(aws: Aws, plan: TrainingPlan) -> FoundJob:
    """Find the job that an earlier command created from this plan, or the first free name.

    A job that failed, that was stopped, or whose model is gone is not adopted: the next attempt gets the next number.

    Raises:
        OwnershipRefused: a job of that name was created from another plan.
        StageFailed: `MAX_ATTEMPTS` attempts failed already.
        AwsFailed: SageMaker or S3 refused a lookup.
    """
    for attempt in range(1, MAX_ATTEMPTS + 1):
        name = plan.base_name if attempt == 1 else f"{plan.base_name}-{attempt}"
        description = describe_job(aws, name)
        if description is None:
            return FoundJob(name, None)
        _refuse_other_plan(name, description, plan)
        if _is_usable(aws, plan.script, description):
            return FoundJob(name, description)
    why = "each of these jobs failed or was stopped, or its model is gone"
    logs = f"kennel logs {plan.run_id}"
    raise StageFailed("train_sagemaker", f"{MAX_ATTEMPTS} attempts of {plan.base_name}", why, logs)


def describe_job(aws: Aws, name: str) -> Mapping[str, Any] | None:
    """Return DescribeTrainingJob's answer, or None when there is no such job.

    Raises:
        AwsFailed: SageMaker refused for another reason.
    """
    with aws_boundary(f"training job {name}"):
        answer: Mapping[str, Any] | None = none_if_missing(
            lambda: aws.client("sagemaker").describe_training_job(TrainingJobName=name)
        )
    return answer


def create_job(run: Run, plan: TrainingPlan, name: str) -> None:
    """Upload the code and start the job `name`; the job runs when this function returns.

    Raises:
        OwnershipRefused: somebody else created a job of that name in the meantime.
        AwsFailed: SageMaker or S3 refused.
    """
    with aws_boundary(f"training job {name}"):
        with run.ledger.create("s3-prefix", f"s3://{plan.dataset.bucket}/{run_prefix(plan.run_id)}/", None):
            trainer = model_trainer(run.aws, plan, name)
            repeated_if_lost(lambda: transfer(trainer.prepare))
        with run.ledger.create("training-job", name, lambda: _own_arn(run.aws, plan, name)) as row:
            start = partial(start_by_sdk, partial(trainer.train, wait=False, logs=False), "DescribeTrainingJob")
            retry_until_role_propagates(run.aws.target, f"training job {name}", start)
            row.identifier = _arn(run.aws, name)


def start_by_sdk(start: Callable[[], object], describes: str) -> None:
    """Start a job; the SDK describes what it has created by the operation `describes`, and AWS may not show it yet.

    Raises:
        ClientError: SageMaker refused.
    """
    try:
        start()
    except ClientError as error:
        if error.operation_name != describes or not is_not_found(error):
            raise


def _own_arn(aws: Aws, plan: TrainingPlan, name: str) -> str | None:
    """Return the ARN of the job that was created from this plan, None without a job; refuse another one."""
    description = describe_job(aws, name)
    if description is None:
        return None
    _refuse_other_plan(name, description, plan)
    return _arn(aws, name)


def _arn(aws: Aws, name: str) -> str:
    return aws.arn("sagemaker", f"training-job/{name}")


def _refuse_other_plan(name: str, description: Mapping[str, Any], plan: TrainingPlan) -> None:
    if description.get("Environment", {}).get(SPEC_VARIABLE) != plan.spec_digest:
        why = "it was created from another plan (its KENNEL_SPEC differs), and a job's name can be used only once"
        raise OwnershipRefused(
            f"training job {name}", "it exists already", why, "run the same command with --run-id <another name>"
        )


def _is_usable(aws: Aws, script: Script, description: Mapping[str, Any]) -> bool:
    """Tell whether a job has a model or may still make one; a job of unknown status is followed, not replaced."""
    status = description["TrainingJobStatus"]
    if TRAINING_JOB.is_ready(status):
        return object_exists(aws, artefact_of(script, description))
    return TRAINING_JOB.is_pending(status) and status not in {"Stopping", "Deleting"}
