"""What is counted from predictions, against sums that are made in another way."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.evaluation.counts import (
    calibration_error,
    class_results,
    confusions,
    log_loss,
    reliability,
    worst_mistakes,
)
from tasks.evaluation.predictions import Predictions
from tasks.evaluation.record import ClassResult, Confusion
from tasks.evaluation.table import write_table
from tests.tasks.evaluation.predicted import predictions

CLASSES = ("cat", "dog", "owl")
FOUND = predictions(
    labels=[0, 0, 0, 1, 1, 2],
    scores=[[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.3, 0.4, 0.3], [0.6, 0.4, 0.0], [0.0, 1.0, 0.0], [0.1, 0.1, 0.8]],
)


def test_each_class_and_each_confusion_is_counted() -> None:
    assert class_results(FOUND, CLASSES) == (
        ClassResult("cat", 3, 1, 2),
        ClassResult("dog", 2, 1, 3),
        ClassResult("owl", 1, 1, 1),
    )
    assert confusions(FOUND, CLASSES) == (Confusion("cat", "dog", 2), Confusion("dog", "cat", 1))


def test_the_worst_mistakes_gave_the_true_class_the_least() -> None:
    worst = worst_mistakes(FOUND, CLASSES, 2)

    assert [(photo.image, photo.true, photo.predicted) for photo in worst] == [
        ("00000/00000001.jpg", "cat", "dog"),
        ("00000/00000002.jpg", "cat", "dog"),
    ]
    assert [worst[0].true_score, worst[0].predicted_score] == pytest.approx([0.2, 0.7])


def test_the_log_loss_of_a_true_class_with_probability_0_is_finite() -> None:
    assert log_loss(predictions([0], [[1.0, 0.0]])) == 0.0
    assert log_loss(predictions([0, 0], [[0.5, 0.5], [0.25, 0.75]])) == pytest.approx(math.log(8) / 2)
    assert 80 < log_loss(predictions([0], [[0.0, 1.0]])) < 90


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0.0, 1.0, width=32)), min_size=1, max_size=40))
def test_the_calibration_error_is_the_sum_over_the_bins(rows: list[tuple[int, float]]) -> None:
    found = predictions([label for label, _ in rows], [[score, 1 - score] for _, score in rows])

    bins = reliability(found)

    total = 0.0
    for low in range(10):
        inside = [
            (max(scores), label == taken)
            for scores, label, taken in zip(found.scores.tolist(), found.labels, found.predicted, strict=True)
            if low / 10 < max(scores) <= (low + 1) / 10
        ]
        total += abs(sum(score for score, _ in inside) - sum(right for _, right in inside))
    assert calibration_error(bins) == pytest.approx(total / len(rows), abs=1e-9)
    assert sum(each.images for each in bins) == len(rows)


def test_a_class_whose_name_is_a_formula_stays_text_in_the_table(tmp_path: Path) -> None:
    names = ('=HYPERLINK("http://x")', "@sum", "plain, with a comma\r=1+1")

    write_table(FOUND, names, tmp_path / "table.csv")

    assert "\r" not in (tmp_path / "table.csv").read_bytes().decode()
    with (tmp_path / "table.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head[5:] == ['score of \'=HYPERLINK("http://x")', "score of '@sum", r"score of plain, with a comma\r=1+1"]
    assert rows[1][:3] == ["00000/00000001.jpg", '\'=HYPERLINK("http://x")', "'@sum"]
    assert [float(cell) for cell in rows[1][3:]] == pytest.approx([0.7, 0.2, 0.2, 0.7, 0.1])


def test_without_images_nothing_is_divided() -> None:
    nobody = np.empty(0, np.int64)
    none = Predictions(nobody, nobody, nobody, np.empty((0, 3), np.float32))

    assert (log_loss(none), reliability(none), confusions(none, CLASSES)) == (0.0, (), ())
    assert calibration_error(()) == 0.0
