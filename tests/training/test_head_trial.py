"""A trial as a job of SageMaker's own tuner: the features of one job, then a head that is what our own search finds."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.datasets import CLASSES, DIGEST, SMALL, Dataset, Trained, configure, train_here
from training import features_job, head_trial
from training.config import Folders, Hyperparameters
from training.distributed import World
from training.embed import Embeddings
from training.failures import TrainingFailure
from training.features import FILE_NAME, Features, read_features, write_features
from training.head_trial import parse_trial, try_head
from training.job import Job
from training.search import Search
from training.search_space import HEAD_SPACE
from training.shards import Manifest
from training.trial_models import HeadTrials

ALONE = World(0, 1, 0, 1, "here", torch.device("cpu"))
CHOSEN = Hyperparameters(epochs=6, learning_rate=1e-2, batch_size=8, seed=3)


def made(images: int, views: int = 1, seed: int = 0) -> Embeddings:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % 3
    noise = torch.randn(images, views, 16, generator=generator)
    return Embeddings(torch.arange(images), labels, noise + torch.eye(16)[labels][:, None])


FEATURES = Features(made(60, views=2), made(30, seed=1), CLASSES, DIGEST, "as this test does")


def test_a_trial_is_the_one_that_our_own_search_would_have_had() -> None:
    nowhere = Path()
    folders = Folders(nowhere, nowhere, None, nowhere, None, nowhere, None, None)
    config = configure(folders, replace(CHOSEN, trials=1))
    job = Job(config, ALONE, Manifest(DIGEST, "tiny", CLASSES, {}, {}), threading.Event(), 1)
    heads = HeadTrials(FEATURES.training, FEATURES.validation, CLASSES, ALONE, job.interrupted)
    default = Search.of(job, HEAD_SPACE, heads, "these").run()[0]

    found = try_head(CHOSEN, FEATURES, ALONE, threading.Event())

    assert (found.losses, found.loss, found.accuracy) == (default.losses, default.loss, default.accuracy)
    assert found.loss == pytest.approx(sum(found.sample_losses) / 30, rel=1e-6)


def test_the_log_ends_with_the_lowest_loss_and_the_model_has_the_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_features(FEATURES, tmp_path)
    model = tmp_path / "model"
    model.mkdir()
    folders = ["--features", str(tmp_path), "--model-dir", str(model), "--output-dir", str(tmp_path / "output")]
    values = ["--learning_rate", "0.01", "--batch_size", "8", "--epochs", "6", "--seed", "3"]

    assert head_trial.main([*folders, *values]) == 0

    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch=")]
    told = [float(line.split("validation_loss=")[1].split()[0]) for line in lines]
    trial = json.loads((model / head_trial.FILE_NAME).read_text())
    assert told == sorted(told, reverse=True)
    assert told[-1] == pytest.approx(trial["loss"], rel=1e-8)
    assert len(trial["sample_losses"]) == trial["images"] == 30


def test_a_value_out_of_bounds_or_damaged_features_leave_a_failure_and_no_trial(tmp_path: Path) -> None:
    path = write_features(FEATURES, tmp_path)
    path.write_bytes(path.read_bytes()[:-5] + b"other")
    folders = ["--features", str(tmp_path), "--model-dir", str(tmp_path), "--output-dir", str(tmp_path / "output")]
    with pytest.raises(TrainingFailure, match=r"is not between 0 and 0\.95"):
        parse_trial([*folders, "--dropout", "1"])

    assert head_trial.main(folders) == 1
    assert "are damaged" in (tmp_path / "output" / "failure").read_text()
    assert not (tmp_path / head_trial.FILE_NAME).exists()


@pytest.mark.slow
def test_the_features_of_a_job_are_those_of_its_pictures_and_leave_the_test_split_out(
    dataset: Dataset, weights: Path, tmp_path: Path
) -> None:
    folders = replace(dataset.folders(tmp_path / "model", weights=weights), test=None)
    features_job.run(configure(folders, SMALL), threading.Event())
    found = read_features(tmp_path / "model")

    trial = json.loads((tmp_path / "model" / head_trial.FILE_NAME).read_text())
    assert {path.name for path in (tmp_path / "model").iterdir()} == {FILE_NAME, head_trial.FILE_NAME}
    assert (trial["number"], trial["images"], trial["parameters"]["epochs"]) == (0, 6, SMALL.epochs)
    assert (found.classes, found.data_digest) == (CLASSES, DIGEST)
    assert found.training.features.shape == (12, 2, 1280)
    assert found.validation.features.shape == (6, 1, 1280)


@pytest.mark.slow
def test_a_training_takes_the_features_of_such_a_job_and_comes_to_the_same_model(
    dataset: Dataset, weights: Path, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    embedded = replace(dataset.folders(tmp_path / "features", weights=weights), test=None)
    features_job.run(configure(embedded, SMALL), threading.Event())
    folders = replace(dataset.folders(tmp_path / "model", weights=weights), features=tmp_path / "features")
    capsys.readouterr()

    meta = train_here(folders)

    told = capsys.readouterr().out
    assert "read the features of 12 training and 6 others" in told
    assert "split=train" not in told
    assert meta["metrics"] == trained.meta["metrics"]


@pytest.mark.slow
def test_features_of_other_views_are_not_taken(
    dataset: Dataset, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    embedded = replace(dataset.folders(tmp_path / "features", weights=weights), test=None)
    features_job.run(configure(embedded, replace(SMALL, views=1)), threading.Event())
    folders = replace(dataset.folders(tmp_path / "model", weights=weights), features=tmp_path / "features")

    train_here(folders)

    assert "WARNING: the features were made of other data or in another way" in capsys.readouterr().out
