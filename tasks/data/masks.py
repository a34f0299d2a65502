"""Find folders whose pictures are masks of the photos in another folder, by their names; the functions are pure.

A mask has the name of its photo. Names that are only numbered (1.jpg, 2.jpg) are the same in many classes, so they
alone do not make a folder one of masks.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from string import digits

from tasks.data.names import Path, suffix
from tasks.data.tree import is_wrapper, words_of

_MASK_WORDS = frozenset(
    {"mask", "masks", "trimap", "trimaps", "segmentation", "segmentations", "annotation", "annotations", "labels", "gt"}
)
_MASK_ENDINGS = re.compile(r"(?i)[_-](masks?|seg|segmentation|trimap|gt|label|labels|groundtruth)$")
_MOST_DIGITS = 15
_FEWEST_NUMBERS = 3
_MOST_SPARSE = 4
"""A word's numbers are counted when at least one of so many is used."""
_LEAST_SHARED = 0.5
_FEWEST_FILES, _MOST_FOLDERS = 5, 200
_LEAST_SHARED_BY_CLASSES = 0.8

Stems = dict[Path, set[str]]


def mask_folders(pictures: Sequence[Path]) -> frozenset[Path]:
    """Return the folders whose names say that masks are in them, and whose files have the names of other pictures."""
    named = [folder for folder in dict.fromkeys(path[:-1] for path in pictures) if _is_named_for_masks(folder)]
    if not named:
        return frozenset()
    stems, endings = _by_folder(pictures)
    plain = [folder for folder in stems if folder not in set(named)]
    every = {stem for folder in plain for stem in stems[folder]}
    found = (folder for folder in named if len(stems[folder] & every) >= _LEAST_SHARED * len(stems[folder]))
    return frozenset(
        folder
        for folder in found
        if any(_are_masks_of(folder, other, stems, endings) for other in plain if stems[other] & stems[folder])
    )


def shared_names(pictures: Sequence[Path]) -> tuple[Path, Path] | None:
    """Return two folders in one whose files have the same names, more than numbers: views or masks of one thing."""
    stems, _ = _by_folder(pictures)
    folders = sorted(folder for folder, own in stems.items() if len(own) >= _FEWEST_FILES)
    if len(folders) > _MOST_FOLDERS:
        return None
    for n, one in enumerate(folders):
        for other in (each for each in folders[n + 1 :] if each[:-1] == one[:-1]):
            least = _LEAST_SHARED_BY_CLASSES * min(len(stems[one]), len(stems[other]))
            shared = stems[one] & stems[other]
            if len(shared) >= least and not _are_numbered(shared):
                return one, other
    return None


def _by_folder(paths: Collection[Path]) -> tuple[Stems, dict[Path, set[str]]]:
    stems: Stems = defaultdict(set)
    endings: dict[Path, set[str]] = defaultdict(set)
    for path in paths:
        stem = path[-1].rpartition(".")[0]
        may_end_so = "_" in stem or "-" in stem
        stems[path[:-1]].add(_MASK_ENDINGS.sub("", stem) if may_end_so else stem)
        endings[path[:-1]].add(suffix(path))
    return stems, endings


def _is_named_for_masks(folder: Path) -> bool:
    return any(not _MASK_WORDS.isdisjoint(words_of(part)) for part in folder[-2:])


def _are_masks_of(folder: Path, other: Path, stems: Stems, endings: dict[Path, set[str]]) -> bool:
    is_of_photos = bool(other) and (is_wrapper(other[-1]) or any(map(is_wrapper, other[-2:])))
    return is_of_photos or endings[folder].isdisjoint(endings[other]) or not _are_numbered(stems[folder])


def _are_numbered(stems: Collection[str]) -> bool:
    """Tell whether most names are words with numbers that are nearly all used, as a camera or a program counts."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for stem in stems:
        name = stem.removesuffix(")")
        word = name.rstrip(digits)
        if name != word:
            numbers[word].append(int(name[len(word) :][-_MOST_DIGITS:]))
    enough = (each for each in numbers.values() if len(each) >= _FEWEST_NUMBERS)
    counted = (each for each in enough if max(each) - min(each) < _MOST_SPARSE * len(each))
    return sum(map(len, counted)) > len(stems) / 2
