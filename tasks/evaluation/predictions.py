"""Read the predictions of the test split from a model's archive, and check that they are those of its metrics.

The file may be hostile: its digest, types, shapes and values are checked before anything is computed from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.run.errors import StageFailed
from tasks.run.model_archive import read_member
from tasks.run.records import DatasetRef
from tasks.run.sealed import read_regular

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE = "predictions.safetensors"
_BYTES_PER_IMAGE, _BYTES_PER_SCORE, _HEADER_BYTES = 24, 4, 4096
_COLUMNS = ("index", "labels", "predicted")
_TOLERANCE = 1e-3
_LEAST_PROBABILITY = 1e-38  # of float32


@dataclass(frozen=True)
class Predictions:
    """Of N images, sorted by their number in the split: `index`, `labels`, `predicted`, (N,) int64; `scores`, (N,
    classes) float32, the probabilities.
    """

    index: NDArray[np.int64]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    scores: NDArray[np.float32]

    @property
    def true_scores(self) -> NDArray[np.float32]:
        """The probability that each image's true class was given, (N,)."""
        import numpy as np

        return self.scores[np.arange(len(self.labels)), self.labels]

    @property
    def losses(self) -> NDArray[np.float64]:
        """The negative logarithm of that probability, (N,); of one that was rounded to 0 it is float32's largest."""
        import numpy as np

        losses: NDArray[np.float64] = -np.log(np.maximum(self.true_scores.astype(float), _LEAST_PROBABILITY))
        return losses

    @property
    def image_names(self) -> list[str]:
        """The name of each image in its shard."""
        return [f"{label:05d}/{index:08d}.jpg" for label, index in zip(self.labels, self.index, strict=True)]


def read_predictions(
    archive: Path, label: str, meta: Mapping[str, Any], dataset: DatasetRef
) -> tuple[Predictions, bytes] | None:
    """Return the predictions in a local model.tar.gz and the file's bytes; None if its training kept none.

    `meta` is the archive's meta.json, which has been checked; `label` names the archive in errors.

    Raises:
        StageFailed: the predictions are damaged or hostile, or do not give the metrics.
    """
    if "predictions" not in meta:
        return None
    images, classes = dataset.images("test"), len(dataset.classes)
    most = images * (_BYTES_PER_IMAGE + classes * _BYTES_PER_SCORE) + _HEADER_BYTES
    content = read_member(archive, FILE, label, most_bytes=most)
    try:
        digest = hashlib.sha256(content).hexdigest()
        _require(digest == meta["predictions"], "its sha256 is not the one in meta.json")
        found = _parsed(content, images, classes)
        _require_labels(found, [dataset.counts["test"].get(name, 0) for name in dataset.classes])
        _require_metrics(found, meta["metrics"])
    except _UNREADABLE as error:
        what, why = f"{label} has no usable {FILE}", f"{type(error).__name__}: {error}"
        raise StageFailed("predictions of the test split", what, why, "kennel logs") from error
    return found, content


def kept_predictions(path: Path, dataset: DatasetRef, right: int) -> Predictions:
    """Return the predictions that a run keeps in a file, of which so many are `right` by its evaluation.

    Raises:
        StageFailed: they are missing or damaged, or others than those that were evaluated.
    """
    try:
        found = _parsed(read_regular(path), dataset.images("test"), len(dataset.classes))
        _require(int((found.labels == found.predicted).sum()) == right, "they are not those that were evaluated")
    except (*_UNREADABLE, OSError) as error:
        what, why = f"{path} is not usable", f"{type(error).__name__}: {error}"
        raise StageFailed("predictions of the test split", what, why, "kennel run, which evaluates anew") from error
    return found


_UNREADABLE = (ValueError, TypeError, KeyError, OverflowError)


def _require(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise ValueError(otherwise)


def _parsed(content: bytes, images: int, classes: int) -> Predictions:
    from safetensors import SafetensorError
    from safetensors import numpy as tensors

    scores: tuple[str, tuple[int, ...]] = ("float32", (images, classes))
    try:
        found = tensors.load(content)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    for name, (kind, shape) in {**dict.fromkeys(_COLUMNS, ("int64", (images,))), "scores": scores}.items():
        is_so = found[name].dtype.name == kind and found[name].shape == shape
        _require(is_so, f"{name} is {found[name].dtype.name} {found[name].shape}, not {kind} {shape}")
    predictions = Predictions(found["index"], found["labels"], found["predicted"], found["scores"])
    _require_possible(predictions, classes)
    return predictions


def _require_possible(found: Predictions, classes: int) -> None:
    import numpy as np

    for name, column in (("labels", found.labels), ("predicted", found.predicted)):
        _require(bool(((column >= 0) & (column < classes)).all()), f"{name} names a class that there is not")
    is_ordered = bool((found.index >= 0).all() and (found.index[1:] > found.index[:-1]).all())
    _require(is_ordered, "index is not in order, or has an image twice")
    _require(bool(((found.scores >= 0) & (found.scores <= 1)).all()), "a score is not a probability")
    _require(bool((abs(found.scores.sum(1) - 1) <= _TOLERANCE).all()), "the scores of an image do not add up to 1")
    best = found.scores[np.arange(len(found.index)), found.predicted]
    _require(bool((best >= found.scores.max(1)).all()), "the predicted class has not the highest score")


def _require_labels(found: Predictions, counts: Sequence[int]) -> None:
    import numpy as np

    labelled = np.bincount(found.labels, minlength=len(counts)).tolist()
    _require(labelled == list(counts), "the classes have other numbers of images than the test split")


def _require_metrics(found: Predictions, metrics: Mapping[str, Any]) -> None:
    right, images = int((found.labels == found.predicted).sum()), len(found.labels)
    claimed = float(metrics["test_accuracy"])
    _require(abs(right - claimed * images) <= _TOLERANCE, f"{right} of {images} are right, metrics claim {claimed}")
