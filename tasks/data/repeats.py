"""Tell which photos are there several times: copies in one class, and copies in two, whose labels contradict.

These are pure functions on images. Photos in two splits are found by `tasks.data.leakage`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from tasks.data.judgement import LabelledImage
from tasks.data.suspects import Sharing, suspects_of
from tasks.data.texts import SHOWN, counted, enumerated, listed, shortened

_MOST_CLASSES = 20
"""A photo that is in more classes is told with their number, and not with each pair of them."""

Pair = tuple[int, int]


def copy_warnings(images: Sequence[LabelledImage]) -> list[str]:
    """Return a warning of exact copies in one class, with the first files."""
    first: dict[tuple[str, str], LabelledImage] = {}
    pairs = [(first.setdefault((each.source_sha256, each.class_name), each), each) for each in images]
    copies = sorted(f"{shortened(one.name)} = {shortened(two.name)}" for one, two in pairs if one is not two)
    are_copies = counted(len(copies), "photo is an exact copy", "photos are exact copies")
    return [f"{are_copies} of another one in the same class: {listed(copies)}"] if copies else []


def class_warnings(images: Sequence[LabelledImage], pairs: Iterable[Pair]) -> list[str]:
    """Return a warning of exact copies in two classes, and one of photos that are nearly the same there.

    `pairs` join all photos that are the same or nearly, as `tasks.data.leakage.same_pairs` returns them.
    """
    near = [
        (images[one], images[other])
        for one, other in pairs
        if images[one].class_name != images[other].class_name
        and images[one].source_sha256 != images[other].source_sha256
    ]
    by_classes: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for one, other in near:
        by_classes[tuple(sorted((one.class_name, other.class_name)))].append(_same(one, other))
    are_alike = counted(len(near), "photo is", "photos are")
    told = f"{are_alike} nearly the same as one of another class: {_by_classes(by_classes)}"
    return [*_copies_in_classes(images), *([told] if near else [])]


def contradictions(images: Sequence[LabelledImage]) -> list[str]:
    """Return why labels contradict each other, if at least half of a class are copies of photos of other classes."""
    found = Sharing(images).contradicting
    if not found:
        return []
    shares = enumerated([f"{shortened(name)} ({shared:,} of {total:,})" for name, (shared, total) in found.items()])
    suspects = suspects_of(images)
    cure = f"if {enumerated(suspects)} " + (
        "is no class, remove its folder" if len(suspects) == 1 else "are no classes, remove their folders"
    )
    told = f"at least half of the photos of {shares} are also in other classes: {cure}"
    return [f"{told}; --keep-duplicates keeps all of them"]


def _repeated(images: Iterable[LabelledImage]) -> list[list[LabelledImage]]:
    """Return the photos that are exactly the same and in more than one class, each group once."""
    by_digest: dict[str, list[LabelledImage]] = defaultdict(list)
    for image in images:
        by_digest[image.source_sha256].append(image)
    return [copies for copies in by_digest.values() if len({image.class_name for image in copies}) > 1]


def _copies_in_classes(images: Iterable[LabelledImage]) -> list[str]:
    repeated = [_one_of_each(copies) for copies in _repeated(images)]
    by_classes: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for of_class in repeated:
        for names in combinations(sorted(of_class), 2) if len(of_class) <= _MOST_CLASSES else ():
            by_classes[names].append(_same(*(of_class[name] for name in names)))
    are_in = counted(len(repeated), "photo is in two classes", "photos are in two classes or more")
    told = [_in_many([each for each in repeated if len(each) > _MOST_CLASSES]), _by_classes(by_classes)]
    return [f"{are_in}: {', '.join(filter(None, told))}"] if repeated else []


def _one_of_each(copies: Sequence[LabelledImage]) -> dict[str, LabelledImage]:
    """Return the first photo of each class."""
    return {image.class_name: image for image in reversed(copies)}


def _in_many(found: Sequence[Mapping[str, LabelledImage]]) -> str:
    """Return how many photos are in many classes, with an example; "" for none."""
    if not found:
        return ""
    most = max(found, key=len)
    one, other = sorted(most)[:2]
    at_most = "up to " if len(found) > 1 else ""
    return f"{len(found):,} in {at_most}{len(most):,} classes ({_same(most[one], most[other])})"


def _same(one: LabelledImage, other: LabelledImage) -> str:
    """Return what two photos are called: the name of both files, or both paths, with the folders of both only once."""
    first, second = one.name.split("/"), other.name.split("/")
    if first[-1] == second[-1]:
        return shortened(first[-1])
    shorter = min(len(first), len(second)) - 1
    depth = next((n for n, (left, right) in enumerate(zip(first, second, strict=False)) if left != right), shorter)
    return f"{shortened(one.name)} = {shortened('/'.join(second[depth:]))}"


def _by_classes(found: dict[tuple[str, ...], list[str]]) -> str:
    """Return for each pair of classes, those with the most photos first, their number and an example."""
    ordered = sorted(found.items(), key=lambda each: (-len(each[1]), each[0]))
    parts = [f"{len(same):,} in {' and '.join(map(shortened, names))} ({min(same)})" for names, same in ordered[:SHOWN]]
    more = (
        [f"{counted(len(ordered) - SHOWN, 'more pair of classes', 'more pairs of classes')}"]
        if len(ordered) > SHOWN
        else []
    )
    return ", ".join([*parts, *more])
