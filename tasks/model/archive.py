"""Read the metadata in a trained model's archive and compare it with the job's metrics and the dataset."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.run.errors import StageFailed
from tasks.run.model_archive import read_member
from tasks.run.records import DatasetRef
from tasks.run.sealed import Damaged, sha256_of, unseal

METRIC_NAMES = (
    "train_loss",
    "validation_loss",
    "validation_accuracy",
    "test_loss",
    "test_accuracy",
    "test_images",
)
"""The metrics that the training script prints as `name=value`, each after a blank or at the start of a line."""

_SHOWN_CHARACTERS = 200
METRIC_TOLERANCE = 5e-4
"""The allowed difference: SageMaker parses metrics from log lines, which are rounded."""


def archive_here(path: Path, sha256: str) -> Path | None:
    """Return the path of a model's archive, or None when it is not on this machine or another model has its place."""
    return path if path.is_file() and sha256_of(path) == sha256 else None


def read_meta(archive: Path, label: str) -> dict[str, Any]:
    """Return the meta.json of a local model.tar.gz; `label` names the archive in errors.

    Raises:
        StageFailed: the archive has no meta.json, or is damaged or hostile.
    """
    content = read_member(archive, "meta.json", label)
    try:
        return unseal(content)
    except Damaged as error:
        raise StageFailed("trained model", f"{label} has no readable meta.json", str(error), "kennel logs") from error


def verify_meta(dataset: DatasetRef, meta: Mapping[str, Any], reported: Mapping[str, float] | None) -> None:
    """Refuse a model whose meta.json differs from the dataset or from the metrics that its job reported, if it did.

    Raises:
        StageFailed: a value differs or is missing; the message names it.
    """
    try:
        own = meta["metrics"]
        expected = {
            "classes": (list(meta["classes"]), list(dataset.classes)),
            "data digest": (meta["data_digest"], dataset.digest),
            "test images": (int(own["test_images"]), dataset.images("test")),
        }
        accuracy = float(own["test_accuracy"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _disagreement(f"meta.json lacks {error}") from error
    for what, (found, wanted) in expected.items():
        if found != wanted:
            raise _disagreement(f"meta.json has {what} {_cut(found)}, the data has {_cut(wanted)}")
    measured = accuracy if reported is None else reported.get("test_accuracy", math.nan)
    if not abs(measured - accuracy) <= METRIC_TOLERANCE:
        raise _disagreement(f"meta.json has test_accuracy {accuracy}, the job's metrics have {measured}")


def measured_metrics(meta: Mapping[str, Any]) -> dict[str, float]:
    """Return the numeric metrics in a model's meta.json."""
    return {name: float(value) for name, value in meta["metrics"].items() if isinstance(value, int | float)}


def _cut(value: object) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _disagreement(why: str) -> StageFailed:
    return StageFailed("trained model", "the model does not agree with its job", why, "kennel logs")
