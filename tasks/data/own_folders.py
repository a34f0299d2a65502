"""Name the class of each photo by the folder that it lies in, whatever folders are around it.

Folders that only hold photos (images/), splits, years, dates and numbered parts are passed, so the class is the next
one outside of them. These are pure functions on the folders of a source.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping

from tasks.data import levels
from tasks.data.names import Path
from tasks.data.texts import enumerated
from tasks.data.tree import Tree, is_split_word, is_wrapper


def own_folders(tree: Tree, folder: Path, without: Collection[Path] = ()) -> dict[Path, str]:
    """Map each folder with photos of its own below `folder` to the class of these photos; `without` are left out.

    A folder in which all folders on the way are passed is named by itself.
    """
    found: dict[Path, str] = {}
    for name in tree.children(folder):
        inner = (*folder, name)
        if inner not in without:
            found |= {each: "" for each in [inner] if tree.direct(each)} | own_folders(tree, inner, without)
    return {each: _class_of(each[len(folder) :]) for each in found}


def _class_of(below: Path) -> str:
    named = [name for name in below if not (is_wrapper(name) or is_split_word(name) or levels.is_number(name))]
    return named[-1] if named else below[-1]


def one_spelling(tree: Tree, found: Mapping[Path, str]) -> dict[Path, str]:
    """Give classes that differ only in case or Unicode form the spelling of most photos, unless one folder has both."""
    counts: Counter[str] = Counter()
    spellings: dict[str, set[str]] = defaultdict(set)
    beside: dict[tuple[Path, str], set[str]] = defaultdict(set)
    for folder, name in found.items():
        counts[name] += tree.direct(folder)
        spellings[levels.folded(name)].add(name)
        beside[_outside(folder, name), levels.folded(name)].add(name)
    apart = {key for (_, key), names in beside.items() if len(names) > 1}
    label = {key: max(sorted(names), key=counts.__getitem__) for key, names in spellings.items() if key not in apart}
    return {folder: label.get(levels.folded(name), name) for folder, name in found.items()}


def _outside(folder: Path, name: str) -> Path:
    """Return the folder that a class lies in; `folder` is its own one, or one in it."""
    depth = max(n for n, each in enumerate(folder) if each == name)
    return folder[:depth]


def own_note(classes: Mapping[Path, str], spelled: Mapping[Path, str], *, are_made: bool) -> list[str]:
    """Return what is to be said of classes that are named by the folders of the photos.

    `classes` maps folders to their classes, `spelled` to the names that they have; `are_made`: the splits are.
    """
    outside: dict[str, set[Path]] = defaultdict(set)
    for folder, name in spelled.items():
        outside[classes[folder]].add(_outside(folder, name))
    joined = sorted({parent for parents in outside.values() if len(parents) > 1 for parent in parents})
    told = "the class of a photo is the folder that it lies in"
    if not joined:
        return [told]
    told += f": folders of one name in {enumerated(_last_names(joined))} are one class"
    told += "; photos of one of these may come into different splits" if are_made else ""
    differing = sorted({(name, classes[folder]) for folder, name in spelled.items() if name != classes[folder]})
    same = enumerated([f"{name} is {label}" for name, label in differing])
    return [told, *([f"folders that differ only in case or Unicode form are one class: {same}"] if same else [])]


def _last_names(folders: Iterable[Path]) -> list[str]:
    """Return the folders by their own names, or by their paths where two have the same."""
    own = {folder: folder[-1] if folder else "the source" for folder in folders}
    counts = Counter(own.values())
    return [name if counts[name] == 1 else "/".join(folder) for folder, name in own.items()]
