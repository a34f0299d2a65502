"""Creates a tuning job through the SDK's HyperparameterTuner, or adopts the one that exists already."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tasks.account.lookup import none_if_missing
from tasks.model.code import copy_sources
from tasks.run.aws import Aws, transfer
from tasks.run.disk import disk_boundary
from tasks.run.errors import OwnershipRefused, StageFailed, aws_boundary
from tasks.run.handle import Run
from tasks.run.lost_answers import repeated_if_lost
from tasks.run.statuses import TUNING_JOB
from tasks.run.waiting import retry_until_role_propagates
from tasks.sagemaker.job import MAX_ATTEMPTS, start_by_sdk
from tasks.sagemaker.job_plan import SPEC_VARIABLE
from tasks.sagemaker.trainer import NUMBER, trial_trainer
from tasks.sagemaker.tuning_plan import CODE_FOLDER, OBJECTIVE, TuningPlan

KIND = "tuning-job"
REQUIREMENTS = "requirements.txt"
"""What the image's own entry point installs before the script, at the top of the code."""


@dataclass(frozen=True)
class FoundTuning:
    """A name of a tuning job to use, and its description when it exists already."""

    name: str
    description: Mapping[str, Any] | None


def find_tuning(aws: Aws, plan: TuningPlan) -> FoundTuning:
    """Find the tuning job that an earlier command created from this plan, or the first free name.

    Raises:
        OwnershipRefused: a tuning job of that name was created from another plan.
        StageFailed: `MAX_ATTEMPTS` attempts failed already.
        AwsFailed: SageMaker refused a lookup.
    """
    for attempt in range(1, MAX_ATTEMPTS + 1):
        name = plan.base_name if attempt == 1 else f"{plan.base_name}-{attempt}"
        description = describe_tuning(aws, name)
        if description is None:
            return FoundTuning(name, None)
        _refuse_other_plan(name, description, plan)
        status = description["HyperParameterTuningJobStatus"]
        if TUNING_JOB.is_ready(status) or status == "InProgress":
            return FoundTuning(name, description)
    why = "each of these tuning jobs failed or was stopped"
    raise StageFailed("search", f"{MAX_ATTEMPTS} attempts of {plan.base_name}", why, "kennel logs")


def describe_tuning(aws: Aws, name: str) -> Mapping[str, Any] | None:
    """Return DescribeHyperParameterTuningJob's answer, or None when there is no such job.

    Raises:
        AwsFailed: SageMaker refused for another reason.
    """
    with aws_boundary(f"tuning job {name}"):
        describe = partial(
            aws.client("sagemaker").describe_hyper_parameter_tuning_job, HyperParameterTuningJobName=name
        )
        answer: Mapping[str, Any] | None = none_if_missing(describe)
    return answer


def create_tuning(run: Run, plan: TuningPlan, name: str) -> None:
    """Upload the code of the trials and start the tuning job; it runs when this function returns.

    Raises:
        OwnershipRefused: somebody else created a tuning job of that name in the meantime.
        AwsFailed: SageMaker or S3 refused.
    """
    with aws_boundary(f"tuning job {name}"):
        tuner = _tuner(run.aws, plan)
        repeated_if_lost(lambda: transfer(tuner.prepare))
        with run.ledger.create(KIND, name, lambda: _own_arn(run.aws, plan, name)) as row:
            tune = partial(tuner.tune, job_name=name, wait=False)
            start = partial(start_by_sdk, tune, "DescribeHyperParameterTuningJob")
            retry_until_role_propagates(run.aws.target, f"tuning job {name}", start)
            row.identifier = tuning_arn(run.aws, name)


def tuning_arn(aws: Aws, name: str) -> str:
    """Return the ARN of a tuning job of the account."""
    return aws.arn("sagemaker", f"hyper-parameter-tuning-job/{name}")


def _own_arn(aws: Aws, plan: TuningPlan, name: str) -> str | None:
    description = describe_tuning(aws, name)
    if description is None:
        return None
    _refuse_other_plan(name, description, plan)
    return tuning_arn(aws, name)


def _refuse_other_plan(name: str, description: Mapping[str, Any], plan: TuningPlan) -> None:
    definition = description.get("TrainingJobDefinition") or {}
    if (definition.get("Environment") or {}).get(SPEC_VARIABLE) != plan.spec_digest:
        why = f"it was created from another plan (its {SPEC_VARIABLE} differs), and a name can be used only once"
        raise OwnershipRefused(
            f"tuning job {name}", "it exists already", why, "run the same command with --run-id <another name>"
        )


def _stage_code(plan: TuningPlan) -> Path:
    """Return a copy of the code that names its packages where the image's entry point looks for them."""
    folder = plan.training.code_dir.with_name("trial-code")
    with disk_boundary("code package", folder):
        shutil.rmtree(folder, ignore_errors=True)
        copy_sources(plan.training.code_dir, folder)
        (folder / REQUIREMENTS).write_text(f"-r training/{REQUIREMENTS}\n")
    return folder


def _environment(plan: TuningPlan) -> dict[str, str]:
    return {"PYTHONPATH": CODE_FOLDER, SPEC_VARIABLE: plan.spec_digest}


def _features_channel(plan: TuningPlan) -> Any:
    from sagemaker.core.shapes import Channel, DataSource, S3DataSource

    source = S3DataSource(
        s3_data_type="S3Prefix", s3_uri=plan.features_uri, s3_data_distribution_type="FullyReplicated"
    )
    return Channel(channel_name="features", data_source=DataSource(s3_data_source=source))


def ranges_of(space: Mapping[str, Any]) -> dict[str, Any]:
    """Return a search space as the SDK's parameter ranges."""
    from sagemaker.core.parameter import CategoricalParameter, ContinuousParameter, IntegerParameter

    scales = {"linear": "Linear", "log": "Logarithmic"}

    def one(dimension: Mapping[str, Any]) -> Any:
        if "choices" in dimension:
            return CategoricalParameter(list(dimension["choices"]))
        kind = IntegerParameter if isinstance(dimension["low"], int) else ContinuousParameter
        return kind(dimension["low"], dimension["high"], scaling_type=scales[dimension["scale"]])

    return {name: one(dimension) for name, dimension in space.items()}


def _tuner(aws: Aws, plan: TuningPlan) -> Any:
    """Build the SDK's tuner for the plan; the SDK is imported here, because that takes seconds."""
    from sagemaker.core.shapes import HyperParameterTuningJobWarmStartConfig, ParentHyperParameterTuningJob

    trainer = trial_trainer(aws, plan.trial, _stage_code(plan), plan.static, _environment(plan))
    parents = [ParentHyperParameterTuningJob(hyper_parameter_tuning_job_name=plan.parent)] if plan.parent else []
    return _tuner_class()(
        model_trainer=trainer,
        objective_metric_name=OBJECTIVE,
        hyperparameter_ranges=ranges_of(plan.space),
        metric_definitions=[{"Name": OBJECTIVE, "Regex": rf"(?:^|\s){OBJECTIVE}={NUMBER}"}],
        strategy="Bayesian",
        objective_type="Minimize",
        max_jobs=plan.trials,
        max_parallel_jobs=plan.parallel,
        max_runtime_in_seconds=plan.seconds,
        early_stopping_type="Auto",
        random_seed=plan.training.hyperparameters.seed + 1,  # the SDK leaves a seed of 0 out
        warm_start_config=HyperParameterTuningJobWarmStartConfig(
            parent_hyper_parameter_tuning_jobs=parents, warm_start_type="IdenticalDataAndAlgorithm"
        )
        if parents
        else None,
        channels=[_features_channel(plan)],
        volume_key=plan.training.encryption.of_volume(plan.training.instance.instance_type),
    )


def _tuner_class() -> Any:
    """Return a HyperparameterTuner that uploads once, and that encrypts the volumes of trials with the run's key.

    The class is built in a function because its base class is in the SDK, whose import takes seconds.
    """
    from sagemaker.train.tuner import HyperparameterTuner

    class OwnTuner(HyperparameterTuner):  # type: ignore[misc]
        """HyperparameterTuner whose repeated `tune` only sends the request again."""

        def __init__(self, *, channels: list[Any], volume_key: str | None, **settings: Any) -> None:
            super().__init__(**settings)
            self._channels, self._volume_key = channels, volume_key

        def prepare(self) -> None:
            """Upload the code of the trials."""
            HyperparameterTuner._prepare_model_trainer_for_tuning(self.model_trainer)

        @classmethod
        def _prepare_model_trainer_for_tuning(cls, *_: Any, **__: Any) -> None:
            """Do nothing: `prepare` has done it."""

        def _build_training_job_definition(self, _: Any) -> Any:
            definition = super()._build_training_job_definition(self._channels)
            if self._volume_key is not None:
                definition.resource_config.volume_kms_key_id = self._volume_key
            return definition

    return OwnTuner
