"""Find photos that are much darker, brighter or less sharp than the others; pure functions.

A photo is an outlier by the modified z-score (Iglewicz & Hoaglin 1993): its distance from the median in units of the
median absolute deviation, which outliers themselves hardly move.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

FAR = 3.5
"""The modified z-score beyond which the authors call a value an outlier."""

DARK, BRIGHT = 40.0, 225.0
"""Mean levels, of 255: an outlier that is not this dark or bright is seen well all the same."""

BLURRED = 10.0
_LEAST_SPREAD = 0.1
_NORMAL = 0.6745
"""The median absolute deviation of a normal distribution with deviation 1."""


@dataclass(frozen=True, slots=True)
class Outlier:
    """A photo by its row, and its value: a mean level of 0 to 255, or a sharpness."""

    row: int
    value: float


def brightness_of(thumbnails: Sequence[bytes]) -> Values:
    """Return the mean level of each thumbnail, (n,), 0 to 255."""
    return np.array([np.frombuffer(each, np.uint8).mean() for each in thumbnails])


def too_dark(brightness: Values) -> list[Outlier]:
    """Return the photos that are dark and far below the others, the darkest first."""
    return _sorted(brightness, (_scores(brightness) < -FAR) & (brightness < DARK))


def too_bright(brightness: Values) -> list[Outlier]:
    """Return the photos that are bright and far above the others, the brightest first."""
    found = _sorted(brightness, (_scores(brightness) > FAR) & (brightness > BRIGHT))
    return found[::-1]


def too_blurred(sharpness: Values) -> list[Outlier]:
    """Return the photos whose sharpness is far below the others' by its logarithm, the least sharp first.

    It is also a tenth of the median at most: photos that are all alike have close values.
    """
    is_far = _scores(np.log(np.maximum(sharpness, 1e-3))) < -FAR
    return _sorted(sharpness, is_far & (sharpness <= np.median(sharpness) / BLURRED)) if len(sharpness) else []


def _scores(values: Values) -> Values:
    """Return the modified z-scores of values."""
    if not len(values):
        return values
    distances = values - np.median(values)
    spread = max(float(np.median(np.abs(distances))), _LEAST_SPREAD)
    scores: Values = _NORMAL * distances / spread
    return scores


def _sorted(values: Values, chosen: NDArray[np.bool_]) -> list[Outlier]:
    rows = sorted(np.flatnonzero(chosen).tolist(), key=lambda row: (values[row], row))
    return [Outlier(row, float(values[row])) for row in rows]
