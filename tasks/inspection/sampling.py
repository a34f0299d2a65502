"""Choose the photos that are embedded, when there is no time for all: the same for each inspection of the same data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence


def stratified(labels: Sequence[int], digests: Sequence[str], most: int) -> list[int]:
    """Return at most `most` indices in ascending order: each class in turn gives its photo with the least digest."""
    if len(labels) <= most:
        return list(range(len(labels)))
    waiting: dict[int, list[int]] = defaultdict(list)
    for index in sorted(range(len(labels)), key=lambda index: digests[index], reverse=True):
        waiting[labels[index]].append(index)
    chosen: list[int] = []
    while len(chosen) < most:
        for label in sorted(waiting):
            if waiting[label] and len(chosen) < most:
                chosen.append(waiting[label].pop())
    return sorted(chosen)
