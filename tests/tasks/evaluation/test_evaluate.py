"""The evaluation of a model by its own predictions, on a dataset that was really staged."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tasks.account.objects import delete_prefix, put_object
from tasks.evaluation.evaluate import evaluate_model
from tasks.evaluation.predictions import Predictions, read_predictions
from tasks.evaluation.record import CurvePoint, Evaluation
from tasks.run.errors import StageFailed
from tasks.run.records import DatasetRef, TrainingResult
from tests.conftest import RunningLocalAws
from tests.tasks.data.datasets import good_files, write_zip
from tests.tasks.data.workplace import Workplace
from tests.tasks.evaluation.predicted import meta_of, model, predictions, stored

CLASSES = ("cat", "dog", "owl")
FOUND = predictions([0, 1, 2], [[0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.2, 0.5, 0.3]])  # one of three is right
RESULT: dict[str, Any] = {
    "model_uri": "s3://b/model.tar.gz",
    "backbone": "resnet50",
    "classes": CLASSES,
    "test_accuracy": 1 / 3,
    "test_images": 3,
    "metrics": {},
    "instance_type": "ml.m5.large",
    "instance_count": 1,
    "instance_reason": "",
    "spot": False,
    "cost_usd": None,
    "data_digest": "d",
}


@pytest.fixture(scope="module")
def place(localaws: RunningLocalAws, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A workplace with a staged dataset of three classes, one test image each."""
    yield (work := Workplace(localaws.url, tmp_path_factory.mktemp("place"), "kennel-test-evaluate"))
    delete_prefix(work.aws, work.aws.bucket, "datasets/")
    work.s3.delete_bucket(Bucket=work.aws.bucket)


@pytest.fixture(scope="module")
def dataset(place: Workplace, tmp_path_factory: pytest.TempPathFactory) -> DatasetRef:
    files = good_files(classes=CLASSES)
    staged, _ = place.stage(write_zip(tmp_path_factory.mktemp("zip") / "photos.zip", files))
    place.run.keep(staged)
    return staged


def archived(folder: Path, content: bytes | None = None, **changes: Any) -> Path:
    given = stored(FOUND) if content is None else content
    path = folder / "model.tar.gz"
    path.write_bytes(model(given, {**meta_of(given, CLASSES, 1 / 3, 3), **changes}))
    return path


def evaluated(place: Workplace, archive: Path | None) -> Evaluation | None:
    return evaluate_model(place.run, "sagemaker", TrainingResult(**RESULT), archive)


def test_a_run_keeps_what_its_model_does_with_the_test_split(
    place: Workplace, dataset: DatasetRef, tmp_path: Path
) -> None:
    found = evaluated(place, archived(tmp_path))

    assert found is not None and found == place.run.find(Evaluation, trained_on="sagemaker")
    assert (found.images, found.right) == (3, 1)
    assert found.curves == {"head": (CurvePoint(1.5, 1.0, 0.5), CurvePoint(0.75, 0.5, 0.5))}
    folder = place.run.folder / "TrainedModels" / "sagemaker"
    assert load_file(folder / "predictions.safetensors")["predicted"].tolist() == [0, 0, 1]
    assert (folder / "predictions.csv").read_text().splitlines()[2].startswith("00001/00000001.jpg,dog,cat,0.7,0.2,")
    assert [(photo.true, photo.predicted, photo.name) for photo in found.hard] == [
        ("dog", "cat", "photos/test/dog/0.jpg"),
        ("owl", "dog", "photos/test/owl/0.jpg"),
    ]
    members = {name: data for (shard, name), data in place.members(dataset).items() if shard.startswith("test/")}
    for photo in found.hard:
        assert (place.run.folder / photo.file).read_bytes() == members[photo.image]


def test_the_same_model_is_evaluated_once(place: Workplace, dataset: DatasetRef, tmp_path: Path) -> None:
    first = evaluated(place, archived(tmp_path))
    place.calls.clear()

    assert evaluated(place, archived(tmp_path)) == first
    assert place.calls.total() == 0


@pytest.mark.usefixtures("dataset")
@pytest.mark.parametrize("is_here", [True, False])
def test_a_model_without_predictions_or_on_another_machine_has_no_evaluation(
    place: Workplace, tmp_path: Path, is_here: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "model.tar.gz"
    path.write_bytes(model(b"", {"classes": CLASSES, "metrics": {}}))

    assert evaluated(place, path if is_here else None) is None
    assert "evaluation: " in caplog.text


def test_photos_that_cannot_be_fetched_are_said_and_are_no_error(
    place: Workplace, dataset: DatasetRef, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = f"{dataset.prefix}/images.jsonl"
    whole = place.body(key)
    put_object(place.aws, place.aws.bucket, key, b'{"split": "test"}\n[', content_type="application/jsonl")
    try:
        found = evaluated(place, archived(tmp_path, curves={}))
    finally:
        put_object(place.aws, place.aws.bucket, key, whole, content_type="application/jsonl")

    assert found is not None and [photo.file for photo in found.hard] == ["", ""]
    assert "WARNING: the photos that were hard are not kept" in caplog.text


@pytest.mark.parametrize("loss", [10**400, "none", None])
def test_a_learning_curve_of_no_numbers_is_refused(
    place: Workplace, dataset: DatasetRef, tmp_path: Path, loss: object
) -> None:
    after = {"loss": 1.0, "accuracy": 0.5}
    with pytest.raises(StageFailed, match="has an unreadable one"):
        evaluated(place, archived(tmp_path, curves={"head": [{"train_loss": loss, "validation": after}]}))


HALVES = np.full((3, 3), 0.5, np.float32)
DAMAGE: dict[str, tuple[bytes, dict[str, Any]]] = {
    "other digest": (stored(FOUND), {"predictions": "0" * 64}),
    "no safetensors": (b"x" * 100, {}),
    "other type": (stored(FOUND, labels=FOUND.labels.astype(np.int32)), {}),
    "other shape": (stored(FOUND, scores=FOUND.scores[:, :2].copy()), {}),
    "unknown class": (stored(FOUND, labels=np.array([0, 1, 3])), {}),
    "negative class": (stored(FOUND, predicted=np.array([-1, 0, 1])), {}),
    "an image twice": (stored(FOUND, index=np.array([0, 0, 1])), {}),
    "not a number": (stored(FOUND, scores=np.full((3, 3), np.nan, np.float32)), {}),
    "no probabilities": (stored(FOUND, scores=HALVES), {}),
    "not the best": (stored(FOUND, predicted=np.array([1, 0, 1])), {}),
    "other labels than staged": (stored(FOUND, labels=np.array([0, 0, 2])), {}),
    "other accuracy": (stored(FOUND), {"metrics": {"test_accuracy": 2 / 3, "test_images": 3}}),
    "too large": (stored(FOUND, more=np.zeros(10_000)), {}),
    "a column is missing": (stored(Predictions(FOUND.index, FOUND.labels, FOUND.predicted, HALVES[:, :1])), {}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_or_hostile_predictions_are_refused(dataset: DatasetRef, tmp_path: Path, damage: str) -> None:
    content, changes = DAMAGE[damage]
    path = archived(tmp_path, content, **changes)
    meta = {**meta_of(content, CLASSES, 1 / 3, 3), **changes}

    with pytest.raises(StageFailed, match=r"s3://b/model\.tar\.gz has no (usable|readable) predictions"):
        read_predictions(path, "s3://b/model.tar.gz", json.loads(json.dumps(meta)), dataset)
