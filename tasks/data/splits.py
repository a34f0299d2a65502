"""Distribute the photos of a source without splits, by class and by the digests of their bytes.

A photo that was distributed before keeps its split, so a dataset that grows keeps its test photos. Photos that are the
same or nearly the same are distributed as one; a new one joins the oldest of them. These are pure functions.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo that is to be in a split: its class and the hex sha256 of its bytes."""

    class_name: str
    digest: str


def distribute(
    photos: Sequence[Photo], pairs: Iterable[Pair], shares: Mapping[str, int], *, seed: int, known: Mapping[str, str]
) -> list[str]:
    """Return the split of each photo.

    `shares` maps each split to its part of the whole, in order of preference; `pairs` are the indices of photos that
    are the same or nearly so; `known` maps digests to splits, the oldest first. Of a class with enough photos, each
    split gets one at least.
    """
    splits = {index: known[photo.digest] for index, photo in enumerate(photos) if known.get(photo.digest) in shares}
    counts = Counter((photos[index].class_name, split) for index, split in splits.items())
    wanted = _wanted(photos, shares)
    ages = {digest: age for age, digest in enumerate(known)}
    for group in _groups(photos, pairs, seed):
        new = [index for index in group if index not in splits]
        old = [index for index in group if index in splits]
        if not new:
            continue
        class_name = photos[new[0]].class_name
        if old:
            split = splits[min(old, key=lambda index: ages[photos[index].digest])]
        else:
            split = max(shares, key=lambda name: wanted[class_name][name] - counts[class_name, name])
        splits |= dict.fromkeys(new, split)
        counts.update((photos[index].class_name, split) for index in new)
    return [splits[index] for index in range(len(photos))]


def _wanted(photos: Sequence[Photo], shares: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Return for each class how many photos each split should have; the first split gets what the others leave."""
    first, *others = shares
    wanted: dict[str, dict[str, int]] = {}
    for name, count in Counter(photo.class_name for photo in photos).items():
        least = 1 if count >= len(shares) else 0
        parts = {split: max(least, round(count * shares[split] / sum(shares.values()))) for split in others}
        wanted[name] = {first: count - sum(parts.values()), **parts}
    return wanted


def _groups(photos: Sequence[Photo], pairs: Iterable[Pair], seed: int) -> list[list[int]]:
    """Return the groups of photos that go together: the largest first, then in an order that the seed determines."""
    members = {index: [index] for index in range(len(photos))}
    group_of = dict(members)
    for one, other in pairs:
        larger, smaller = sorted((group_of[one], group_of[other]), key=len, reverse=True)
        if larger is not smaller:
            larger += smaller
            group_of |= dict.fromkeys(smaller, larger)
            del members[smaller[0]]
    places = [hashlib.sha256(f"{seed} {photo.digest}".encode()).hexdigest() for photo in photos]
    groups = [sorted(group, key=lambda index: (places[index], index)) for group in members.values()]
    return sorted(groups, key=lambda group: (-len(group), places[group[0]]))
