"""The result of a job is read from its artefact, which is treated as hostile, and held against the job and the data."""

import gzip
import io
import json
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.account.prices import choose_training_instance
from tasks.model.archive import read_meta
from tasks.run.errors import StageFailed
from tasks.run.records import DatasetRef, Hyperparameters
from tasks.sagemaker.job import TrainingPlan
from tasks.sagemaker.result import read_result

DATA = DatasetRef("b", "datasets/d", "digest", "n", ("x", "y"), {"test": {"x": 3, "y": 5}}, 10, 0, "sample")
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


def meta(**changes: Any) -> dict[str, Any]:
    metrics = {"test_accuracy": 0.875, "test_images": 8, "validation_accuracy": 0.9}
    return {"classes": ["x", "y"], "data_digest": "digest", "git_commit": "abc", "metrics": metrics} | changes


def archive(members: dict[str, bytes | tarfile.TarInfo]) -> bytes:
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
    return TrainingPlan(
        run_id="r",
        image="i",
        role_arn="arn",
        instance=choose_training_instance(finetune=False),
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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.tar.gz"


def read(path: Path, content: dict[str, Any], **of_job: Any) -> Any:
    members: dict[str, bytes | tarfile.TarInfo] = {
        "model.safetensors": b"0" * 1000,
        "meta.json": json.dumps(content).encode(),
    }
    path.write_bytes(archive(members))
    return read_result(plan(), description(**of_job), path)


def test_a_result_has_its_accuracy_with_n_its_time_and_its_cost(path: Path) -> None:
    model = read(path, meta())
    assert (model.test_accuracy, model.test_images, model.seconds) == (0.875, 8, 90.0)
    assert model.cost_usd == pytest.approx(0.23 * 2 * 60 / 3600)
    assert (model.classes, model.git_commit) == (("x", "y"), "abc")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": ["y", "x"]}, "classes"),
        ({"data_digest": "another"}, "data digest another"),
        ({"metrics": {"test_accuracy": 0.875, "test_images": 7}}, "test images 7"),
        ({"metrics": {"test_accuracy": 0.99, "test_images": 8}}, "test_accuracy 0.99"),
        ({"metrics": {}}, "lacks 'test_images'"),
    ],
)
def test_a_model_that_disagrees_with_its_data_or_its_job_is_refused(
    path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(StageFailed, match="does not agree") as caught:
        read(path, meta(**changes))
    assert said in caught.value.why


def test_a_job_without_a_test_metric_is_refused(path: Path) -> None:
    with pytest.raises(StageFailed, match="does not agree"):
        read(path, meta(), accuracy=float("nan"))


def test_a_link_in_place_of_meta_json_is_refused(path: Path) -> None:
    link = tarfile.TarInfo("meta.json")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    path.write_bytes(archive({"meta.json": link}))
    with pytest.raises(StageFailed) as caught:
        read_meta(path, "s3://b/m/model.tar.gz")
    assert "not a regular file" in caught.value.why


@pytest.mark.parametrize(
    "content",
    [b"not gzip", gzip.compress(b"not tar" * 200), archive({"other": b"1"})],
    ids=["not gzip", "not tar", "no meta.json"],  # the bytes have the time in them
)
def test_a_damaged_archive_is_refused_by_name(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StageFailed, match=r"s3://b/m/model\.tar\.gz holds no readable meta\.json"):
        read_meta(path, "s3://b/m/model.tar.gz")


def test_the_job_name_follows_everything_that_makes_the_job_another_one_and_nothing_else() -> None:
    import dataclasses

    base = plan()
    same = dataclasses.replace(base, git_commit="other", code_dir=Path("elsewhere"))
    others = [
        dataclasses.replace(base, instance_count=1),
        dataclasses.replace(base, spot=True),
        dataclasses.replace(base, code_digest="d"),
        dataclasses.replace(base, hyperparameters=Hyperparameters(backbone="resnet50", epochs=4)),
        dataclasses.replace(base, dataset=dataclasses.replace(DATA, prefix="datasets/e")),
    ]
    assert same.base_name == base.base_name
    assert len({item.base_name for item in [base, *others]}) == 6
