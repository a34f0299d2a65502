"""Count what predictions show: each class, each confusion, calibration, and the photos that were hardest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tasks.evaluation.predictions import Predictions
from tasks.evaluation.record import ClassResult, ConfidenceBin, Confusion, HardPhoto

BINS = 10


def class_results(found: Predictions, classes: Sequence[str]) -> tuple[ClassResult, ...]:
    """Return the result of each class, in the order of the classes."""
    import numpy as np

    def count(column: np.ndarray) -> list[int]:
        counted: list[int] = np.bincount(column, minlength=len(classes)).tolist()
        return counted

    right = count(found.labels[found.labels == found.predicted])
    rows = zip(classes, count(found.labels), right, count(found.predicted), strict=True)
    return tuple(ClassResult(*row) for row in rows)


def confusions(found: Predictions, classes: Sequence[str]) -> tuple[Confusion, ...]:
    """Return all pairs of classes that were confused, the most frequent first, equals in the order of the classes."""
    pairs = Counter(zip(found.labels.tolist(), found.predicted.tolist(), strict=True))
    wrong = [(pair, images) for pair, images in pairs.items() if pair[0] != pair[1]]
    ordered = sorted(wrong, key=lambda entry: (-entry[1], entry[0]))
    return tuple(Confusion(classes[true], classes[taken], images) for (true, taken), images in ordered)


def reliability(found: Predictions) -> tuple[ConfidenceBin, ...]:
    """Return the bins of equal width that hold an image."""
    import numpy as np

    confidence = found.scores.max(1).astype(float)
    right = found.labels == found.predicted
    number = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)  # (low, high]
    bins = []
    for each in range(BINS):
        inside = number == each
        if inside.any():
            share, mean = float(right[inside].mean()), min(1.0, float(confidence[inside].mean()))
            bins.append(ConfidenceBin(each / BINS, (each + 1) / BINS, int(inside.sum()), mean, share))
    return tuple(bins)


def calibration_error(bins: Sequence[ConfidenceBin]) -> float:
    """Return the expected calibration error: the mean distance of confidence and accuracy, weighted by images."""
    images = sum(each.images for each in bins)
    return sum(each.images * abs(each.confidence - each.accuracy) for each in bins) / images if images else 0.0


def log_loss(found: Predictions) -> float:
    """Return the mean negative logarithm of the true class's probability; 0.0 without images."""
    return max(0.0, float(found.losses.mean())) if len(found.labels) else 0.0


def worst_mistakes(found: Predictions, classes: Sequence[str], most: int) -> tuple[HardPhoto, ...]:
    """Return the mistakes whose true class was given the lowest probability, the worst first."""
    names, true_scores = found.image_names, found.true_scores
    wrong = [row for row in range(len(names)) if found.labels[row] != found.predicted[row]]
    ordered = sorted(wrong, key=lambda row: (true_scores[row], row))
    return tuple(
        HardPhoto(
            image=names[row],
            true=classes[found.labels[row]],
            predicted=classes[found.predicted[row]],
            predicted_score=float(found.scores[row, found.predicted[row]]),
            true_score=float(true_scores[row]),
        )
        for row in ordered[:most]
    )
