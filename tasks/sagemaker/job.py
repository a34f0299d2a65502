"""Plans a SageMaker training job, creates it through the SDK's ModelTrainer, or adopts the job that exists already.

The digest of the plan is part of the job's name and is in the job's environment. By it a repeated command finds its own
job and never adopts another one. `tasks.sagemaker.watch` follows a job, `tasks.sagemaker.result` reads its result.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlencode

from tasks.account.encryption import Encryption
from tasks.account.lookup import none_if_missing
from tasks.account.objects import object_exists
from tasks.account.prices import InstanceChoice
from tasks.account.role_policies import run_prefix
from tasks.model.archive import METRIC_NAMES
from tasks.model.inputs import TrainingInputs
from tasks.run import naming
from tasks.run.aws import Aws, transfer
from tasks.run.errors import OwnershipRefused, StageFailed, aws_boundary
from tasks.run.handle import Run
from tasks.run.lost_answers import repeated_if_lost
from tasks.run.statuses import TRAINING_JOB
from tasks.run.vpc_config import VpcConfig
from tasks.run.waiting import retry_until_role_propagates

MAX_ATTEMPTS = 20
SPEC_VARIABLE = "KENNEL_SPEC"
CODE_FOLDER = "/opt/ml/input/data/code"
CHECKPOINT_FOLDER = "/opt/ml/checkpoints"

_NUMBER = r"([-+]?(?:[0-9]*\.)?[0-9]+(?:[eE][-+]?[0-9]+)?)"


@dataclass(frozen=True)
class TrainingPlan(TrainingInputs):
    """A training job before it exists: its inputs, and the instances that SageMaker is asked for."""

    image: str
    role_arn: str
    instance: InstanceChoice
    instance_count: int
    spot: bool
    max_runtime_seconds: int
    max_wait_seconds: int
    vpc: VpcConfig | None = None
    encryption: Encryption = field(default_factory=Encryption)

    @property
    def spec_digest(self) -> str:
        """The sha256 of everything that may change the outcome of the job."""
        return self.digest_with(
            {
                "image": self.image,
                "role": self.role_arn,
                "instances": [self.instance.instance_type, self.instance_count, self.spot],
                "limits": [self.max_runtime_seconds, self.max_wait_seconds],
                **({} if self.vpc is None else {"vpc": self.vpc.sagemaker}),
                **({} if self.encryption.key_arn is None else {"key": self.encryption.key_arn}),
            }
        )

    @property
    def base_name(self) -> str:
        """The name of the first attempt; further attempts append a number."""
        return naming.resource_name(self.run_id, "train", self.spec_digest[:8], limit=60)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the container gets besides SageMaker's own."""
        variables = {"PYTHONPATH": CODE_FOLDER, SPEC_VARIABLE: self.spec_digest}
        variables |= {} if self.weights is None else {"KENNEL_WEIGHTS_SHA256": self.weights.sha256}
        variables |= {"PET_LOCAL_ADDR": "127.0.0.1"} if self.instance_count == 1 else {}  # else torchrun resolves `aws`
        return variables | ({"KENNEL_GIT_COMMIT": self.git_commit} if self.git_commit else {})

    def uri(self, folder: str) -> str:
        """Return the S3 URI of one of the run's folders ("code", "output", "checkpoints")."""
        return f"s3://{self.dataset.bucket}/{run_prefix(self.run_id)}/{folder}"


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
        if _is_usable(aws, description):
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
            trainer = _trainer(run.aws, plan, name)
            repeated_if_lost(lambda: transfer(trainer.prepare))
        with run.ledger.create("training-job", name, lambda: _own_arn(run.aws, plan, name)) as row:
            start = partial(trainer.train, wait=False, logs=False)
            retry_until_role_propagates(run.aws.target, f"training job {name}", start)
            row.identifier = _arn(run.aws, name)


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


def _is_usable(aws: Aws, description: Mapping[str, Any]) -> bool:
    """Tell whether a job has a model or may still make one; a job of unknown status is followed, not replaced."""
    status = description["TrainingJobStatus"]
    if TRAINING_JOB.is_ready(status):
        return object_exists(aws, description["ModelArtifacts"]["S3ModelArtifacts"])
    return TRAINING_JOB.is_pending(status) and status not in {"Stopping", "Deleting"}


def _channels(plan: TrainingPlan) -> Iterator[tuple[str, str, str]]:
    """Yield (channel, S3 URI, distribution): each host gets its share of the splits, and all of the rest."""
    for split in ("train", "validation", "test"):
        yield split, plan.dataset.split_uri(split), "ShardedByS3Key"
    yield "manifest", plan.dataset.manifest_uri, "FullyReplicated"
    if plan.weights is not None:
        yield "weights", plan.weights.uri, "FullyReplicated"


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
    return OutputDataConfig(s3_output_path=plan.uri("output"), compression_type="GZIP", **key)


def _networking(vpc: VpcConfig) -> Any:
    """Return the plan's VPC as the SDK's Networking."""
    from sagemaker.train.configs import Networking

    return Networking(subnets=list(vpc.subnets), security_group_ids=list(vpc.security_groups))


def _trainer(aws: Aws, plan: TrainingPlan, name: str) -> Any:
    """Build the SDK's ModelTrainer for the plan; the SDK is imported here, because that takes seconds."""
    from sagemaker.core.shapes import CheckpointConfig
    from sagemaker.train import configs
    from sagemaker.train.distributed import Torchrun

    source = configs.SourceCode(
        source_dir=str(plan.code_dir), entry_script="training/train.py", requirements=plan.hyperparameters.requirements
    )
    limits = configs.StoppingCondition(
        max_runtime_in_seconds=plan.max_runtime_seconds,
        max_wait_time_in_seconds=plan.max_wait_seconds if plan.spot else None,
        max_pending_time_in_seconds=None,
    )
    checkpoints = CheckpointConfig(s3_uri=f"{plan.uri('checkpoints')}/{plan.base_name}/", local_path=CHECKPOINT_FOLDER)
    with _without_role_validation():
        trainer = _trainer_class()(
            job_name=name,
            upload_tags=urlencode(aws.tags(plan.run_id)),
            sagemaker_session=aws.sagemaker_session(),
            role=plan.role_arn,
            base_job_name=plan.base_name,
            input_s3_key_prefix=f"{run_prefix(plan.run_id)}/code",
            source_code=source,
            distributed=Torchrun(process_count_per_node=None if plan.instance.has_gpu else 1),
            compute=_compute(plan),
            networking=None if plan.vpc is None else _networking(plan.vpc),
            stopping_condition=limits,
            training_image=plan.image,
            output_data_config=_output(plan),
            input_data_config=_input_data(plan),
            checkpoint_config=checkpoints if plan.spot else None,
            environment=plan.environment,
            hyperparameters=plan.hyperparameters.arguments,
            tags=[configs.Tag(key=key, value=value) for key, value in aws.tags(plan.run_id).items()],
        )
    definitions = [
        configs.MetricDefinition(name=metric, regex=rf"(?:^|\s){metric}={_NUMBER}") for metric in METRIC_NAMES
    ]
    return trainer.with_metric_definitions(definitions)


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
    from sagemaker.train import ModelTrainer

    class NamedTrainer(ModelTrainer):  # type: ignore[misc]
        """ModelTrainer with our job name (its own has the time in it), our bucket, and tags on what it uploads."""

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
