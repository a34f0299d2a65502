"""Find the folders of a source whose folders are classes, and say why the photos of the others are not used."""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass

from tasks.data import names
from tasks.data.entries import Listing
from tasks.data.names import Names, Path
from tasks.data.texts import shortened
from tasks.data.tree import (
    SPLIT_WORDS,
    Base,
    Tree,
    find_base,
    inner_folder,
    is_split_word,
    is_unlabelled,
    is_wrapper,
    split_of,
)
from tasks.run.errors import SourceRefused

NEXT = "correct the data and run the same command again"
_LAYOUTS = (
    "images must lie in train/<class>/, valid/<class>/ and test/<class>/, or in <class>/ alone, or a labels.csv with "
    "the columns file_name and label must name them; folders around these do not matter"
)


@dataclass(frozen=True)
class Section:
    """A folder whose folders are classes, in a split or, with None, in none; or why its photos are not used."""

    folder: Path
    split: str | None
    reason: str | None = None


def find_sections(listing: Listing, found: Names, tree: Tree) -> list[Section]:
    """Return the sections of a source by its folders with photos.

    Raises:
        SourceRefused: a folder may be meant in two ways, a split exists twice, or images are in an unknown folder.
    """
    base = find_base(tree)
    return _split_sections(found, tree, base) if base.splits else _class_sections(listing, tree, base)


def unknown_layout(listing: Listing, tree: Tree) -> SourceRefused:
    """Return the refusal of a source in which neither splits nor classes were found, with what was found."""
    found = tree.picture() if listing.entries else "nothing"
    return SourceRefused("data layout", f"{listing.path} contains {found}", _LAYOUTS, NEXT)


def _class_sections(listing: Listing, tree: Tree, base: Base) -> list[Section]:
    """Return the one section of a source without splits, and the folders of a test without classes beside it."""
    children = tree.children(base.folder)
    flat = [name for name in children if (is_split_word(name) and split_of(name) != "train") or is_unlabelled(name)]
    aside = [name for name in flat if len(children) - len(flat) > 1 and not tree.children((*base.folder, name))]
    classes = [name for name in children if name not in aside]
    is_mixed = len(classes) == 1 and (classes != children or tree.direct(base.folder) > 0)
    if is_mixed or any(map(is_wrapper, children)):
        raise unknown_layout(listing, tree)
    return [Section(base.folder, None), *(_unlabelled((*base.folder, name)) for name in aside)]


def _split_sections(found: Names, tree: Tree, base: Base) -> list[Section]:
    _refuse_twice(base)
    inner = [Section(inner_folder(tree, (*base.folder, name)), split) for name, split in base.splits.items()]
    known = {name for each in inner if each.split == "train" for name in tree.children(each.folder)}
    sections = [_unlabelled(each.folder, each.split) if _is_contest(tree, each, known) else each for each in inner]
    others = [name for name in tree.children(base.folder) if name not in base.splits]
    return [*sections, *(_unused_section(found, tree, base, name) for name in others)]


def _unused_section(found: Names, tree: Tree, base: Base, name: str) -> Section:
    folder = (*base.folder, name)
    if name.startswith("."):
        return Section(folder, None, "it is in a hidden folder")
    if is_unlabelled(name):
        return _unlabelled(folder)
    if _is_second_copy(found, base, name):
        return Section(folder, None, f"{shortened(name)} is a second copy of the whole dataset")
    raise SourceRefused("data layout", f"unknown folder {shortened(name)}", *_unknown(name, tree))


def _unlabelled(folder: Path, split: str | None = None) -> Section:
    why = f"the folder {shortened('/'.join(folder))} has no folders of classes, so that their classes are not known"
    return Section(folder, split, why)


def _is_contest(tree: Tree, section: Section, known: set[str]) -> bool:
    """Tell whether a validation or test folder has no folders of classes, or only one that is none: test/unknown/."""
    children = tree.children(section.folder)
    is_none = len(children) == 1 and len(known) > 1 and children[0].lower() == "unknown" and "unknown" not in known
    return section.split != "train" and (not children or is_none)


def _refuse_twice(base: Base) -> None:
    counted = Counter(base.splits.values())
    twice = next((split for split, count in counted.items() if count > 1), None)
    if twice:
        both = " and ".join(shortened(folder) for folder, split in base.splits.items() if split == twice)
        raise SourceRefused("data layout", f"the folders {both} both exist", f"both mean the {twice} split", NEXT)


def _is_second_copy(found: Names, base: Base, name: str) -> bool:
    depth = len(base.folder)
    own = {path[depth:] for path in found.files if len(path) > depth and path[depth] in base.splits}
    other = {path[depth + 1 :] for path in found.files if path[: depth + 1] == (*base.folder, name)}
    photos = {path for path in other if path and names.is_image_name(path)}
    return bool(photos) and photos <= own


def _unknown(folder: str, tree: Tree) -> tuple[str, str]:
    close = difflib.get_close_matches(folder.lower(), SPLIT_WORDS, n=1)
    hint = f"rename it to {close[0]}, if you meant that" if close else "move it out of the dataset"
    why = f"its images would not be in any split; found: {tree.picture()}"
    return why, f"{hint}; then run the same command again"
