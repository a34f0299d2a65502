"""One training job for the tests: what was asked, what SageMaker says of it, and the artefact that it leaves."""

import io
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tasks.account.prices import choose_training_instance
from tasks.run.records import DatasetRef, Hyperparameters
from tasks.sagemaker.job_plan import TrainingPlan

DATA = DatasetRef("b", "datasets/d", "digest", "n", ("x", "y"), {"test": {"x": 3, "y": 5}}, 10, 0, "sample")
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


def meta(**changes: Any) -> dict[str, Any]:
    """Return a model's meta.json, which agrees with `plan()` and `description()`, with some of it changed."""
    metrics = {"test_accuracy": 0.875, "test_images": 8, "validation_accuracy": 0.9}
    return {"classes": ["x", "y"], "data_digest": "digest", "git_commit": "abc", "metrics": metrics} | changes


def archive(members: dict[str, bytes | tarfile.TarInfo]) -> bytes:
    """Return a tar.gz of files, given as their bytes, and of other entries, such as links."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, data in members.items():
            if isinstance(data, tarfile.TarInfo):
                tar.addfile(data)
                continue
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return content.getvalue()


def plan() -> TrainingPlan:
    """Return what was asked of the job."""
    return TrainingPlan(
        run_id="r",
        image="i",
        role_arn="arn",
        instance=choose_training_instance("us-east-1", finetune=False),
        instance_count=2,
        spot=False,
        max_runtime_seconds=60,
        max_wait_seconds=60,
        hyperparameters=Hyperparameters(backbone="resnet50", epochs=3),
        dataset=DATA,
        weights=None,
        code_dir=Path(),
        code_digest="c",
        git_commit=None,
    )


def description(accuracy: float = 0.875) -> dict[str, Any]:
    """Return the finished job as SageMaker describes it."""
    return {
        "TrainingJobName": "j",
        "TrainingJobArn": "arn:j",
        "ModelArtifacts": {"S3ModelArtifacts": "s3://b/m/model.tar.gz"},
        "FinalMetricDataList": [{"MetricName": "test_accuracy", "Value": accuracy}],
        "ResourceConfig": {"InstanceCount": 2},
        "CreationTime": BEGUN,
        "TrainingEndTime": BEGUN + timedelta(seconds=90),
        "TrainingTimeInSeconds": 60,
        "BillableTimeInSeconds": 60,
    }
