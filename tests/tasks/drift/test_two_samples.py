"""The tests for change keep their level under no change, and find the shifts that they are for."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom

from tasks.drift.two_samples import compare_confidences, compare_embeddings, compare_shares

RUNS, LEVEL = 200, 0.05
MOST_ALARMS = int(binom.ppf(0.9999, RUNS, LEVEL))  # 23: once in 10,000 a correct test would have more
LEAST_ALARMS = int(binom.ppf(0.0001, RUNS, LEVEL))
CLASSES = 12

Draw = Callable[[np.random.Generator], float]


def _embeddings(generator: np.random.Generator) -> float:
    draws = [generator.standard_t(4, size=(rows, 24)) for rows in (30, 22)]
    return compare_embeddings(*draws, permutations=99).p_value


def _shares(generator: np.random.Generator) -> float:
    shares = generator.dirichlet(np.ones(CLASSES))
    return compare_shares(
        generator.multinomial(90, shares), generator.multinomial(40, shares), permutations=199
    ).p_value


def _confidences(generator: np.random.Generator) -> float:
    return compare_confidences(generator.beta(8, 1, size=120), generator.beta(8, 1, size=70)).p_value


@pytest.mark.parametrize("draw", [_embeddings, _shares, _confidences])
def test_an_alarm_without_a_change_is_as_rare_as_the_level_says(draw: Draw) -> None:
    generator = np.random.default_rng(7)
    alarms = sum(draw(generator) <= LEVEL for _ in range(RUNS))

    assert LEAST_ALARMS <= alarms <= MOST_ALARMS


def test_a_shift_of_a_twentieth_of_a_deviation_is_found_in_1280_dimensions() -> None:
    generator = np.random.default_rng(1)
    reference, same, shifted = generator.standard_normal((3, 1000, 1280))
    found = compare_embeddings(reference, shifted + 0.05)
    unchanged = compare_embeddings(reference, same)

    assert found.p_value <= 0.01
    assert unchanged.p_value > LEVEL
    assert found.statistic > unchanged.statistic


def test_the_discrepancy_is_that_of_its_definition() -> None:
    generator = np.random.default_rng(2)
    first, second = generator.standard_normal((7, 3)), generator.standard_normal((5, 3)) + 0.4
    rows = np.concatenate([first, second])
    distances = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    kernel = np.exp(-(distances**2) / (2 * np.median(distances[np.triu_indices(12, 1)]) ** 2))
    pairs = [kernel[i, j] for i in range(7) for j in range(7) if i != j]
    others = [kernel[i, j] for i in range(7, 12) for j in range(7, 12) if i != j]

    expected = np.mean(pairs) + np.mean(others) - 2 * kernel[:7, 7:].mean()
    assert compare_embeddings(first, second).statistic == pytest.approx(expected, rel=1e-5)


def test_embeddings_that_are_all_equal_are_no_change() -> None:
    assert compare_embeddings(np.ones((5, 3)), np.ones((6, 3))).p_value == 1


def test_classes_that_are_predicted_more_often_and_lower_confidence_are_found() -> None:
    generator = np.random.default_rng(3)
    even = np.full(CLASSES, 20)

    assert compare_shares(even, np.array([60, *[15] * (CLASSES - 1)])).p_value <= 0.01
    assert compare_shares(even, even // 2).p_value == 1
    assert compare_confidences(generator.beta(8, 1, size=200), generator.beta(4, 1, size=100)).p_value <= 0.01


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: compare_embeddings(np.ones((1, 3)), np.ones((5, 3))), r"reference has the shape \(1, 3\)"),
        (lambda: compare_embeddings(np.ones((5, 3)), np.full((5, 3), np.nan)), "observed has the shape"),
        (lambda: compare_embeddings(np.ones((5, 3)), np.ones((5, 4))), "have 3 and 4 numbers"),
        (lambda: compare_shares(np.array([1, 2]), np.array([0, 0])), "3 reference and 0 observed photos"),
        (lambda: compare_confidences(np.array([0.5]), np.array([])), "observed has 0 values"),
        (lambda: compare_confidences(np.array([1.5]), np.array([0.5])), "each from 0 to 1"),
    ],
)
def test_samples_that_cannot_be_compared_are_refused(call: Callable[[], object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        call()
