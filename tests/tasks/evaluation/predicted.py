"""Predictions for the tests, and the model archive that holds them."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from safetensors.numpy import save

from tasks.evaluation.predictions import Predictions
from tests.tasks.sagemaker.jobs import archive


def predictions(labels: Sequence[int], scores: Sequence[Sequence[float]]) -> Predictions:
    """Return predictions of images 0, 1, …, which were taken for the class of the highest score."""
    given = np.array(scores, np.float32)
    return Predictions(
        np.arange(len(labels), dtype=np.int64), np.array(labels, np.int64), given.argmax(1).astype(np.int64), given
    )


def stored(found: Predictions, **changes: np.ndarray) -> bytes:
    """Return predictions as a training stores them, some columns replaced."""
    return save({**vars(found), **changes})


def meta_of(content: bytes, classes: Sequence[str], accuracy: float, images: int) -> dict[str, Any]:
    """Return the meta.json of a model with these predictions."""
    epochs = [
        {"train_loss": 1.5 / epoch, "validation": {"loss": 1.0 / epoch, "accuracy": 0.5, "images": 4}}
        for epoch in (1, 2)
    ]
    return {
        "classes": list(classes),
        "metrics": {"test_accuracy": accuracy, "test_images": images},
        "predictions": hashlib.sha256(content).hexdigest(),
        "curves": {"head": epochs},
    }


def model(content: bytes, meta: dict[str, Any]) -> bytes:
    """Return the model.tar.gz of a training that kept these predictions."""
    return archive({"meta.json": json.dumps(meta).encode(), "predictions.safetensors": content})
