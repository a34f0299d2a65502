"""Parse a job's configuration from its command line; folders may come from SageMaker's environment instead."""

import argparse
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from training.failures import TrainingFailure

DEFAULT_CHECKPOINT_DIR = Path("/opt/ml/checkpoints")
DEFAULT_OUTPUT_DIR = Path("/opt/ml/output")


@dataclass(frozen=True)
class Hyperparameters:
    """Every setting that changes the trained model, apart from the data and the backbone's weights.

    `views` is the number of stored views of each image, the unaugmented one included: 1 means no augmentation, and with
    None `views_of_each` decides. An epoch is one pass over every stored view of every image. With `trials`, so many
    others are tried first, drawn from `search_space` (JSON; "" is the default space).
    """

    backbone: str = "resnet50"
    epochs: int = 30
    views: int | None = None
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    dropout: float = 0.5
    head_width: int = 128
    label_smoothing: float = 0.0
    patience: int = 8
    seed: int = 0
    finetune: bool = False
    finetune_epochs: int = 5
    finetune_learning_rate: float = 1e-4
    trials: int = 0
    search_space: str = ""

    def having(self, values: Mapping[str, int | float]) -> "Hyperparameters":
        """Return these hyperparameters with other values of some, by name."""
        changes: dict[str, Any] = dict(values)
        return replace(self, **changes)


@dataclass(frozen=True)
class Limits:
    """The least and the greatest value of a hyperparameter, and whether it is a whole number."""

    low: float
    high: float
    kind: type[int] | type[float]


LIMITS = {
    "epochs": Limits(1, 10_000, int),
    "views": Limits(1, 64, int),
    "batch_size": Limits(1, 65_536, int),
    "learning_rate": Limits(0, 1e12, float),
    "weight_decay": Limits(0, 100, float),
    "dropout": Limits(0, 0.95, float),
    "head_width": Limits(1, 8192, int),
    "label_smoothing": Limits(0, 0.9, float),
    "patience": Limits(1, 10_000, int),
    "seed": Limits(0, 2**31 - 1, int),
    "finetune_epochs": Limits(1, 10_000, int),
    "finetune_learning_rate": Limits(0, 1e12, float),
    "trials": Limits(0, 1_000, int),
}
"""Of every number among the hyperparameters."""


def views_of_each(hyperparameters: Hyperparameters, training_images: int) -> int:
    """Return how many views of each training image are embedded.

    If `views` is not set, a small dataset gets 8, because augmentation helps it most, and a large one gets 1. Each view
    costs a forward pass: the rule keeps the total near 4,000 passes until the dataset has that many images.
    """
    return hyperparameters.views or max(1, min(8, 4_000 // max(1, training_images)))


@dataclass(frozen=True)
class Folders:
    """The folders of inputs and outputs; outside SageMaker `checkpoint` and `output` may be None.

    `features` has the pictures embedded already, by `training/features_job.py`.
    """

    train: Path
    validation: Path
    test: Path | None
    manifest: Path
    weights: Path | None
    model: Path
    checkpoint: Path | None
    output: Path | None
    features: Path | None = None


@dataclass(frozen=True)
class Config:
    """The configuration of one training job; with `threads` None the ranks of a host share its cores evenly."""

    hyperparameters: Hyperparameters
    folders: Folders
    threads: int | None
    collective_timeout_seconds: float
    checkpoint_interval_seconds: float


class Parser(argparse.ArgumentParser):
    """Refuses what it cannot read with `TrainingFailure`, not by ending the process."""

    def error(self, message: str) -> NoReturn:
        raise TrainingFailure(f"hyperparameters: {message}")


def between(low: float, high: float, kind: Callable[[str], float]) -> Callable[[str], float]:
    """Return what parses a number of a kind between two bounds, and refuses all else."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not a valid number") from error
        if not math.isfinite(value) or not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low:g} and {high:g}")
        return value

    return parse


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() in ("true", "1")


def _parser(env: Mapping[str, str]) -> Parser:
    default = Hyperparameters()
    parser = Parser(prog="training.train", allow_abbrev=False)
    add = parser.add_argument
    add("--backbone", default=default.backbone)
    for name, limits in LIMITS.items():
        kind = between(limits.low, limits.high, limits.kind)
        add(f"--{name.replace('_', '-')}", type=kind, default=getattr(default, name))
    add("--finetune", type=_boolean, nargs="?", const=True, default=False)
    add("--search-space", default=default.search_space)
    add("--threads", type=between(1, 1024, int), default=None)
    add("--collective-timeout-seconds", type=between(1, 86_400, float), default=600.0)
    add("--checkpoint-interval-seconds", type=between(0, 86_400, float), default=5.0)
    _add_folders(parser, env)
    return parser


def _add_folders(parser: argparse.ArgumentParser, env: Mapping[str, str]) -> None:
    for channel in ("train", "validation", "test", "manifest", "weights", "features"):
        parser.add_argument(f"--{channel}", type=Path, default=env.get(f"SM_CHANNEL_{channel.upper()}"))
    parser.add_argument("--model-dir", type=Path, default=env.get("SM_MODEL_DIR"))
    output = DEFAULT_OUTPUT_DIR if DEFAULT_OUTPUT_DIR.is_dir() else None
    parser.add_argument("--output-dir", type=Path, default=env.get("SM_OUTPUT_DIR", output))
    checkpoints = DEFAULT_CHECKPOINT_DIR if DEFAULT_CHECKPOINT_DIR.is_dir() else None
    parser.add_argument("--checkpoint-dir", type=Path, default=checkpoints)


def _required(given: argparse.Namespace, name: str, source: str) -> Path:
    value = getattr(given, name)
    if value is None:
        raise TrainingFailure(f"the folder {name!r} is not set: pass --{name.replace('_', '-')} or set {source}")
    return Path(value)


def parse_config(arguments: Sequence[str], env: Mapping[str, str] = os.environ) -> Config:
    """Parse the command line; folders it does not name come from `SM_CHANNEL_*`, `SM_MODEL_DIR` and `SM_OUTPUT_DIR`.

    Raises:
        TrainingFailure: an argument is unknown, malformed or out of range, or a required folder is not set.
    """
    given = _parser(env).parse_args(arguments)
    names = Hyperparameters.__dataclass_fields__
    folders = Folders(
        train=_required(given, "train", "SM_CHANNEL_TRAIN"),
        validation=_required(given, "validation", "SM_CHANNEL_VALIDATION"),
        test=given.test and Path(given.test),
        manifest=_required(given, "manifest", "SM_CHANNEL_MANIFEST"),
        weights=given.weights and Path(given.weights),
        model=_required(given, "model_dir", "SM_MODEL_DIR"),
        checkpoint=given.checkpoint_dir and Path(given.checkpoint_dir),
        output=given.output_dir and Path(given.output_dir),
        features=given.features and Path(given.features),
    )
    return Config(
        hyperparameters=Hyperparameters(**{name: getattr(given, name) for name in names}),
        folders=folders,
        threads=given.threads,
        collective_timeout_seconds=given.collective_timeout_seconds,
        checkpoint_interval_seconds=given.checkpoint_interval_seconds,
    )
