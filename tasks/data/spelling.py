"""Find classes whose names differ only in case, Unicode form, leading zeros or what cannot be seen, and join them.

They are joined only where that is safe, because each split has one spelling: then no split keeps them apart. Two forms
of Unicode of one name are always one class, because a person cannot tell them apart.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tasks.data.names import visible
from tasks.data.texts import enumerated, listed, shortened

Spelled = tuple[str | None, str]
"""A split, or None where splits are to be made, and the name of a folder of a class in it."""


@dataclass(frozen=True)
class Spellings:
    """The class of each spelling, and warnings of those that were joined or that only look alike.

    `notes` tell of numbers that were joined.
    """

    classes: Mapping[str, str]
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_spellings(found: Mapping[Spelled, str]) -> Spellings:
    """Return the classes that are meant; `found` maps each spelling in a split to the name of a file of it."""
    alike: dict[str, list[Spelled]] = defaultdict(list)
    for split, name in sorted(found, key=lambda each: (_ORDER[each[0]], each[1])):
        alike[_composed(visible(name)).casefold()].append((split, name))
    classes: dict[str, str] = {}
    warnings = []
    for spelled in alike.values():
        composed = {_composed(name) for _, name in spelled}
        joined = len(composed) == 1 or _one_in_each_split(spelled)
        label = _composed(spelled[0][1])
        classes |= {name: label if joined else _composed(name) for _, name in spelled}
        if len({name for _, name in spelled}) > 1:
            warnings.append(_joined_text(spelled, label, found) if joined else _alike_text(composed, spelled, found))
    numbers = _same_numbers(found)
    classes |= {name: classes[label] for name, label in numbers.items()}
    return Spellings(classes, tuple(warnings), tuple(_numbers_note(numbers)))


def _same_numbers(found: Iterable[Spelled]) -> dict[str, str]:
    """Map numbers to those of the first split that differ only by leading zeros; none if one split has both."""
    by_number: dict[str, list[Spelled]] = defaultdict(list)
    for split, name in sorted(found, key=lambda each: (_ORDER[each[0]], each[1])):
        if name.isascii() and name.isdigit():
            by_number[name.lstrip("0")].append((split, name))
    several = [spelled for spelled in by_number.values() if len({name for _, name in spelled}) > 1]
    if not all(map(_one_in_each_split, several)):
        return {}
    return {name: spelled[0][1] for spelled in several for _, name in spelled if name != spelled[0][1]}


def _numbers_note(numbers: Mapping[str, str]) -> list[str]:
    if not numbers:
        return []
    shown = enumerated([f"{name} is {label}" for name, label in numbers.items()])
    return [f"classes whose numbers differ only by leading zeros are joined: {shown}"]


_ORDER: dict[str | None, int] = {None: 0, "train": 0, "validation": 1, "test": 2}


def _one_in_each_split(spelled: Iterable[Spelled]) -> bool:
    by_split: dict[str | None, set[str]] = defaultdict(set)
    for split, name in spelled:
        by_split[split].add(_composed(name))
    return all(len(names) == 1 for names in by_split.values())


def _joined_text(spelled: Iterable[Spelled], label: str, found: Mapping[Spelled, str]) -> str:
    first: dict[str, str] = {}
    for split, name in spelled:
        before, _, _ = found[split, name].partition(name)
        first.setdefault(name, f"{before}{name}")
    names = " and ".join(map(shortened, first.values()))
    return f"{names} differ only in {_difference(first)}: they are taken as one class, {shortened(label)}"


def _difference(names: Iterable[str]) -> str:
    composed = {_composed(name) for name in names}
    if len(composed) == 1:
        return "Unicode form"
    return "case" if len({name.casefold() for name in composed}) == 1 else "case, Unicode form or blanks"


def _alike_text(composed: Iterable[str], spelled: Iterable[Spelled], found: Mapping[Spelled, str]) -> str:
    files = {_composed(name): found[split, name] for split, name in reversed(list(spelled))}
    names = sorted(composed)
    return f"classes {', '.join(map(shortened, names))} look alike (case, Unicode form, blanks): " + listed(
        [shortened(files[name]) for name in names]
    )


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
