"""Tests whether two samples are of one distribution: embeddings, predicted classes, confidences. No call, no file.

Each test has its level: under no change, `p_value` is at most α with a probability of at most α. The observations must
be independent; the same photo twice is one observation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PERMUTATIONS, SEED = 999, 0
_LEAST = 2
"""The unbiased estimate compares pairs within each sample."""


@dataclass(frozen=True)
class Comparison:
    """A test's statistic, and the chance of one at least as large were nothing changed."""

    statistic: float
    p_value: float


def compare_embeddings(
    reference: NDArray[np.floating], observed: NDArray[np.floating], *, permutations: int = PERMUTATIONS
) -> Comparison:
    """Compare embeddings, (n, d) and (m, d), by their maximum mean discrepancy, and test it by permutation.

    The statistic is the unbiased estimate of the squared discrepancy, which may be negative, with a Gaussian kernel
    whose width is the median distance of all pairs (Gretton et al. 2012, "A kernel two-sample test", equation 3 and
    section 8). Memory: 4 (n + m)² bytes for the kernel, three times that while it is made.

    Raises:
        ValueError: a sample has fewer than 2 rows, the widths differ, or a value is not finite.
    """
    import numpy as np

    for name, rows in (("reference", reference), ("observed", observed)):
        if rows.ndim != 2 or len(rows) < _LEAST or not np.isfinite(rows).all():
            raise ValueError(f"{name} has the shape {rows.shape}; needed are {_LEAST} or more rows of finite numbers")
    if reference.shape[1] != observed.shape[1]:
        raise ValueError(f"the embeddings have {reference.shape[1]} and {observed.shape[1]} numbers; they must agree")
    kernel = _gaussian_kernel(np.concatenate([reference, observed]).astype(np.float64))
    size, total = len(reference), len(kernel)
    generator = np.random.default_rng(SEED)
    members = np.zeros((total, permutations + 1), np.float32)  # in the reference: 1, by permutation
    members[:size, 0] = 1
    for column in range(1, permutations + 1):
        members[generator.permutation(total)[:size], column] = 1
    found = _discrepancies(kernel, members, size)
    return Comparison(float(found[0]), _permutation_p_value(found))


def compare_shares(
    reference: NDArray[np.integer], observed: NDArray[np.integer], *, permutations: int = PERMUTATIONS
) -> Comparison:
    """Compare how often each class was predicted, (classes,) counts each, by Pearson's chi-square of the table.

    The test is by permutation of the photos, so that it holds for classes with few photos too.

    Raises:
        ValueError: the counts are negative or of other classes, or a sample has no photo.
    """
    import numpy as np

    both = np.stack([np.asarray(reference, np.int64), np.asarray(observed, np.int64)])
    if (both < 0).any() or not both.sum(1).all():
        raise ValueError(f"{both[0].sum()} reference and {both[1].sum()} observed photos; each must have one or more")
    totals, sizes = both.sum(0), both.sum(1)
    expected = np.outer(sizes, totals[totals > 0]) / sizes.sum()
    generator = np.random.default_rng(SEED)
    drawn = generator.multivariate_hypergeometric(totals[totals > 0], sizes[0], size=permutations)
    first = np.concatenate([both[:1, totals > 0], drawn])  # (1 + permutations, classes)
    found = ((first - expected[0]) ** 2 / expected[0]).sum(1) + ((first - expected[0]) ** 2 / expected[1]).sum(1)
    return Comparison(float(found[0]), _permutation_p_value(found))


def compare_confidences(reference: NDArray[np.floating], observed: NDArray[np.floating]) -> Comparison:
    """Compare the probabilities of the predicted classes, (n,) and (m,), by the Kolmogorov-Smirnov test, two-sided.

    Equal values make the test more careful, not less.

    Raises:
        ValueError: a sample is empty, or has other numbers than probabilities.
    """
    from scipy.stats import ks_2samp

    for name, values in (("reference", reference), ("observed", observed)):
        if not len(values) or not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"{name} has {len(values)} values; needed are one or more, each from 0 to 1")
    found = ks_2samp(reference, observed)
    return Comparison(float(found.statistic), float(found.pvalue))


def _gaussian_kernel(rows: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return exp(-|x - y|² / 2w²) of all pairs of rows, (N, N), with w the median distance, and zeros on the diagonal.

    The kernel does not change with the origin; distances are exact to float64's rounding of the centred rows.
    """
    import numpy as np

    rows = rows - rows.mean(0)
    norms = (rows * rows).sum(1)
    squares = np.maximum(norms[:, None] + norms[None] - 2 * rows @ rows.T, 0)
    median = float(np.median(np.sqrt(squares[np.triu_indices(len(rows), 1)])))
    kernel: NDArray[np.float32] = (np.exp(-squares / (2 * median**2)) if median else squares == 0).astype(np.float32)
    np.fill_diagonal(kernel, 0)
    return kernel


def _discrepancies(kernel: NDArray[np.float32], members: NDArray[np.float32], size: int) -> NDArray[np.float64]:
    """Return the unbiased squared discrepancy of each division, (P,): `members`, (N, P), marks `size` rows of each."""
    import numpy as np

    other = len(kernel) - size
    sums = kernel.sum(1, dtype=np.float64)
    within = (members * (kernel @ members)).sum(0, dtype=np.float64)
    touched = sums @ members.astype(np.float64)  # all pairs with a marked row, those within twice
    across = touched - within
    beyond = sums.sum() - touched - across
    found: NDArray[np.float64] = (
        within / (size * (size - 1)) + beyond / (other * (other - 1)) - 2 * across / (size * other)
    )
    return found


def _permutation_p_value(found: NDArray[np.float64]) -> float:
    """Return the p value of the first statistic among those of all divisions (Phipson and Smyth 2010)."""
    tolerance = 1e-9 * max(1.0, float(abs(found).max()))  # equal divisions may differ by rounding
    return float((found >= found[0] - tolerance).mean())
