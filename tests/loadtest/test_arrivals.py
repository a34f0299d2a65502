"""Tests of the arrival process: it is Poisson, follows its stages, and is the same for the same seed."""

import itertools
import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.arrivals import Stage, expected_arrivals, poisson_arrivals, total_seconds

stages = st.lists(
    st.builds(Stage, rate_per_second=st.floats(0, 200), seconds=st.floats(0.01, 5)), min_size=1, max_size=5
)


@settings(deadline=None, max_examples=50)
@given(stages, st.integers(), st.integers(1, 4))
def test_arrivals_ascend_lie_within_the_stages_and_repeat_for_the_same_seed(
    plan: list[Stage], seed: int, workers: int
) -> None:
    times = list(poisson_arrivals(plan, seed=seed, worker=workers - 1, workers=workers))
    assert times == sorted(times)
    assert all(0 <= time < total_seconds(plan) for time in times)
    assert times == list(poisson_arrivals(plan, seed=seed, worker=workers - 1, workers=workers))


@settings(deadline=None, max_examples=50)
@given(st.floats(0.01, 3), st.integers())
def test_a_stage_of_rate_0_has_no_arrivals(seconds: float, seed: int) -> None:
    plan = [Stage(100, 1), Stage(0, seconds), Stage(100, 1)]
    assert not [time for time in poisson_arrivals(plan, seed=seed) if 1 <= time < 1 + seconds]


def test_gaps_are_exponential_by_a_kolmogorov_smirnov_test() -> None:
    times = list(poisson_arrivals([Stage(200, 100)], seed=7))
    gaps = sorted(after - before for before, after in itertools.pairwise(times))
    distance = max(abs((rank + 1) / len(gaps) - (1 - math.exp(-200 * gap))) for rank, gap in enumerate(gaps))
    assert distance < 1.63 / math.sqrt(len(gaps))  # the critical value at 1 %, n = 20,000


def test_counts_a_second_have_a_variance_equal_to_their_mean() -> None:
    times = list(poisson_arrivals([Stage(50, 2000)], seed=11))
    counts = [0] * 2000
    for time in times:
        counts[int(time)] += 1
    # The index of dispersion of n Poisson counts has standard deviation sqrt(2/(n-1)) = 0.032.
    assert statistics.variance(counts) / statistics.mean(counts) == pytest.approx(1, abs=0.11)


def test_the_number_of_arrivals_follows_the_rate_of_each_stage() -> None:
    plan = [Stage(100, 50), Stage(400, 50)]
    times = list(poisson_arrivals(plan, seed=3))
    first = sum(time < 50 for time in times)
    assert first == pytest.approx(5_000, abs=4 * math.sqrt(5_000))
    assert len(times) == pytest.approx(expected_arrivals(plan), abs=4 * math.sqrt(25_000))


def test_workers_together_send_the_whole_rate_at_different_times() -> None:
    shares = [set(poisson_arrivals([Stage(300, 100)], seed=5, worker=worker, workers=3)) for worker in range(3)]
    assert sum(map(len, shares)) == pytest.approx(30_000, abs=4 * math.sqrt(30_000))
    assert not shares[0] & shares[1] and not shares[1] & shares[2]


@pytest.mark.parametrize(("rate", "seconds"), [(-1, 1), (math.inf, 1), (math.nan, 1), (1, 0), (1, -2), (1, math.nan)])
def test_a_stage_refuses_an_invalid_rate_or_duration(rate: float, seconds: float) -> None:
    with pytest.raises(ValueError, match="must be a finite number"):
        Stage(rate, seconds)
