"""Find photos that are in two splits, the same or nearly the same, and decide which of them is taken out.

A photo that is also in validation or test is taken out of train, and one that is also in test out of validation: the
photos by which a model is judged stay. These are pure functions; `tasks.data.twins` finds what is nearly the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image

from tasks.data.detail import has_same_colour, has_same_detail, read_picture
from tasks.data.judgement import LabelledImage
from tasks.data.texts import counted, listed, shortened
from tasks.data.twins import find_twins
from tasks.run.escaping import valid_text
from tasks.run.records import SPLITS, Quarantined

MOST_COMPARED = 20_000
"""So many pairs are compared by their pictures, at 2 ms each; data of still cameras has more that look alike."""

_RANK = {split: rank for rank, split in enumerate(SPLITS)}
Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Leak:
    """A photo, by its index, that is also in a split that is judged by, as the photo with the index `twin`."""

    index: int
    twin: int
    is_exact: bool


def same_pairs(
    digests: Sequence[str], thumbnails: Sequence[bytes], staged: Callable[[int], bytes]
) -> tuple[list[Pair], list[str]]:
    """Return pairs that join all photos which are the same or nearly, and a warning if not all could be compared.

    Exact copies are paired with the first of them, and only that one is compared by its thumbnail, and then by its
    colours and its detail: `staged` returns the JPEG of the photo with an index. Photos that pairs join already are
    not compared again.
    """
    picture = lru_cache(maxsize=1024)(lambda n: read_picture(staged(n)))
    first: dict[str, int] = {}
    exact = [(first[digest], n) for n, digest in enumerate(digests) if first.setdefault(digest, n) != n]
    distinct = list(first.values())
    groups, near, compared = Groups(len(digests)), list[Pair](), 0
    for one, other in find_twins([thumbnails[n] for n in distinct]):
        pair = (distinct[one], distinct[other])
        if groups.are_one(*pair):
            continue
        if compared == MOST_COMPARED:
            why = "of those that look alike, copies may be left"
            return sorted([*exact, *near]), [f"so many photos look alike that {compared:,} pairs were compared; {why}"]
        compared += 1
        if _is_confirmed(*map(picture, pair)):
            groups.join(*pair)
            near.append(pair)
    return sorted([*exact, *near]), []


def _is_confirmed(one: Image.Image, other: Image.Image) -> bool:
    return has_same_colour(one, other) and has_same_detail(one, other)


class Groups:
    """Indices that pairs join into groups (Galler & Fischer 1964)."""

    def __init__(self, count: int) -> None:
        self._above = list(range(count))

    def first_of(self, index: int) -> int:
        """Return the index that stands for the group of another."""
        above = self._above
        while above[index] != index:
            above[index] = above[above[index]]
            index = above[index]
        return index

    def are_one(self, one: int, other: int) -> bool:
        """Tell whether two indices are in one group."""
        return self.first_of(one) == self.first_of(other)

    def join(self, one: int, other: int) -> None:
        """Make the groups of two indices one."""
        least, most = sorted((self.first_of(one), self.first_of(other)))
        self._above[most] = least


def find_leaks(images: Sequence[LabelledImage], pairs: Iterable[Pair]) -> list[Leak]:
    """Return the photos that have a twin in a split of a higher rank (train, validation, test), in their order.

    `pairs` join all photos that are the same or nearly, as `same_pairs` returns them. The twin that
    is named is an exact copy if there is one, and else the first of the highest rank.
    """
    groups, joined = Groups(len(images)), set[int]()
    for pair in pairs:
        groups.join(*pair)
        joined.update(pair)
    twins = [(index, images[index]) for index in sorted(joined)]
    best: dict[object, int] = {}
    for index, image in twins:
        for key in (image.source_sha256, groups.first_of(index)):
            former = best.setdefault(key, index)
            if _RANK[image.split] > _RANK[images[former].split]:
                best[key] = index
    found = (_leak(index, images, best[image.source_sha256], best[groups.first_of(index)]) for index, image in twins)
    return [leak for leak in found if leak is not None]


def leak_warnings(images: Sequence[LabelledImage], leaks: Sequence[Leak], *, are_kept: bool) -> list[str]:
    """Return a warning for each split that photos are taken out of, with the first of them and their twins."""
    by_split: dict[str, list[Leak]] = defaultdict(list)
    for leak in leaks:
        by_split[images[leak.index].split].append(leak)
    return [_warning(images, split, found, are_kept=are_kept) for split, found in sorted(by_split.items())]


def taken_out(images: Sequence[LabelledImage], leaks: Iterable[Leak]) -> list[Quarantined]:
    """Return what a list of all files that are left out says of the photos that are taken out."""
    return [Quarantined(valid_text(images[each.index].name), _reason(images, each)) for each in leaks]


def _leak(index: int, images: Sequence[LabelledImage], copy: int, twin: int) -> Leak | None:
    """Return the leak of a photo; `copy` and `twin`: its copy and its twin of the highest rank, which may be itself."""
    rank = _RANK[images[index].split]
    for other in (copy, twin):
        if _RANK[images[other].split] > rank:
            return Leak(index, other, images[other].source_sha256 == images[index].source_sha256)
    return None


def _warning(images: Sequence[LabelledImage], split: str, leaks: Sequence[Leak], *, are_kept: bool) -> str:
    exact = sum(leak.is_exact for leak in leaks)
    kinds = ", ".join(
        text
        for count, text in ((exact, f"{exact:,} the same"), (len(leaks) - exact, f"{len(leaks) - exact:,} nearly so"))
        if count
    )
    done = "and stay there, as --keep-duplicates says" if are_kept else f"and are taken out of {split}"
    shown = listed([f"{shortened(images[e.index].name)} = {shortened(images[e.twin].name)}" for e in leaks])
    where = "validation or test" if split == "train" else "test"
    if len(leaks) == 1:
        done = done.replace("are taken", "is taken").replace("stay", "stays")
    are_also = counted(len(leaks), f"photo of {split} is", f"photos of {split} are")
    return f"{are_also} also in {where} ({kinds}) {done}: {shown}"


def _reason(images: Sequence[LabelledImage], leak: Leak) -> str:
    twin = images[leak.twin]
    is_what = "the same photo as" if leak.is_exact else "nearly the same photo as"
    return f"it is {is_what} {shortened(twin.name)} in {twin.split}, and is taken out of {images[leak.index].split}"
