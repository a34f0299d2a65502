"""The paired comparison of two models, against the binomial sum and against models whose difference is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.evaluation.paired import compare_paired, mcnemar_p_value
from tasks.evaluation.predictions import Predictions
from tests.tasks.evaluation.predicted import predictions


def of_right(right: list[bool], certainty: float = 0.8) -> Predictions:
    """Return predictions of photos of class 0, right or wrong as told."""
    return predictions(
        [0] * len(right), [[certainty, 1 - certainty] if each else [1 - certainty, certainty] for each in right]
    )


EMPTY = np.empty(0, np.int64)
NOBODY = Predictions(EMPTY, EMPTY, EMPTY, np.empty((0, 2), np.float32))


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 20))
def test_mcnemars_test_is_the_binomial_sum(only_first: int, only_second: int, both: int) -> None:
    first = [True] * only_first + [False] * only_second + [True] * (both + 1)
    second = [False] * only_first + [True] * only_second + [True] * (both + 1)

    found = compare_paired(of_right(first), of_right(second))

    apart, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(apart, each) for each in range(fewer + 1)) / 2**apart
    assert found.p_value == pytest.approx(1.0 if only_first == only_second else min(1.0, 2 * tail))
    assert (found.only_first, found.only_second, found.photos) == (only_first, only_second, apart + both + 1)
    assert found.accuracy.value == pytest.approx((only_second - only_first) / found.photos)
    assert found.accuracy.low <= found.accuracy.value <= found.accuracy.high


def test_a_model_compared_with_itself_differs_by_nothing() -> None:
    found = compare_paired(of_right([True, False, True]), of_right([True, False, True]))

    assert found.p_value == 1.0
    for difference in (found.accuracy, found.log_loss):
        assert (difference.value, difference.low, difference.high) == (0.0, 0.0, 0.0)


def test_the_order_of_the_models_is_the_sign() -> None:
    first, second = of_right([True] * 6 + [False] * 4, 0.9), of_right([True] * 9 + [False], 0.7)

    one, other = compare_paired(first, second), compare_paired(second, first)

    assert one.log_loss.value == pytest.approx(-other.log_loss.value)
    assert [one.accuracy.low, one.accuracy.high] == pytest.approx([-other.accuracy.high, -other.accuracy.low])
    assert one.p_value == other.p_value


def test_equal_models_are_told_apart_in_one_of_twenty_and_better_ones_nearly_always() -> None:
    random = np.random.default_rng(3)

    def told_apart(gain: float) -> int:
        found = 0
        for _ in range(200):
            base = random.random((2, 400))
            first, second = base[0] < 0.85, base[1] < 0.85 + gain
            found += mcnemar_p_value(int((first & ~second).sum()), int((second & ~first).sum())) < 0.05
        return found

    assert told_apart(0.0) <= 15  # of 200: 5 % and the sampling error of the count
    assert told_apart(0.10) >= 180


@pytest.mark.parametrize("others", [[True], []])
def test_other_photos_or_none_are_refused(others: list[bool]) -> None:
    with pytest.raises(ValueError, match="different photos"):
        compare_paired(of_right([True, False]) if others else NOBODY, of_right(others) if others else NOBODY)
