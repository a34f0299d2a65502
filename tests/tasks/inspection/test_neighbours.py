"""Tests of judging labels by neighbours, on clouds of points whose truth is known."""

from types import SimpleNamespace

import numpy as np
import pytest

from tasks.inspection.inspect import judge_labels
from tasks.inspection.neighbours import (
    Features,
    Labels,
    linear_answers,
    nearest,
    suspects_of,
    unit_length,
    votes_of,
)

CLASSES, EACH, WIDTH = 3, 40, 16


@pytest.fixture
def clouds() -> tuple[Features, Labels]:
    """Three clouds of points on the unit sphere, far from each other."""
    random = np.random.default_rng(0)
    centres = np.eye(CLASSES, WIDTH)
    labels = np.repeat(np.arange(CLASSES), EACH)
    return unit_length((centres[labels] + random.normal(0, 0.1, (len(labels), WIDTH))).astype(np.float32)), labels


def groups(count: int) -> np.ndarray:
    return np.arange(count)


def test_neighbours_are_the_nearest_others_in_order(clouds: tuple[Features, Labels]) -> None:
    features, _ = clouds
    rows, cosines = nearest(features, groups(len(features)), 5)
    whole = features @ features.T
    np.fill_diagonal(whole, -1)
    assert (rows[7] == np.argsort(-whole[7])[:5]).all()
    assert cosines[7] == pytest.approx(np.sort(whole[7])[::-1][:5])


def test_a_copy_of_a_photo_is_no_neighbour(clouds: tuple[Features, Labels]) -> None:
    features, _ = clouds
    doubled = np.concatenate([features, features[:1]])
    twins = groups(len(doubled))
    twins[-1] = 0
    rows, _ = nearest(doubled, twins)
    assert len(features) not in rows[0] and 0 not in rows[len(features)]


def test_a_wrong_label_among_its_neighbours_is_a_suspect_and_right_ones_are_none(
    clouds: tuple[Features, Labels],
) -> None:
    features, labels = clouds
    rows, cosines = nearest(features, groups(len(features)))
    assert suspects_of(votes_of(rows, cosines, labels, CLASSES), labels) == []

    wrong = labels.copy()
    wrong[3] = 2
    (found,) = suspects_of(votes_of(rows, cosines, wrong, CLASSES), wrong)
    assert (found.row, found.other) == (3, 0) and found.share > 0.9


def test_the_linear_answers_are_those_of_classifiers_that_never_saw_the_photo() -> None:
    random = np.random.default_rng(1)
    features = unit_length(random.normal(0, 1, (60, 12)).astype(np.float32))
    labels = random.integers(0, CLASSES, 60)
    answers = linear_answers(features, labels, CLASSES)
    wide = np.hstack([features.astype(float), np.ones((60, 1))])
    for left_out in range(60):
        kept = np.arange(60) != left_out
        known, targets = wide[kept], np.eye(CLASSES)[labels[kept]]
        weights = np.linalg.solve(known.T @ known + 1e-2 * np.eye(13), known.T @ targets)
        assert answers[left_out] == (wide[left_out] @ weights).argmax()


def test_copies_are_no_evidence_of_what_can_be_told_apart() -> None:
    """Labels by the toss of a coin, each photo there twice: nobody can do better than one in two."""
    random = np.random.default_rng(5)
    features = np.repeat(unit_length(random.normal(0, 1, (300, WIDTH)).astype(np.float32)), 2, axis=0)
    images = [
        SimpleNamespace(name=f"{n}.jpg", class_index=int(label), split="train", class_name="cat")
        for n, label in enumerate(np.repeat(random.integers(0, 2, 300), 2))
    ]
    twins = tuple((images[n], images[n + 1]) for n in range(0, 600, 2))
    examined = SimpleNamespace(classes=("cat", "dog"), twins=twins)
    survey = SimpleNamespace(features=features)
    _, accuracy = judge_labels(images, range(600), survey, examined)  # type: ignore[arg-type]
    assert accuracy is not None and {each.photos for each in accuracy.estimates} == {300}
    assert accuracy.low < 0.5 < accuracy.high < 0.65
