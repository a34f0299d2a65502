"""Tests of percentiles: they need enough samples, and their bounds hold with the stated confidence."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.percentiles import (
    highest_allowed,
    new_histogram,
    record_seconds,
    sample_floor,
    samples_above_bound,
    summarise,
)


def probability_of_at_most(count: int, samples: int, above: float) -> float:
    return sum(math.comb(samples, k) * above**k * (1 - above) ** (samples - k) for k in range(count + 1))


@pytest.mark.parametrize(("percentile", "floor"), [(50, 11), (90, 64), (95, 130), (99, 662), (99.9, 6636)])
def test_sample_floors_are_those_of_mlperf(percentile: float, floor: int) -> None:
    assert sample_floor(percentile) == floor


@settings(deadline=None, max_examples=50)
@given(st.floats(1, 99.5))
def test_a_floor_is_the_fewest_samples_that_reach_99_percent_confidence(percentile: float) -> None:
    floor, above = sample_floor(percentile), 1 - percentile / 100
    assert probability_of_at_most(1, floor, above) <= 0.01
    assert floor == 2 or probability_of_at_most(1, floor - 1, above) > 0.01


@settings(deadline=None, max_examples=50)
@given(st.sampled_from([50.0, 90.0, 95.0, 99.0]), st.integers(0, 800))
def test_the_bound_leaves_as_many_samples_above_as_the_binomial_allows(percentile: float, more: int) -> None:
    samples, above = sample_floor(percentile) + more, 1 - percentile / 100
    count = samples_above_bound(samples, percentile)
    assert probability_of_at_most(count, samples, above) <= 0.01 < probability_of_at_most(count + 1, samples, above)


@pytest.mark.parametrize("samples", [0, 1, 661])
def test_no_p99_is_reported_from_fewer_than_662_samples(samples: int) -> None:
    histogram = new_histogram()
    for _ in range(samples):
        record_seconds(histogram, 0.010)
    p99 = next(p for p in summarise(histogram) if p.percentile == 99)
    assert (p99.value_ms, p99.upper_ms, p99.samples, p99.floor) == (None, None, samples, 662)


@settings(deadline=None, max_examples=50)
@given(st.integers(), st.integers(662, 900), st.floats(0.1, 3))
def test_a_percentile_is_the_sample_of_its_rank_to_a_thousandth(seed: int, samples: int, spread: float) -> None:
    draw = random.Random(seed)
    latencies = [0.010 * draw.lognormvariate(0, spread) for _ in range(samples)]
    histogram = new_histogram()
    for latency in latencies:
        record_seconds(histogram, latency)
    p99 = next(p for p in summarise(histogram) if p.percentile == 99)
    exact = sorted(latencies)[int(0.99 * len(latencies) + 0.5) - 1] * 1000
    assert p99.value_ms == pytest.approx(exact, rel=2e-3, abs=2e-3)
    assert p99.value_ms is not None and p99.upper_ms is not None and p99.upper_ms >= p99.value_ms


def test_the_upper_bound_of_p90_holds_in_99_of_100_experiments() -> None:
    draw, held, experiments = random.Random(1), 0, 400
    true_p90_ms = -math.log(0.1) * 10
    for _ in range(experiments):
        histogram = new_histogram()
        for _ in range(100):
            record_seconds(histogram, draw.expovariate(1) * 0.010)
        upper = next(p for p in summarise(histogram, [90.0])).upper_ms
        held += upper is not None and upper >= true_p90_ms
    assert held >= 0.975 * experiments  # 99 % less three standard deviations


def test_values_outside_the_range_are_recorded_at_its_ends() -> None:
    histogram = new_histogram()
    record_seconds(histogram, 0)
    record_seconds(histogram, 100_000)
    assert histogram.total_count == 2


@pytest.mark.parametrize(("samples", "highest"), [(10, None), (11, 50.0), (64, 90.0), (662, 99.0), (10_000, 99.9)])
def test_the_highest_percentile_follows_from_the_number_of_samples(samples: int, highest: float | None) -> None:
    assert highest_allowed(samples) == highest


@pytest.mark.parametrize("percentile", [0, 100, -1])
def test_a_percentile_outside_its_range_is_refused(percentile: float) -> None:
    with pytest.raises(ValueError, match="must be between 0 and 100"):
        sample_floor(percentile)
