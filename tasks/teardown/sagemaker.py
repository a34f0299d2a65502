"""Finds and removes SageMaker's endpoints, endpoint configurations, models, training jobs and tuning jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from tasks.account.logs import log_stream_names
from tasks.account.lookup import none_if_missing, shown_tags, tags_to_dict
from tasks.account.role_policies import TRAINING_LOG_GROUP
from tasks.run.aws import Aws
from tasks.run.lost_answers import carried_out, true_or_none
from tasks.run.naming import RESOURCE_PREFIX
from tasks.run.statuses import TRAINING_JOB, TUNING_JOB
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
_JOB = _SageMakerKind("training-job", "training_job", "TrainingJobArn", "TrainingJobSummaries")


def _remove_endpoint(aws: Aws, name: str) -> None:
    """Deregister the endpoint's scalable targets, which deletes their policies and alarms, then delete the endpoint."""
    deregister_targets(aws, name)
    _ENDPOINT.remove(aws, name)


def _find_job(aws: Aws, name: str) -> Resource | None:
    """Return the job while it runs or has log streams; a job that has ended costs nothing and cannot be deleted."""
    found = _JOB.describe(aws, name)
    if found is None:
        return None
    is_running = TRAINING_JOB.is_pending(found["TrainingJobStatus"])
    return _JOB.find(aws, name) if is_running or log_stream_names(aws, TRAINING_LOG_GROUP, f"{name}/") else None


def _find_tagged_jobs(aws: Aws) -> Iterator[Resource]:
    return only_tagged(_find_job(aws, name) for name in _JOB.names(aws))


def _stop_job(aws: Aws, name: str) -> None:
    """Stop a training job, wait until it has ended, and delete its log streams from the group that all jobs share."""
    sagemaker = aws.client("sagemaker")

    def status() -> str:
        return str((_JOB.describe(aws, name) or {"TrainingJobStatus": "Stopped"})["TrainingJobStatus"])

    def is_stopping() -> bool:
        return status() == "Stopping" or TRAINING_JOB.has_settled(status())

    def stop() -> None:
        if not is_stopping():
            send = partial(sagemaker.stop_training_job, TrainingJobName=name)
            carried_out(f"training-job {name}", send, lambda: true_or_none(is_stopping()))

    until_gone(aws.target, f"training-job {name}", stop, lambda: TRAINING_JOB.is_pending(status()))
    delete_log_streams(aws, TRAINING_LOG_GROUP, f"{name}/")


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
    "training-job": Kind(_find_job, _find_tagged_jobs, _stop_job),
    "endpoint": Kind(_ENDPOINT.find, _ENDPOINT.find_tagged, _remove_endpoint),
    "endpoint-config": Kind(_CONFIG.find, _CONFIG.find_tagged, _CONFIG.remove),
    "model": Kind(_MODEL.find, _MODEL.find_tagged, _MODEL.remove),
}
