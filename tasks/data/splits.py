"""Distribute the photos of a source without splits, by class and by the digests of their bytes.

A photo that was distributed before keeps its split, so a dataset that grows keeps its test photos. The others of a
class are ordered by a digest: the test photos come from its one end, the validation photos from the other. So even
where it is not known what was distributed before, nearly all keep their splits when photos are added. Photos that are
the same or nearly the same are distributed as one; a new one joins the oldest of them. These are pure functions.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Pair = tuple[int, int]
FAR_END = "validation"
"""The split whose photos come from the far end of the order."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo that is to be in a split: its class and the hex sha256 of its bytes."""

    class_name: str
    digest: str


def distribute(
    photos: Sequence[Photo], pairs: Iterable[Pair], shares: Mapping[str, int], *, seed: int, known: Mapping[str, str]
) -> list[str]:
    """Return the split of each photo.

    `shares` maps each split to its part of the whole, the one that gets what the others leave first; `pairs` are the
    indices of photos that are the same or nearly so; `known` maps digests to splits, the oldest first. Of a class with
    as many photos without twins as there are splits, each split gets one at least.
    """
    splits = {index: known[photo.digest] for index, photo in enumerate(photos) if known.get(photo.digest) in shares}
    ages = {digest: age for age, digest in enumerate(known)}
    waiting: dict[str, list[list[int]]] = defaultdict(list)
    for group in _groups(photos, pairs, seed):
        new = [index for index in group if index not in splits]
        old = [index for index in group if index in splits]
        if old:
            oldest = min(old, key=lambda index: ages[photos[index].digest])
            splits |= dict.fromkeys(new, splits[oldest])
        else:
            waiting[photos[new[0]].class_name].append(new)
    counts = Counter((photos[index].class_name, split) for index, split in splits.items())
    for class_name, wanted in _wanted(photos, shares).items():
        needed = {split: count - counts[class_name, split] for split, count in wanted.items()}
        for split, groups in _dealt(waiting[class_name], needed).items():
            splits |= {index: split for group in groups for index in group}
    return [splits[index] for index in range(len(photos))]


def _dealt(groups: Sequence[list[int]], needed: Mapping[str, int]) -> dict[str, list[list[int]]]:
    """Return which groups of a class each split gets, of as many photos as it needs; the first split gets the rest.

    A split takes no group that is larger than what it needs, unless there is no other. One is left for the first split.
    """
    first, *others = needed
    left = list(groups)
    dealt: dict[str, list[list[int]]] = {split: [] for split in needed}
    for split in others:
        lacking = needed[split]
        ordered = left[::-1] if split == FAR_END else left[:]
        fitting = [group for group in ordered if len(group) <= lacking] or sorted(ordered, key=len)[:1]
        for group in fitting:
            if lacking > 0 and len(left) > 1 and (len(group) <= lacking or not dealt[split]):
                dealt[split].append(group)
                left.remove(group)
                lacking -= len(group)
    dealt[first] = left
    return dealt


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
    """Return the groups of photos that go together, in an order that the seed and the photos' digests determine."""
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
    return sorted(groups, key=lambda group: places[group[0]])
