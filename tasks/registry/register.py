"""Registers a run's trained model as a new version, which waits for its approval."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from tasks.account.container_images import inference_image
from tasks.account.objects import bucket_and_key, put_object
from tasks.account.role_policies import run_prefix
from tasks.evaluation.kept import evaluation_of
from tasks.evaluation.record import Evaluation
from tasks.model.code import TRAINING_SOURCE, tree_digest
from tasks.registry.groups import ensure_group, group_of
from tasks.registry.packages import (
    ACCURACY,
    APPROVED,
    BACKBONE,
    CODE,
    COMMIT,
    DATA,
    IMAGES,
    KIND,
    MODEL,
    PENDING,
    ListedPackage,
    ModelVersion,
    describe_package,
    find_package,
    settle,
)
from tasks.run import naming
from tasks.run.errors import OwnershipRefused, aws_boundary
from tasks.run.handle import Run
from tasks.run.records import DatasetRef, TrainedModel
from tasks.run.waiting import say
from tasks.serving.endpoint_plan import serving_variables
from tasks.serving.packaging import serving_archive, serving_uri

_LONGEST_VALUE = 256


def register_model(run: Run) -> ModelVersion:
    """Register the run's trained model in the group of its dataset's name, or find its version again.

    Raises:
        SettingsRefused: the run has no trained model or no staged dataset.
        OwnershipRefused: the group or the package is not kennel's.
        StageFailed: the packages that the model needs could not be downloaded.
        AwsFailed: SageMaker or S3 refused.
    """
    dataset, model = run.need(DatasetRef), run.need(TrainedModel)
    name, archive, image = package_name(run, dataset, model), serving_archive(run, model), _image(run)
    ensure_group(run, group_of(run, dataset))
    with aws_boundary(f"model package {name}"):
        found = _own(run, name)
        if found is None:
            arn = _create(run, name, _request(run, dataset, model, archive, image))
            found = describe_package(run.aws, arn)
        else:
            run.ledger.adopt(KIND, name, found.arn)
    if found is None:
        raise OwnershipRefused(f"model package {name}", "it was deleted", "it is not there", "run the same command")
    version = found.as_version(model.model_uri)
    run.keep(version)
    say(f"registry: {version.label}: {found.approval}")
    return version


def approve_deployed(run: Run, endpoint_name: str) -> None:
    """Approve the run's own version, which has been deployed and has answered, if nobody has judged it yet.

    Raises:
        AwsFailed: SageMaker refused.
    """
    version = run.find(ModelVersion)
    if version is None:
        return
    with aws_boundary(f"model package {version.name}"):
        found = describe_package(run.aws, version.arn)
        if found is not None and found.approval == PENDING:
            settle(run.aws, version.arn, APPROVED, f"deployed with its run as {endpoint_name}, and it answers")


def package_name(run: Run, dataset: DatasetRef, model: TrainedModel) -> str:
    """Return the name of a model's package in the ledger.

    Raises:
        SettingsRefused: AWS has no image in this region.
        TargetRefused, AwsFailed: the caller's account could not be read, or is not the one that the user named.
    """
    content = "\n".join((model.model_uri, serving_uri(run, model), _image(run)))
    return f"{group_of(run, dataset)}/{run.id}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def _image(run: Run) -> str:
    return inference_image(run.settings)


def _own(run: Run, name: str) -> ListedPackage | None:
    """Return the package of a name, or None.

    Raises:
        OwnershipRefused: it is not the run's.
    """
    found = find_package(run.aws, name)
    if found is not None and not naming.has_tags_of(run.id, found.metadata):
        why = f"its metadata does not name run {run.id}"
        raise OwnershipRefused(f"model package {name}", "it exists already", why, "run with --run-id <another name>")
    return found


def _create(run: Run, name: str, request: dict[str, Any]) -> str:
    """Create the package and return its ARN; a list of AWS's may not have it yet."""
    group, _, description = name.partition("/")

    def look() -> str | None:
        found = _own(run, name)
        return None if found is None else found.arn

    with run.ledger.create(KIND, name, look) as row:
        row.identifier = run.aws.client("sagemaker").create_model_package(
            ModelPackageGroupName=group,
            ModelPackageDescription=description,
            ClientToken=hashlib.sha256(name.encode()).hexdigest()[:32],
            **request,
        )["ModelPackageArn"]
    return str(row.identifier)


def _request(run: Run, dataset: DatasetRef, model: TrainedModel, archive: str, image: str) -> dict[str, Any]:
    container = {"Image": image, "ModelDataUrl": archive, "Environment": serving_variables(run.settings)}
    return {
        "ModelApprovalStatus": PENDING,
        "CustomerMetadataProperties": {key: value[:_LONGEST_VALUE] for key, value in _metadata(run, model).items()},
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": ["application/x-image"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        "ModelMetrics": {"ModelQuality": {"Statistics": _statistics(run, dataset, model)}},
    }


def _metadata(run: Run, model: TrainedModel) -> dict[str, str]:
    return {
        **naming.tags(run.id),
        DATA: model.data_digest,
        MODEL: model.model_uri,
        COMMIT: model.git_commit or "unknown",
        CODE: tree_digest(TRAINING_SOURCE),
        BACKBONE: model.backbone,
        ACCURACY: f"{model.test_accuracy:.6g}",
        IMAGES: str(model.test_images),
        "kennel:training-job": model.job_name,
    }


def _statistics(run: Run, dataset: DatasetRef, model: TrainedModel) -> dict[str, str]:
    """Put the model's quality into the run's prefix in the form that SageMaker's pages show, and return where."""
    bucket, _ = bucket_and_key(model.model_uri)
    key = f"{run_prefix(run.id)}/registry/{model.job_name}/model_quality.json"
    found, _ = evaluation_of(run, model)
    content = json.dumps(_quality(dataset, model, found)).encode()
    put_object(run.aws, bucket, key, content, content_type="application/json")
    return {"ContentType": "application/json", "S3Uri": f"s3://{bucket}/{key}"}


def _quality(dataset: DatasetRef, model: TrainedModel, found: Evaluation | None) -> dict[str, Any]:
    accuracy, images = model.test_accuracy, max(1, model.test_images)
    deviation = math.sqrt(accuracy * (1 - accuracy) / images)
    metrics: dict[str, Any] = {"accuracy": {"value": accuracy, "standard_deviation": deviation}}
    if found is not None:
        rows = {name: dict.fromkeys(dataset.classes, 0) for name in dataset.classes}
        for each in found.classes:
            rows[each.name][each.name] = each.right
        for pair in found.confusions:
            rows[pair.true][pair.predicted] = pair.images
        metrics["confusion_matrix"] = rows
    return {"version": 0.0, "multiclass_classification_metrics": metrics}
