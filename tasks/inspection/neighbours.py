"""Judge labels by photos that look alike: who disagrees with its neighbours, and how well classes can be told apart.

Pure functions on embeddings. An embedding is scaled to length 1, so that the product of two is their cosine.

The accuracy that a classifier would reach is estimated by leaving each photo out: by its nearest neighbours, and by a
linear classifier in closed form. For ridge regression with hat matrix H the prediction of a photo that was left out is
(fitted - h * label) / (1 - h), with h on H's diagonal (Cawley & Talbot 2003).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]
Labels = NDArray[np.int64]

NEIGHBOURS = 10
SUSPECT_SHARE, OWN_SHARE = 0.8, 0.1
_RIDGE = 1e-2
_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Suspect:
    """A photo whose neighbours are nearly all of another class: its row, that class, and its share."""

    row: int
    other: int
    share: float


def unit_length(features: Features) -> Features:
    """Return the rows at length 1."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    scaled: Features = (features / np.maximum(lengths, 1e-12)).astype(np.float32)
    return scaled


def nearest(
    features: Features, twins: NDArray[np.int64], count: int = NEIGHBOURS
) -> tuple[NDArray[np.int64], Features]:
    """Return the rows of each photo's nearest others and their cosines, (n, count) each, the nearest first.

    `twins`: a group for each photo; photos of its own group are no neighbours, because a copy always agrees.
    """
    count = min(count, len(features) - 1)
    rows, cosines = [], []
    for start in range(0, len(features), _AT_ONCE):
        part = features[start : start + _AT_ONCE] @ features.T
        part[twins[start : start + _AT_ONCE, None] == twins[None, :]] = -1.0
        found = np.argpartition(-part, count - 1, axis=1)[:, :count]
        alike = np.take_along_axis(part, found, axis=1)
        order = np.argsort(-alike, axis=1, kind="stable")
        rows.append(np.take_along_axis(found, order, axis=1))
        cosines.append(np.take_along_axis(alike, order, axis=1))
    return np.concatenate(rows), np.concatenate(cosines)


def votes_of(rows: NDArray[np.int64], cosines: Features, labels: Labels, classes: int) -> NDArray[np.float64]:
    """Return the share of each class among a photo's neighbours, weighted by their cosine, (n, classes)."""
    votes = np.zeros((len(rows), classes))
    weights = np.maximum(cosines, 1e-6)
    np.add.at(votes, (np.arange(len(rows))[:, None], labels[rows]), weights)
    shares: NDArray[np.float64] = votes / weights.sum(axis=1, keepdims=True)
    return shares


def suspects_of(votes: NDArray[np.float64], labels: Labels) -> list[Suspect]:
    """Return the photos that may have a wrong label, the surest first."""
    others = votes.copy()
    others[np.arange(len(labels)), labels] = 0.0
    other, share = others.argmax(axis=1), others.max(axis=1)
    own = votes[np.arange(len(labels)), labels]
    found = np.flatnonzero((share >= SUSPECT_SHARE) & (own <= OWN_SHARE))
    ordered = sorted(found.tolist(), key=lambda row: (-share[row], row))
    return [Suspect(row, int(other[row]), float(share[row])) for row in ordered]


def linear_answers(features: Features, labels: Labels, classes: int) -> Labels:
    """Return the class that a linear classifier gives each photo which it was not trained on, (n,)."""
    wide = np.hstack([features.astype(np.float64), np.ones((len(features), 1))])
    targets = np.eye(classes)[labels]
    penalty = _RIDGE * np.eye(wide.shape[1])
    solved = np.linalg.solve(wide.T @ wide + penalty, wide.T)
    fitted = wide @ (solved @ targets)
    held = np.einsum("ij,ji->i", wide, solved)[:, None]
    answers: Labels = ((fitted - held * targets) / np.maximum(1 - held, 1e-9)).argmax(axis=1)
    return answers
