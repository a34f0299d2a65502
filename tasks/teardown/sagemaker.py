"""Finds and removes SageMaker's endpoints, endpoint configurations, models, training, processing and tuning jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from tasks.account.logs import log_stream_names
from tasks.account.lookup import none_if_missing, shown_tags, tags_to_dict
from tasks.account.role_policies import PROCESSING_LOG_GROUP, TRAINING_LOG_GROUP
from tasks.run.aws import Aws
from tasks.run.lost_answers import carried_out, true_or_none
from tasks.run.naming import RESOURCE_PREFIX
from tasks.run.statuses import PROCESSING_JOB, TRAINING_JOB, TUNING_JOB, Statuses
from tasks.teardown.kinds import Kind, only_tagged, until_gone
from tasks.teardown.plan import Resource
from tasks.teardown.scaling import deregister_targets
from tasks.teardown.storage import delete_log_streams


def resource_of(aws: Aws, kind: str, name: str, description: Any, arn_field: str) -> Resource | None:
    """Return a described SageMaker resource with its tags, or None when `description` is None.

    Raises:
        ClientError: SageMaker refused to list the tags.
    """
    if description is None:
        return None
    list_tags, arn = aws.client("sagemaker").list_tags, description[arn_field]
    tags = none_if_missing(
        lambda: shown_tags(aws, f"{kind} {name}", lambda: tags_to_dict(list_tags(ResourceArn=arn)["Tags"]))
    )
    return Resource(kind, name, dict(tags or {}))


@dataclass(frozen=True)
class _SageMakerKind:
    """The three functions of a kind; endpoints, configurations, models and training jobs differ only in their names."""

    kind: str
    noun: str
    arn_field: str
    list_field: str

    def describe(self, aws: Aws, name: str) -> Any:
        call = getattr(aws.client("sagemaker"), f"describe_{self.noun}")
        field = "".join(word.capitalize() for word in self.noun.split("_")) + "Name"
        return none_if_missing(lambda: call(**{field: name}))

    def find(self, aws: Aws, name: str) -> Resource | None:
        return resource_of(aws, self.kind, name, self.describe(aws, name), self.arn_field)

    def names(self, aws: Aws) -> Iterator[str]:
        pages = aws.client("sagemaker").get_paginator(f"list_{self.noun}s").paginate(NameContains=RESOURCE_PREFIX)
        yield from pages.search(f"{self.list_field}[].{self.arn_field.replace('Arn', 'Name')}")

    def find_tagged(self, aws: Aws) -> Iterator[Resource]:
        return only_tagged(self.find(aws, name) for name in self.names(aws))

    def remove(self, aws: Aws, name: str) -> None:
        delete = getattr(aws.client("sagemaker"), f"delete_{self.noun}")
        field = self.arn_field.replace("Arn", "Name")
        until_gone(
            aws.target,
            f"{self.kind} {name}",
            lambda: delete(**{field: name}),
            lambda: self.describe(aws, name) is not None,
        )


_ENDPOINT = _SageMakerKind("endpoint", "endpoint", "EndpointArn", "Endpoints")
_CONFIG = _SageMakerKind("endpoint-config", "endpoint_config", "EndpointConfigArn", "EndpointConfigs")
_MODEL = _SageMakerKind("model", "model", "ModelArn", "Models")
_TUNING = _SageMakerKind(
    "tuning-job",
    "hyper_parameter_tuning_job",
    "HyperParameterTuningJobArn",
    "HyperParameterTuningJobSummaries",
)


def _remove_endpoint(aws: Aws, name: str) -> None:
    """Deregister the endpoint's scalable targets, which deletes their policies and alarms, then delete the endpoint."""
    deregister_targets(aws, name)
    _ENDPOINT.remove(aws, name)


@dataclass(frozen=True)
class _JobKind(_SageMakerKind):
    """A kind of jobs that cannot be deleted: a job that has ended costs nothing, and only its log streams are left."""

    statuses: Statuses
    log_group: str

    def status(self, aws: Aws, name: str) -> str:
        """Return the job's status; a job that does not exist counts as stopped."""
        field = f"{self.arn_field.removesuffix('Arn')}Status"
        return str((self.describe(aws, name) or {field: "Stopped"})[field])

    def find(self, aws: Aws, name: str) -> Resource | None:
        """Return the job while it runs or has log streams."""
        found = self.describe(aws, name)
        if found is None:
            return None
        is_running = self.statuses.is_pending(found[f"{self.arn_field.removesuffix('Arn')}Status"])
        is_left = is_running or log_stream_names(aws, self.log_group, f"{name}/")
        return resource_of(aws, self.kind, name, found, self.arn_field) if is_left else None

    def remove(self, aws: Aws, name: str) -> None:
        """Stop the job, wait until it has ended, and delete its log streams from the group that all jobs share."""
        send = partial(
            getattr(aws.client("sagemaker"), f"stop_{self.noun}"), **{self.arn_field.replace("Arn", "Name"): name}
        )

        def is_stopping() -> bool:
            status = self.status(aws, name)
            return status == "Stopping" or self.statuses.has_settled(status)

        def stop() -> None:
            if not is_stopping():
                carried_out(f"{self.kind} {name}", send, lambda: true_or_none(is_stopping()))

        until_gone(aws.target, f"{self.kind} {name}", stop, lambda: self.statuses.is_pending(self.status(aws, name)))
        delete_log_streams(aws, self.log_group, f"{name}/")


_JOB = _JobKind(
    "training-job", "training_job", "TrainingJobArn", "TrainingJobSummaries", TRAINING_JOB, TRAINING_LOG_GROUP
)
_PROCESSING = _JobKind(
    "processing-job",
    "processing_job",
    "ProcessingJobArn",
    "ProcessingJobSummaries",
    PROCESSING_JOB,
    PROCESSING_LOG_GROUP,
)


def _remove_tuning(aws: Aws, name: str) -> None:
    """Stop a tuning job and with it its training jobs; delete it, and their log streams, once they have ended."""
    sagemaker = aws.client("sagemaker")

    def status() -> str | None:
        found = _TUNING.describe(aws, name)
        return found and str(found["HyperParameterTuningJobStatus"])

    def is_stopping() -> bool:
        found = status()
        return found in (None, "Stopping") or TUNING_JOB.has_settled(str(found))

    def stop() -> None:
        if not is_stopping():
            send = partial(sagemaker.stop_hyper_parameter_tuning_job, HyperParameterTuningJobName=name)
            carried_out(f"tuning-job {name}", send, lambda: true_or_none(is_stopping()))

    def runs() -> bool:
        found = status()
        return found is not None and TUNING_JOB.is_pending(found)

    until_gone(aws.target, f"tuning-job {name}", stop, runs)
    delete_log_streams(aws, TRAINING_LOG_GROUP, f"{name}-")  # also of training jobs that it started a moment ago
    _TUNING.remove(aws, name)


SAGEMAKER_KINDS: Mapping[str, Kind] = {
    "tuning-job": Kind(_TUNING.find, _TUNING.find_tagged, _remove_tuning),
    "training-job": Kind(_JOB.find, _JOB.find_tagged, _JOB.remove),
    "processing-job": Kind(_PROCESSING.find, _PROCESSING.find_tagged, _PROCESSING.remove),
    "endpoint": Kind(_ENDPOINT.find, _ENDPOINT.find_tagged, _remove_endpoint),
    "endpoint-config": Kind(_CONFIG.find, _CONFIG.find_tagged, _CONFIG.remove),
    "model": Kind(_MODEL.find, _MODEL.find_tagged, _MODEL.remove),
}
