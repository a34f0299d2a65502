"""How surely a test on so many photos shows a difference, and how many photos it would take.

The test is the exact one-sided McNemar test. Of the photos a share is right by one model alone (the `disagreement`); by
a `gain` in accuracy more of them are right by the second model than by the first. Both are summed over, nothing is
approximated but numbers of disagreements that are less likely than `_NEVER`.
"""

from __future__ import annotations

MOST_PHOTOS = 1_000_000
_NEVER = 1e-12


def power(photos: int, gain: float, disagreement: float, level: float) -> float:
    """Return the chance that the test at a level shows a second model that is better by `gain` (0.02 are 2 points).

    Raises:
        ValueError: a gain that is not above 0, or above the disagreement, which bounds it.
    """
    import numpy as np
    from scipy.stats import binom

    if not 0 < gain <= disagreement <= 1:
        raise ValueError(f"a gain of {gain:g} needs a disagreement from there to 1, not {disagreement:g}")
    lowest, highest = binom.ppf([_NEVER, 1 - _NEVER], photos, disagreement)
    apart = np.arange(int(lowest), int(highest) + 1)
    least = binom.isf(level, apart, 0.5) + 1  # of them, right by the second model, for a p-value of at most `level`
    shown = binom.sf(least - 1, apart, (disagreement + gain) / (2 * disagreement))
    return float((binom.pmf(apart, photos, disagreement) * shown).sum())


def photos_needed(gain: float, disagreement: float, level: float, wanted: float = 0.8) -> int | None:
    """Return the least number of photos whose `power` is at least `wanted`; None above `MOST_PHOTOS`.

    The power rises in steps, so a few more photos may have a little less of it.

    Raises:
        ValueError: as `power`.
    """
    low, high = 0, 8
    while power(high, gain, disagreement, level) < wanted:
        if high == MOST_PHOTOS:
            return None
        low, high = high, min(2 * high, MOST_PHOTOS)
    while high - low > 1:
        middle = (low + high) // 2
        if power(middle, gain, disagreement, level) >= wanted:
            high = middle
        else:
            low = middle
    return high
