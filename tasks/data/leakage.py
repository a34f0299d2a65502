"""Find photos that are in two splits, the same or nearly the same, and decide which of them is taken out.

A photo that is also in validation or test is taken out of train, and one that is also in test out of validation: the
photos by which a model is judged stay. These are pure functions; `tasks.data.twins` finds what is nearly the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from PIL import Image

from tasks.data.detail import has_same_colour, has_same_detail, read_picture
from tasks.data.judgement import LabelledImage
from tasks.data.texts import counted, listed, shortened
from tasks.data.twins import find_twins
from tasks.run.escaping import valid_text
from tasks.run.records import SPLITS, Quarantined

_RANK = {split: rank for rank, split in enumerate(SPLITS)}
Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Leak:
    """A photo, by its index, that is also in a split that is judged by, as the photo with the index `twin`."""

    index: int
    twin: int
    is_exact: bool


def same_pairs(digests: Sequence[str], thumbnails: Sequence[bytes], staged: Callable[[int], bytes]) -> list[Pair]:
    """Return the pairs of photos that are the same or nearly: exact copies are paired with the first of them.

    Of exact copies, only the first is compared by its thumbnail, and then by its colours and its detail: `staged`
    returns the JPEG of the photo with an index.
    """
    picture = lru_cache(maxsize=1024)(lambda n: read_picture(staged(n)))
    first: dict[str, int] = {}
    exact = [(first[digest], n) for n, digest in enumerate(digests) if first.setdefault(digest, n) != n]
    distinct = list(first.values())
    alike = ((distinct[one], distinct[other]) for one, other in find_twins([thumbnails[n] for n in distinct]))
    near = [pair for pair in alike if _is_confirmed(*map(picture, pair))]
    return sorted([*exact, *near])


def _is_confirmed(one: Image.Image, other: Image.Image) -> bool:
    return has_same_colour(one, other) and has_same_detail(one, other)


def find_leaks(images: Sequence[LabelledImage], pairs: Iterable[Pair]) -> list[Leak]:
    """Return the photos that have a twin in a split of a higher rank (train, validation, test), in their order."""
    copies: dict[str, list[int]] = defaultdict(list)
    for index, image in enumerate(images):
        copies[image.source_sha256].append(index)
    twins: dict[str, set[str]] = defaultdict(set)
    for one, other in pairs:
        digests = images[one].source_sha256, images[other].source_sha256
        twins[digests[0]].add(digests[1])
        twins[digests[1]].add(digests[0])
    found = (_leak(index, image, images, copies, twins) for index, image in enumerate(images))
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


def _leak(
    index: int,
    image: LabelledImage,
    images: Sequence[LabelledImage],
    copies: Mapping[str, Sequence[int]],
    twins: Mapping[str, set[str]],
) -> Leak | None:
    """Return the leak of a photo, preferring an exact copy and the highest rank, or None."""
    own = image.source_sha256
    others = (other for digest in (own, *sorted(twins.get(own, ()))) for other in copies[digest])
    higher = [other for other in others if _RANK[images[other].split] > _RANK[image.split]]
    if not higher:
        return None
    twin = max(higher, key=lambda other: (images[other].source_sha256 == own, _RANK[images[other].split], -other))
    return Leak(index, twin, images[twin].source_sha256 == own)


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
