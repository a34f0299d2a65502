"""Writes the predictions as a CSV file, one line an image, for a person with a spreadsheet or a data frame."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from tasks.evaluation.predictions import Predictions
from tasks.run.escaping import csv_text
from tasks.run.record_store import write_atomically

MOST_SCORES = 5_000_000
"""With more of them the file would have some 50 MB; then the scores are in predictions.safetensors alone."""

_HEAD = ("image", "true", "predicted", "predicted score", "true score")


def write_table(found: Predictions, classes: Sequence[str], path: Path) -> None:
    """Write a line for each image: its name, both classes, their scores, and the score of each class.

    Raises:
        DiskFailed: the file cannot be written.
    """
    names = [csv_text(name) for name in classes]
    has_scores = found.scores.size <= MOST_SCORES
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_HEAD, *(f"score of {name}" for name in names if has_scores)])
    for image, true, predicted, scores in zip(
        found.image_names, found.labels, found.predicted, found.scores, strict=True
    ):
        pair = [names[true], names[predicted], _score(scores[predicted]), _score(scores[true])]
        writer.writerow([image, *pair, *(_score(score) for score in scores if has_scores)])
    write_atomically(path, text.getvalue().encode())


def _score(value: float) -> str:
    return f"{value:.6g}"
