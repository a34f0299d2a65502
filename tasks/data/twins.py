"""Find photos that are the same or nearly the same, by their thumbnails.

A thumbnail is 16 x 16 pixels of one channel. Two photos are twins when the correlation of their thumbnails is at least
`LEAST_CORRELATION`: it does not change with brightness and contrast. `tasks.data.detail` confirms them. All pairs are
compared, by matrix products on halved thumbnails that are sorted by their first principal component, whose difference
is at most their distance, so that most blocks are left out. 60,000 photos take 2 to 4 s on one core; memory is bounded
by the size of a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

SIDE_PX = 16
LEAST_CORRELATION = 0.9975
"""Measured: the most alike distinct pictures of the sample have 0.9960; copies of a photo of 256 px that were saved
with JPEG quality 50, halved or made 5 % brighter or darker have at least 0.9975, nearly all of them 0.9985."""
LEAST_DEVIATION = 6.0
"""The standard deviation in grey levels below which a picture is nearly of one colour and is like many others."""
_ROWS, _COLUMNS, _AT_ONCE = 1024, 2048, 20_000

Vectors = npt.NDArray[np.float32]
Pairs = npt.NDArray[np.int64]


def find_twins(thumbnails: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of indices (smaller, larger) of photos that are twins; each thumbnail has 256 bytes.

    They come as they are found, because of thousands of photos that are all alike there are millions of pairs.
    """
    pixels = np.frombuffer(b"".join(thumbnails), np.uint8).reshape(len(thumbnails), SIDE_PX**2)
    vectors, indices = _normalised(pixels)
    if len(vectors) < 2:
        return
    halved = _halved(vectors)
    order = np.argsort(halved[:, 0], kind="stable")
    vectors, halved, indices = vectors[order], halved[order], indices[order]
    for pairs in _near(halved):
        for start in range(0, len(pairs), _AT_ONCE):
            part = pairs[start : start + _AT_ONCE]
            alike = np.einsum("ij,ij->i", vectors[part[:, 0]], vectors[part[:, 1]]) >= LEAST_CORRELATION
            yield from ((min(pair), max(pair)) for pair in indices[part[alike]].tolist())


def _normalised(pixels: npt.NDArray[np.uint8]) -> tuple[Vectors, Pairs]:
    """Return vectors (N, 256) of mean 0 and length 1, and their indices, without those of nearly one colour."""
    vectors = pixels.astype(np.float32)
    vectors -= vectors.mean(1, keepdims=True)
    lengths = np.linalg.norm(vectors, axis=1)
    kept = np.flatnonzero(lengths >= LEAST_DEVIATION * SIDE_PX)
    return vectors[kept] / lengths[kept, None], kept


def _halved(vectors: Vectors) -> Vectors:
    """Return vectors (N, 64), the first of whose numbers is that along the principal axis.

    Their distances are at most those of the vectors that they are made of: each is a mean of four numbers, times two.
    """
    half = SIDE_PX // 2
    halved = vectors.reshape(-1, half, 2, half, 2).sum((2, 4)).reshape(-1, half**2) / 2
    _, axes = np.linalg.eigh(halved.T @ halved)
    return np.ascontiguousarray(halved @ axes[:, ::-1])


def _near(halved: Vectors) -> Iterator[Pairs]:
    """Yield the pairs (first < second) of sorted vectors whose distance does not rule out that they are twins."""
    farthest = float(np.sqrt(2 * (1 - LEAST_CORRELATION))) + 1e-4
    halves = np.einsum("ij,ij->i", halved, halved)[:, None] / 2
    one = np.ones_like(halves)
    left, right = np.hstack([halved, -halves, one]), np.hstack([halved, one, farthest**2 / 2 - halves])
    for first in range(0, len(halved), _ROWS):
        rows = slice(first, min(first + _ROWS, len(halved)))
        end = int(np.searchsorted(halved[:, 0], halved[rows.stop - 1, 0] + farthest, side="right"))
        for column in range(first, end, _COLUMNS):
            columns = slice(column, min(column + _COLUMNS, end))
            found = np.flatnonzero(left[rows] @ right[columns].T >= 0)
            pairs = np.stack(np.divmod(found, columns.stop - column), axis=1) + np.array([first, column])
            yield pairs[pairs[:, 0] < pairs[:, 1]]
