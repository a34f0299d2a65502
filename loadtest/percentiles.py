"""Compute percentiles from an HdrHistogram, but only those for which there are enough samples. Pure.

The minimum number of samples, the floor, follows MLPerf's early-stopping rule (mlcommons/inference,
loadgen/early_stopping.cc; Reddi et al., "MLPerf Inference Benchmark", arXiv:1911.02549): a percentile may be reported
when, with 99 % confidence, the second-largest sample is not below the true percentile. With q = 1 - p/100 that is
P[Binomial(n, q) <= 1] <= 0.01, which gives n >= 11 for p50, 64 for p90, 130 for p95, 662 for p99, 6636 for p99.9.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hdrh.histogram import HdrHistogram

CONFIDENCE = 0.99
PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)
HIGHEST_SECONDS = 3600
SIGNIFICANT_FIGURES = 3
"""Values are stored in microseconds, with an error of at most 0.1 %."""

_MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Percentile:
    """One percentile: its value, an upper bound with 99 % confidence, and the number of samples.

    `value_ms` and `upper_ms` are None when `samples` is below `floor`.
    """

    percentile: float
    value_ms: float | None
    upper_ms: float | None
    samples: int
    floor: int


def new_histogram() -> Any:
    """Return an empty HdrHistogram for values from 1 µs to one hour, in microseconds."""
    return HdrHistogram(1, HIGHEST_SECONDS * _MICROSECONDS, SIGNIFICANT_FIGURES)


def record_seconds(histogram: Any, seconds: float) -> None:
    """Record one value, limited to the range from 1 µs to one hour."""
    microseconds = int(seconds * _MICROSECONDS)
    histogram.record_value(min(max(microseconds, 1), HIGHEST_SECONDS * _MICROSECONDS))


def sample_floor(percentile: float) -> int:
    """Return the minimum number of samples for reporting a percentile (0 < p < 100).

    Raises:
        ValueError: the percentile is not between 0 and 100.
    """
    if not 0 < percentile < 100:
        raise ValueError(f"percentile={percentile!r} must be between 0 and 100, both excluded")
    above = 1 - percentile / 100
    few, enough = 1, 2
    while _at_most_one(enough, above) > 1 - CONFIDENCE:
        few, enough = enough, enough * 2
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if _at_most_one(middle, above) <= 1 - CONFIDENCE else (middle, enough)
    return enough


def samples_above_bound(samples: int, percentile: float) -> int:
    """Return the largest t with P[Binomial(samples, 1 - p/100) <= t] <= 0.01.

    With 99 % confidence, the sample with exactly t samples above it is not below the true percentile. `samples` must be
    at least `sample_floor(percentile)`.
    """
    above = 1 - percentile / 100
    mean, deviation = samples * above, math.sqrt(samples * above * (1 - above))
    count = max(0, int(mean - 12 * deviation) - 1)  # less than 1e-30 of the probability lies below
    mass = _binomial(samples, count, above)
    while mass + _binomial(samples, count + 1, above) <= 1 - CONFIDENCE:
        count += 1
        mass += _binomial(samples, count, above)
    return count


def summarise(histogram: Any, percentiles: Sequence[float] = PERCENTILES) -> tuple[Percentile, ...]:
    """Return percentiles of a histogram of microseconds; values are None when there are too few samples."""
    return tuple(_percentile(histogram, percentile) for percentile in percentiles)


def highest_allowed(samples: int, percentiles: Sequence[float] = PERCENTILES) -> float | None:
    """Return the highest percentile for which `samples` are enough, or None when there is none."""
    return max((p for p in percentiles if samples >= sample_floor(p)), default=None)


def value_ms(histogram: Any, percentile: float) -> float:
    """Return a percentile in milliseconds, even when there are few samples."""
    return float(histogram.get_value_at_percentile(percentile)) / 1000


def _percentile(histogram: Any, percentile: float) -> Percentile:
    samples, floor = int(histogram.total_count), sample_floor(percentile)
    if samples < floor:
        return Percentile(percentile, None, None, samples, floor)
    rank = samples - samples_above_bound(samples, percentile)
    upper = value_ms(histogram, 100 * rank / samples)
    return Percentile(percentile, value_ms(histogram, percentile), upper, samples, floor)


def _at_most_one(samples: int, above: float) -> float:
    return _binomial(samples, 0, above) + _binomial(samples, 1, above)


def _binomial(samples: int, count: int, probability: float) -> float:
    """Return P[Binomial(samples, probability) = count], computed with logarithms to avoid overflow."""
    ways = math.lgamma(samples + 1) - math.lgamma(count + 1) - math.lgamma(samples - count + 1)
    return math.exp(ways + count * math.log(probability) + (samples - count) * math.log1p(-probability))
