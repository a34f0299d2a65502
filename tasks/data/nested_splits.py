"""Refuse a source in which only some folders have splits with the same classes, so that no folder of it is a class.

Taken as classes, such folders would each be one, with the photos of all classes in them and of train and test alike.
These are pure functions on the folders of a source.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from tasks.data import levels
from tasks.data.entries import Listing
from tasks.data.names import Path
from tasks.data.texts import LAYOUTS, counted, enumerated
from tasks.data.tree import Tree, find_base, holds_splits, inner_folder, split_of
from tasks.run.errors import SourceRefused

_FEWEST = 2


def nested_splits_refusal(listing: Listing, tree: Tree) -> SourceRefused | None:
    """Return the refusal of folders with splits that have the same classes, below or beside other folders, or None."""
    base = find_base(tree)
    found = {} if base.splits else _nested(tree, base.folder)
    if not found:
        return None
    folder, classes = next(iter(found.items()))
    beside = _beside(tree, base.folder, list(found))
    cures = [] if folder == base.folder else [levels.give_folder(folder, listing, is_only=len(found) == 1)]
    cures += [f"move {beside} out of the data"] if beside else []
    why = f"{_told(tree, list(found), classes)}; " + (
        f"the photos of {beside} are in no folder of a split or class" if beside else "they are no classes themselves"
    )
    return SourceRefused(
        "data layout", f"{listing.path} contains {tree.picture()}", why, f"{', or '.join(cures)}; {LAYOUTS}"
    )


def _told(tree: Tree, found: Sequence[Path], classes: Sequence[str]) -> str:
    splits = enumerated([name for name in tree.children(found[0]) if split_of(name)])
    has = "each have" if len(found) > 1 else "has"
    return f"{_shown(found)} {has} splits ({splits}) with the same classes in them ({enumerated(classes)})"


def _shown(folders: Sequence[Path]) -> str:
    return enumerated([f"{'/'.join(each)}/" if each else "the data" for each in folders])


def _nested(tree: Tree, base: Path) -> dict[Path, list[str]]:
    """Map the outermost folders that have splits with the same classes to these."""
    found: dict[Path, list[str]] = {}
    outer = {folder[:depth] for folder in tree.folders() for depth in range(len(base), len(folder))}
    for folder in sorted(outer, key=lambda each: (len(each), each)):
        is_below = any(folder[: len(each)] == each for each in found)
        if folder[: len(base)] == base and not is_below and (classes := _shared_classes(tree, folder, base)):
            found[folder] = classes
    return found


def _shared_classes(tree: Tree, folder: Path, base: Path) -> list[str]:
    """Return the classes that two splits in a folder have in common; none if they are less than two."""
    names = [name for name in tree.children(folder) if split_of(name)]
    if len(names) < _FEWEST or (folder != base and not holds_splits(tree, folder)):
        return []
    by_split: dict[str, set[str]] = defaultdict(set)
    for name in names:
        classes = levels.possible_classes(tree, inner_folder(tree, (*folder, name)))
        by_split[split_of(name) or ""] |= set(map(levels.folded, classes))
    counts = [each for classes in by_split.values() for each in classes]
    shared = {each for each in counts if counts.count(each) > 1}
    first = inner_folder(tree, (*folder, names[0]))
    return [name for name in tree.children(first) if levels.folded(name) in shared] if len(shared) >= _FEWEST else []


def _beside(tree: Tree, base: Path, found: Sequence[Path]) -> str:
    """Return the folders beside those that have splits, or beside the splits of the base itself, and the loose photos.

    It is "" if there are none.
    """
    children = [(*base, name) for name in tree.children(base) if base not in found or not split_of(name)]
    others = [f"{'/'.join(each)}/" for each in children if not any(path[: len(each)] == each for path in found)]
    loose = tree.direct(base)
    return enumerated([*others, *([f"{counted(loose, 'photo')} beside the folders"] if loose else [])])
