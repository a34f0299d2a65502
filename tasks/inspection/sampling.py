"""Choose the photos that are embedded, when there is no time for all: the same for each inspection of the same data."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence


def stratified(labels: Sequence[int], digests: Sequence[str], most: int) -> list[int]:
    """Return at most `most` indices in ascending order: of each class its share, and one at least where there is room.

    Of a class, the photos with the least digests are taken.
    """
    if len(labels) <= most:
        return list(range(len(labels)))
    members: dict[int, list[int]] = defaultdict(list)
    for index in sorted(range(len(labels)), key=lambda index: digests[index]):
        members[labels[index]].append(index)
    counts = _allocated(Counter(labels), most)
    return sorted(index for label, count in counts.items() for index in members[label][:count])


def _allocated(sizes: Mapping[int, int], most: int) -> dict[int, int]:
    """Return how many photos each class gives: in proportion, by the largest remainders; the largest class yields."""
    total = sum(sizes.values())
    exact = {label: most * size / total for label, size in sizes.items()}
    counts = {label: max(1, int(share)) for label, share in exact.items()}
    for label in sorted(sizes, key=lambda label: (int(exact[label]) - exact[label], label)):
        counts[label] += sum(counts.values()) < most and counts[label] < sizes[label]
    while sum(counts.values()) > most:
        counts[max(counts, key=lambda label: (counts[label], label))] -= 1
    return counts
