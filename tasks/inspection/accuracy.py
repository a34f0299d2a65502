"""Estimate from embeddings how accurate a trained head will be, before it is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.inspection.record import Accuracy, Estimate

if TYPE_CHECKING:
    from tasks.inspection.neighbours import Labels


def expected_accuracy(by_neighbours: Labels, by_line: Labels, labels: Labels, backbone: str) -> Accuracy:
    """Return the range from the lower end of the worse estimate to the upper end of the better one.

    `by_neighbours` and `by_line`: the class that each photo gets from others, (n,), of photos that have no twin here.
    """
    estimates = (
        _estimate("10 nearest neighbours", int((by_neighbours == labels).sum()), len(labels)),
        _estimate("linear classifier", int((by_line == labels).sum()), len(labels)),
    )
    return Accuracy(min(e.low for e in estimates), max(e.high for e in estimates), backbone, estimates)


def _estimate(method: str, right: int, photos: int) -> Estimate:
    from scipy.stats import binomtest

    interval = binomtest(right, photos).proportion_ci(0.95, method="wilson")
    return Estimate(method, right / photos, float(interval.low), float(interval.high), photos)
