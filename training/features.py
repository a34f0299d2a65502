"""What heads need of a dataset: two embedded splits in one file, written by one job and read by each trial's."""

from dataclasses import dataclass
from pathlib import Path

import torch

from training.checkpoint import DamagedCheckpoint, read_saved, write_atomically
from training.embed import Embeddings
from training.failures import TrainingFailure

FILE_NAME = "features.checkpoint"
SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Features:
    """Two embedded splits, the classes in the order of the labels, the dataset's digest, and how both were made."""

    training: Embeddings
    validation: Embeddings
    classes: tuple[str, ...]
    data_digest: str
    plan: str


def write_features(features: Features, folder: Path) -> Path:
    """Write the file, with a sha256 at its end, and return its path.

    Raises:
        OSError: it cannot be written.
    """
    named = zip(SPLITS, (features.training, features.validation), strict=True)
    tensors = {f"{split}_{name}": tensor for split, made in named for name, tensor in vars(made).items()}
    path = folder / FILE_NAME
    facts = {name: getattr(features, name) for name in ("classes", "data_digest", "plan")}
    write_atomically(path, tensors, facts)
    return path


def read_features(folder: Path) -> Features:
    """Read the file that `write_features` wrote.

    Raises:
        TrainingFailure: it is missing or damaged.
    """
    try:
        saved = read_saved(folder / FILE_NAME)
    except DamagedCheckpoint as error:
        raise TrainingFailure(f"the features in {folder} are damaged: {error}") from error
    if saved is None:
        raise TrainingFailure(f"there is no {FILE_NAME} in {folder}")
    training, validation = (_split(saved.tensors, split) for split in SPLITS)
    facts = saved.facts
    return Features(training, validation, tuple(facts["classes"]), str(facts["data_digest"]), str(facts["plan"]))


def _split(tensors: dict[str, torch.Tensor], split: str) -> Embeddings:
    return Embeddings(*(tensors[f"{split}_{name}"] for name in ("index", "labels", "features")))
