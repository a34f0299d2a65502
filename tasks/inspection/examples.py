"""Choose a few photos of each class that differ from each other, so that a person sees what the class is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tasks.data.leakage import Groups
from tasks.data.shards import StagedImage
from tasks.inspection.record import FoundPair

_MOST_LOOKED_AT = 64
"""So many photos of a class are compared, taken evenly from all."""


def examples_of(
    images: Mapping[str, StagedImage], pairs: Iterable[FoundPair], each: int
) -> dict[str, list[StagedImage]]:
    """Return up to `each` photos of each class that look unlike each other, and of (near) copies only one.

    `images` are the staged photos by name.
    """
    if not each:
        return {}
    place = {name: index for index, name in enumerate(images)}
    groups = Groups(len(images))
    for pair in pairs:
        if pair.name in place and pair.twin in place:
            groups.join(place[pair.name], place[pair.twin])
    alone: dict[str, dict[int, StagedImage]] = defaultdict(dict)
    for index, image in enumerate(images.values()):
        alone[image.class_name].setdefault(groups.first_of(index), image)
    return {name: _unlike([*found.values()], each) for name, found in alone.items()}


def _unlike(images: Sequence[StagedImage], most: int) -> list[StagedImage]:
    """Return the first photo, and each time the one that is farthest from all chosen ones (Gonzalez 1985)."""
    some = images[:: -(-len(images) // _MOST_LOOKED_AT)]
    vectors = np.stack([_vector(image) for image in some])
    chosen = [0]
    while len(chosen) < min(most, len(some)):
        distances = np.min([((vectors - vectors[one]) ** 2).sum(1) for one in chosen], axis=0)
        distances[chosen] = -1
        chosen.append(int(distances.argmax()))
    return [some[index] for index in sorted(chosen)]


def _vector(image: StagedImage) -> NDArray[np.float32]:
    return np.frombuffer(image.decoded.thumbnail, np.uint8).astype(np.float32)
