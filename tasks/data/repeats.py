"""Tell which photos are there several times: copies in one class, and copies in two, whose labels contradict.

These are pure functions on images. Photos in two splits are found by `tasks.data.leakage`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations

from tasks.data.judgement import LabelledImage
from tasks.data.texts import SHOWN, counted, enumerated, listed, shortened

_LEAST_SHARE, _FEWEST = 0.5, 5
"""Of a class whose labels contradict: the share and the number of its photos that are also in other classes."""

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
    found = _contradicting(images)
    if not found:
        return []
    shares = enumerated([f"{shortened(name)} ({shared:,} of {total:,})" for name, (shared, total) in found.items()])
    suspects = _suspects(images)
    cure = f"if {enumerated(suspects)} " + (
        "is no class, remove its folder" if len(suspects) == 1 else "are no classes, remove their folders"
    )
    told = f"at least half of the photos of {shares} are also in other classes: {cure}"
    return [f"{told}; --keep-duplicates keeps all of them"]


def _contradicting(images: Sequence[LabelledImage]) -> dict[str, tuple[int, int]]:
    """Return the classes of which too many photos are also in others, with the number of these and of all photos."""
    totals = Counter(image.class_name for image in images)
    shared = Counter(image.class_name for copies in _repeated(images) for image in copies)
    return {
        name: (shared[name], totals[name])
        for name in sorted(totals)
        if shared[name] >= _FEWEST and shared[name] >= _LEAST_SHARE * totals[name]
    }


def _suspects(images: Sequence[LabelledImage]) -> list[str]:
    """Return the classes without which none would contradict: each time the one that shares with most others."""
    left, suspects = list(images), list[str]()
    while found := _contradicting(left):
        others: dict[str, set[str]] = defaultdict(set)
        for copies in _repeated(left):
            for image in copies:
                others[image.class_name] |= {each.class_name for each in copies}
        suspects.append(max(found, key=lambda name: (len(others[name]), found[name][1])))
        left = [image for image in left if image.class_name != suspects[-1]]
    return suspects


def _repeated(images: Iterable[LabelledImage]) -> list[list[LabelledImage]]:
    """Return the photos that are exactly the same and in more than one class, each group once."""
    by_digest: dict[str, list[LabelledImage]] = defaultdict(list)
    for image in images:
        by_digest[image.source_sha256].append(image)
    return [copies for copies in by_digest.values() if len({image.class_name for image in copies}) > 1]


def _copies_in_classes(images: Iterable[LabelledImage]) -> list[str]:
    repeated = _repeated(images)
    by_classes: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for copies in repeated:
        of_class = {image.class_name: image for image in reversed(copies)}
        for names in combinations(sorted(of_class), 2):
            by_classes[names].append(_same(*(of_class[name] for name in names)))
    are_in = counted(len(repeated), "photo is in two classes", "photos are in two classes or more")
    return [f"{are_in}: {_by_classes(by_classes)}"] if repeated else []


def _same(one: LabelledImage, other: LabelledImage) -> str:
    """Return what two photos are called: the name of both files, or both paths, with the folders of both only once."""
    first, second = one.name.split("/"), other.name.split("/")
    if first[-1] == second[-1]:
        return shortened(first[-1])
    depth = next(n for n, (left, right) in enumerate(zip(first, second, strict=False)) if left != right)
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
