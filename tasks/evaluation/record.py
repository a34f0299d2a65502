"""The record of what a model does with the test split; each figure of a report about it has this source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tasks.run.record_store import Amount, Count, Record, Share

FOLDER = Path("TrainedModels")
SAGEMAKER, EC2 = "sagemaker", "ec2"


@dataclass(frozen=True)
class ClassResult:
    """How a class fares: of its `images`, so many are `right`; `predicted` images were taken for it, rightly or not."""

    name: str
    images: Count
    right: Count
    predicted: Count


@dataclass(frozen=True)
class Confusion:
    """So many images of the class `true` were taken for `predicted`."""

    true: str
    predicted: str
    images: Count


@dataclass(frozen=True)
class ConfidenceBin:
    """The images whose highest score is in (low, high]: their mean score, and the share that is right."""

    low: Share
    high: Share
    images: Count
    confidence: Share
    accuracy: Share


@dataclass(frozen=True)
class CurvePoint:
    """An epoch of a training: mean loss over its rows, and loss and accuracy on the validation split after it."""

    train_loss: float
    validation_loss: float
    validation_accuracy: Share


@dataclass(frozen=True)
class HardPhoto:
    """A photo that was taken for another class with the greatest certainty.

    `image` is its name in its shard, `name` the one in the source ("" if that is not known), `sha256` that of the
    staged file. `file` is the photo's path in the run's folder, "" if it is not kept. The scores are probabilities.
    """

    image: str
    true: str
    predicted: str
    predicted_score: Share
    true_score: Share
    name: str = ""
    sha256: str = ""
    file: str = ""


@dataclass(frozen=True)
class Evaluation(
    Record, file="TrainedModels/{trained_on}/evaluation.json", called="evaluation", made_by="train_sagemaker"
):
    """What a model does with the test split, counted from its predictions.

    `trained_on` is "sagemaker" or "ec2", `model_sha256` that of the archive. `log_loss` is the mean negative logarithm
    of the true class's probability. `calibration_error` is the expected calibration error over `reliability`, whose
    bins have equal widths (Guo et al. 2017, "On calibration of modern neural networks"). `confusions` has every pair
    of classes that was confused, the most frequent first. `curves` has the epochs of each stage of the training.
    `versions` and `settings` are the packages and the hyperparameters that trained it.
    """

    trained_on: str
    model_uri: str
    model_sha256: str
    data_digest: str
    images: Count
    right: Count
    log_loss: Amount
    calibration_error: Share
    classes: tuple[ClassResult, ...]
    confusions: tuple[Confusion, ...]
    reliability: tuple[ConfidenceBin, ...]
    curves: Mapping[str, tuple[CurvePoint, ...]]
    hard: tuple[HardPhoto, ...]
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The folder of the model's files in the run's folder."""
        return FOLDER / self.trained_on
