"""Compares two models by what each said of the same photos: an exact test, and intervals from a paired bootstrap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.evaluation.predictions import Predictions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES, SEED = 10_000, 0
_CELLS = 4_000_000  # of one block of resamples, 32 MB


@dataclass(frozen=True)
class Difference:
    """A difference, the second model minus the first, with the ends of its bootstrap interval of 95 %."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """Two models on the same `photos`: `only_first` are right by the first alone, `only_second` by the second alone.

    `p_value` is that of the exact McNemar test, two-sided: the chance of so uneven a split of the photos on which they
    disagree, were both equally accurate (McNemar 1947, "Note on the sampling error of the difference between
    correlated proportions or percentages").
    """

    photos: int
    only_first: int
    only_second: int
    p_value: float
    accuracy: Difference
    log_loss: Difference


def compare_paired(first: Predictions, second: Predictions) -> Paired:
    """Compare two models on the photos of one test split, (N,), N ≥ 1.

    Raises:
        ValueError: the photos are not the same, or there is none.
    """
    import numpy as np

    if not len(first.index) or not np.array_equal(first.index, second.index):
        raise ValueError("the two models were tested on different photos")
    right = [each.labels == each.predicted for each in (first, second)]
    only_first, only_second = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    mean_of = _resampled_means(len(first.index))
    return Paired(
        photos=len(first.index),
        only_first=only_first,
        only_second=only_second,
        p_value=mcnemar_p_value(only_first, only_second),
        accuracy=_difference(right[1].astype(float) - right[0].astype(float), mean_of),
        log_loss=_difference(second.losses - first.losses, mean_of),
    )


def mcnemar_p_value(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of the exact McNemar test for the photos that one model alone has right."""
    from scipy.stats import binomtest

    apart = only_first + only_second
    return float(binomtest(only_second, apart).pvalue) if apart else 1.0


def _difference(each: NDArray[np.float64], mean_of: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Difference:
    import numpy as np

    low, high = np.quantile(mean_of(each), (0.025, 0.975))
    return Difference(float(each.mean()), float(low), float(high))


def _resampled_means(photos: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return a function that gives the mean of each of `RESAMPLES` resamples, always the same ones."""
    import numpy as np

    def means(values: NDArray[np.float64]) -> NDArray[np.float64]:
        random, rows = np.random.default_rng(SEED), max(1, _CELLS // photos)
        blocks = [min(rows, RESAMPLES - begun) for begun in range(0, RESAMPLES, rows)]
        return np.concatenate([values[random.integers(0, photos, (count, photos))].mean(1) for count in blocks])

    return means
