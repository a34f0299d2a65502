"""Builds the SDK's ModelTrainer for a job's plan: the channels, machines, network and limits in the SDK's words."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tasks.account.role_policies import run_prefix
from tasks.model.archive import METRIC_NAMES
from tasks.run.aws import Aws
from tasks.run.vpc_config import VpcConfig
from tasks.sagemaker.job_plan import CHECKPOINT_FOLDER, TrainingPlan

NUMBER = r"([-+]?(?:[0-9]*\.)?[0-9]+(?:[eE][-+]?[0-9]+)?)"


def _channels(plan: TrainingPlan) -> Iterator[tuple[str, str, str]]:
    """Yield (channel, S3 URI, distribution): each host gets its share of the splits, and all of the rest."""
    for split in plan.script.splits:
        yield split, plan.dataset.split_uri(split), "ShardedByS3Key"
    yield "manifest", plan.dataset.manifest_uri, "FullyReplicated"
    if plan.weights is not None:
        yield "weights", plan.weights.uri, "FullyReplicated"
    if plan.features_uri is not None:
        yield "features", plan.features_uri, "FullyReplicated"


def _input_data(plan: TrainingPlan) -> list[Any]:
    """Return the plan's channels as the SDK's InputData."""
    from sagemaker.train.configs import InputData, S3DataSource

    sources = {
        channel: S3DataSource(s3_data_type="S3Prefix", s3_uri=uri, s3_data_distribution_type=distribution)
        for channel, uri, distribution in _channels(plan)
    }
    return [InputData(channel_name=channel, data_source=source) for channel, source in sources.items()]


def _compute(plan: TrainingPlan) -> Any:
    """Return the plan's machines as the SDK's Compute; types with disks of their own ignore the size of the volume."""
    from sagemaker.train.configs import Compute

    return Compute(
        instance_type=plan.instance.instance_type,
        instance_count=plan.instance_count,
        enable_managed_spot_training=plan.spot,
        volume_size_in_gb=plan.volume_gib,
        volume_kms_key_id=plan.encryption.of_volume(plan.instance.instance_type),
    )


def _output(plan: TrainingPlan) -> Any:
    """Return the plan's output as the SDK's OutputDataConfig, with whose key the SDK seals the code as well."""
    from sagemaker.core.shapes import OutputDataConfig

    key = {} if plan.encryption.key_arn is None else {"kms_key_id": plan.encryption.key_arn}
    packing = "GZIP" if plan.script.artefact is None else "NONE"
    return OutputDataConfig(s3_output_path=plan.uri(plan.script.output), compression_type=packing, **key)


def _networking(vpc: VpcConfig) -> Any:
    """Return the plan's VPC as the SDK's Networking."""
    from sagemaker.train.configs import Networking

    return Networking(subnets=list(vpc.subnets), security_group_ids=list(vpc.security_groups))


def _distributed(plan: TrainingPlan) -> Any:
    """Return what starts the processes of a host: torchrun, one for each GPU; one process needs nothing, and joins."""
    from sagemaker.train.distributed import Torchrun

    return Torchrun() if plan.instance.has_gpu else None


def model_trainer(aws: Aws, plan: TrainingPlan, name: str) -> Any:
    """Build the SDK's ModelTrainer for the plan; the SDK is imported here, because that takes seconds."""
    from sagemaker.core.shapes import CheckpointConfig
    from sagemaker.train import configs

    source = configs.SourceCode(
        source_dir=str(plan.code_dir), entry_script=plan.script.file, requirements=plan.hyperparameters.requirements
    )
    checkpoints = CheckpointConfig(s3_uri=f"{plan.uri('checkpoints')}/{plan.base_name}/", local_path=CHECKPOINT_FOLDER)
    trainer = _trainer(
        aws,
        plan,
        job_name=name,
        source_code=source,
        distributed=_distributed(plan),
        input_data_config=_input_data(plan),
        checkpoint_config=checkpoints if plan.spot else None,
        environment=plan.environment,
        hyperparameters=plan.hyperparameters.arguments,
    )
    definitions = [
        configs.MetricDefinition(name=metric, regex=rf"(?:^|\s){metric}={NUMBER}") for metric in METRIC_NAMES
    ]
    return trainer.with_metric_definitions(definitions)


def trial_trainer(
    aws: Aws, plan: TrainingPlan, code_dir: Path, hyperparameters: Mapping[str, Any], environment: Mapping[str, str]
) -> Any:
    """Build the SDK's ModelTrainer that a tuner starts its trials with: the image's own entry point runs the script."""
    from sagemaker.train import configs

    source = configs.SourceCode(source_dir=str(code_dir), entry_script=plan.script.file)
    trainer = _trainer(
        aws,
        plan,
        job_name="",
        source_code=source,
        environment=dict(environment),
        hyperparameters=dict(hyperparameters),
    )
    trainer.base_job_name = f"{run_prefix(plan.run_id)}/code"  # the tuner uploads there
    return trainer


def _trainer(aws: Aws, plan: TrainingPlan, **own: Any) -> Any:
    """Return a ModelTrainer of the plan's role, image, machines, limits, output and tags, and of what is given."""
    from sagemaker.train import configs

    limits = configs.StoppingCondition(
        max_runtime_in_seconds=plan.max_runtime_seconds,
        max_wait_time_in_seconds=plan.max_wait_seconds if plan.spot else None,
        max_pending_time_in_seconds=None,
    )
    with _without_role_validation():
        return _trainer_class()(
            upload_tags=urlencode(aws.tags(plan.run_id)),
            sagemaker_session=aws.sagemaker_session(),
            role=plan.role_arn,
            base_job_name=plan.base_name,
            input_s3_key_prefix=f"{run_prefix(plan.run_id)}/code",
            compute=_compute(plan),
            networking=None if plan.vpc is None else _networking(plan.vpc),
            stopping_condition=limits,
            training_image=plan.image,
            output_data_config=_output(plan),
            tags=[configs.Tag(key=key, value=value) for key, value in aws.tags(plan.run_id).items()],
            **own,
        )


@contextmanager
def _without_role_validation() -> Iterator[None]:
    """Switch off the SDK's check of the role: it asks for account-wide rights, which our role lacks on purpose."""
    switch = "SAGEMAKER_VALIDATE_ROLE"
    before = os.environ.get(switch)
    os.environ[switch] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[switch]
        else:
            os.environ[switch] = before


def _trainer_class() -> Any:
    """Return a ModelTrainer that uses a given job name, the run's prefix and the run's tags.

    The class is built in a function because its base class is in the SDK, whose import takes seconds.
    """
    from sagemaker.core.config.config_manager import SageMakerConfig
    from sagemaker.train import ModelTrainer

    class CheckedDefaults(SageMakerConfig):  # type: ignore[misc]
        """The session's defaults, which it has checked: the SDK would again at each look-up, for 0.1 s of CPU."""

        @staticmethod
        def validate_sagemaker_config(sagemaker_config: dict[str, Any] | None = None) -> None:
            """Check nothing."""

    class NamedTrainer(ModelTrainer):  # type: ignore[misc]
        """ModelTrainer with our job name (its own has the time in it), our bucket, and tags on what it uploads."""

        config_mgr: SageMakerConfig = CheckedDefaults()
        job_name: str
        upload_tags: str
        _request: dict[str, Any] | None = None

        def prepare(self) -> None:
            """Upload the code and the SDK's drivers once, so that a repeated `train` only sends the request again."""
            if self._request is None:
                self._request = super()._create_training_job_args() | {"training_job_name": self.job_name}

        def _create_training_job_args(self, *_: Any, **__: Any) -> dict[str, Any]:
            self.prepare()
            assert self._request is not None
            return dict(self._request)

        def _resolve_staging_bucket(self) -> tuple[str, None]:
            return self.sagemaker_session.default_bucket(), None

        def _resolve_upload_extra_args(self, kms_key: str | None = None) -> dict[str, str]:
            return {**(super()._resolve_upload_extra_args(kms_key) or {}), "Tagging": self.upload_tags}

    return NamedTrainer
