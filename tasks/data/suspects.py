"""Find the classes that are no classes: most of their photos are copies from others.

The classes of a photo that is there several times are kept as the bits of a number, so that a photo in thousands of
classes costs no pair of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from tasks.data.judgement import LabelledImage

_LEAST_SHARE, _FEWEST = 0.5, 5
"""Of a class whose labels contradict: the share and the number of its photos that are also in other classes."""


class Sharing:
    """The classes that are left, with the number of their photos and of those that are also in other classes.

    `contradicting` has those of which too many photos are also in others: the number of these, and of all photos.
    """

    def __init__(self, images: Iterable[LabelledImage]) -> None:
        self._totals = Counter[str]()
        by_digest: dict[str, Counter[str]] = defaultdict(Counter)
        for image in images:
            self._totals[image.class_name] += 1
            by_digest[image.source_sha256][image.class_name] += 1
        self._bits = {name: 1 << n for n, name in enumerate(sorted(self._totals))}
        self._left = sum(self._bits.values())
        self._shared = Counter[str]()
        self._others: dict[str, int] = defaultdict(int)
        self._copies_in: dict[str, list[Counter[str]]] = defaultdict(list)
        for copies in by_digest.values():
            if len(copies) > 1:
                self._add(copies)
        self.contradicting = {name: self._counts(name) for name in sorted(self._totals) if self._is_contradicting(name)}

    def remove_widest(self) -> str:
        """Take the contradicting class out that shares with most others, of several the one with most photos."""
        name = max(self.contradicting, key=lambda name: (self._width(name), self._totals[name]))
        self._left -= self._bits[name]
        del self.contradicting[name]
        for copies in self._copies_in.pop(name):
            del copies[name]
            if len(copies) == 1:
                self._unshare(*copies.items())
        return name

    def _add(self, copies: Counter[str]) -> None:
        together = sum(self._bits[name] for name in copies)
        for name, count in copies.items():
            self._shared[name] += count
            self._others[name] |= together
            self._copies_in[name].append(copies)

    def _unshare(self, last: tuple[str, int]) -> None:
        """Count the copies of a photo no longer that is in one class alone now."""
        name, count = last
        self._shared[name] -= count
        if name in self.contradicting:
            self.contradicting[name] = self._counts(name)
            if not self._is_contradicting(name):
                del self.contradicting[name]

    def _width(self, name: str) -> int:
        return (self._others[name] & self._left).bit_count()

    def _counts(self, name: str) -> tuple[int, int]:
        return self._shared[name], self._totals[name]

    def _is_contradicting(self, name: str) -> bool:
        shared, total = self._counts(name)
        return shared >= _FEWEST and shared >= _LEAST_SHARE * total


def suspects_of(images: Iterable[LabelledImage]) -> list[str]:
    """Return the classes without which none would contradict: each time the one that shares with most others."""
    sharing, suspects = Sharing(images), list[str]()
    while sharing.contradicting:
        suspects.append(sharing.remove_widest())
    return suspects
