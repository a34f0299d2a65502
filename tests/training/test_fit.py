"""Tests of the epoch loop on small random embeddings: early stopping, best weights, divergence, resuming."""

import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch

from training.adamw import AdamW
from training.checkpoint import FitCheckpoint
from training.config import Hyperparameters
from training.distributed import World
from training.embed import Embeddings
from training.failures import Interrupted, TrainingFailure
from training.fit import Batch, Fit, FitResult, Schedule
from training.heads import HeadRows, HeadTask
from training.model import Head, Standardisation

ALONE = World(0, 1, 0, 1, "here", torch.device("cpu"))
HYPERPARAMETERS = Hyperparameters(batch_size=8, learning_rate=1e-2, epochs=12, patience=50)


def embeddings(images: int, *, views: int = 2, seed: int = 0) -> Embeddings:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % 3
    noise = torch.randn(images, views, 16, generator=generator)
    return Embeddings(torch.arange(images), labels, noise + 2 * torch.eye(16)[labels][:, None])


@dataclass
class Trial:
    """One head fit on seeded embeddings; `interrupt_after` sets the SIGTERM flag during that epoch."""

    hyperparameters: Hyperparameters = HYPERPARAMETERS
    folder: Path | None = None
    interrupt_after: int | None = None
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.task = HeadTask.of(HeadRows.of(embeddings(30), ALONE.device), 3, self.hyperparameters, ALONE)
        self.interrupted = threading.Event()

    def batches(self, epoch: int) -> Iterator[Batch]:
        if epoch == self.interrupt_after:
            self.interrupted.set()
        yield from self.task.batches(epoch)

    def run(self) -> FitResult:
        settings = self.hyperparameters
        optimizer = AdamW(self.task.head.parameters(), learning_rate=settings.learning_rate, weight_decay=0.01)
        checkpoint = FitCheckpoint(
            self.folder, "head", fingerprint=repr(settings), interval_seconds=1e9, say=self.lines.append
        )
        fit = Fit(
            self.task.head,
            optimizer,
            world=ALONE,
            checkpoint=checkpoint,
            interrupted=self.interrupted,
            say=self.lines.append,
            classes=3,
        )
        evaluate = self.task.evaluator(embeddings(15, views=1, seed=1))
        return fit.run(Schedule(settings.epochs, settings.patience), batches=self.batches, evaluate=evaluate)


def test_an_interrupted_fit_resumes_to_exactly_the_same_head(tmp_path: Path) -> None:
    whole = Trial()
    whole.run()
    with pytest.raises(Interrupted, match=r"stopped by SIGTERM after epoch 5; the checkpoint is .*head\.checkpoint"):
        Trial(folder=tmp_path, interrupt_after=5).run()

    resumed = Trial(folder=tmp_path)
    resumed.run()

    assert resumed.lines[0] == "resuming from the checkpoint after epoch 5"
    assert resumed.lines[1].startswith("epoch=6 ")
    for name, value in whole.task.head.state_dict().items():
        assert torch.equal(value, resumed.task.head.state_dict()[name])


def test_a_checkpoint_of_other_hyperparameters_is_not_used(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        Trial(folder=tmp_path, interrupt_after=2).run()

    other = Trial(replace(HYPERPARAMETERS, seed=1), folder=tmp_path)
    other.run()

    assert other.lines[0].startswith("epoch=1 ")


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"\x10\0\0\0\0\0\0\0{"), os.mkfifo, Path.mkdir])
def test_a_damaged_checkpoint_is_not_used_and_that_is_said(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    damage(tmp_path / "head.checkpoint")

    trial = Trial(folder=tmp_path)

    assert trial.run().epochs == 12
    assert re.match(r"WARNING: the checkpoint .*head\.checkpoint is not used, and the fit starts", trial.lines[0])


def test_a_failed_checkpoint_write_is_a_warning_and_training_continues(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way of the folder")

    trial = Trial(folder=tmp_path / "file", interrupt_after=2)

    with pytest.raises(Interrupted, match="this rank saved no checkpoint"):
        trial.run()
    assert any(line.startswith("WARNING: the checkpoint ") for line in trial.lines)


def test_the_best_weights_are_restored_after_patience_runs_out() -> None:
    trial = Trial(replace(HYPERPARAMETERS, learning_rate=0.5, epochs=200, patience=5))

    fitted = trial.run()

    losses = [float(line.split("validation_loss=")[1].split()[0]) for line in trial.lines]
    assert fitted.epochs == fitted.best_epoch + 5 < 200
    assert min(losses) == pytest.approx(fitted.validation.loss, abs=1e-6)
    assert trial.task.evaluator(embeddings(15, views=1, seed=1))() == fitted.validation


@pytest.mark.parametrize("learning_rate", [1e9, 1e300])
def test_a_diverged_loss_fails_the_job_and_the_message_says_what_to_do(learning_rate: float) -> None:
    with pytest.raises(
        TrainingFailure, match=r"loss (has exploded|is not finite) at epoch \d.*lower the learning rate"
    ):
        Trial(replace(HYPERPARAMETERS, learning_rate=learning_rate)).run()


def test_metric_lines_state_the_number_of_images() -> None:
    trial = Trial(replace(HYPERPARAMETERS, epochs=1))
    trial.run()

    assert trial.lines[0].startswith("epoch=1 train_loss=")
    assert trial.lines[0].endswith(" validation_images=15")


def test_the_folded_head_computes_the_same_on_unstandardised_features() -> None:
    features = torch.randn(20, 16) * 5 + 3
    features[:, 0] = 7.0  # a feature that never varies
    standardisation = Standardisation.of(features)
    head = Head(16, 3).double()

    plain = head.folded(standardisation)(features)

    assert torch.allclose(plain.double(), head(standardisation.apply(features)), atol=1e-4)
