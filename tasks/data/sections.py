"""Find the folders of a source whose folders are classes, and say why the photos of the others are not used."""

from __future__ import annotations

import difflib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.data import levels, names
from tasks.data.entries import Listing
from tasks.data.names import Names, Path
from tasks.data.own_folders import one_spelling, own_folders, own_note
from tasks.data.texts import counted, shortened
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

_UNKNOWN_CLASSES = "has no folders of classes, so that their classes are not known"
_FEW, _ALIKE = 0.1, 0.75
"""Of a folder beside the splits: the share of photos up to which it is left out, and what is a slip of the pen."""

_LEAST_WITH_SPLITS = 0.9
"""The share of classes that have folders of splits in them, from which on these are the splits."""


@dataclass(frozen=True)
class Section:
    """A folder whose folders are classes, in a split or, with None, in none; or why its photos are not used.

    With a `class_name`, all photos below it are of this class; `is_indexed` says that it is below an index by letter,
    and `is_part` that it is one of several that have the same classes. `own_name` is the name of the folder that gave
    the class of its photos, which may be spelled in another way.
    """

    folder: Path
    split: str | None
    reason: str | None = None
    class_name: str | None = None
    is_indexed: bool = False
    is_part: bool = False
    own_name: str | None = None

    @property
    def is_unlabelled(self) -> bool:
        """Whether its photos would be used if a table named them."""
        return self.reason is not None and self.reason.endswith(_UNKNOWN_CLASSES)


def find_sections(found: Names, tree: Tree, *, is_last: bool = False) -> list[Section] | None:
    """Return the sections of a source by its folders with photos; None if they are neither splits nor classes.

    The class of a photo is the outermost folder in its section, or, if `is_last`, the folder that it lies in.

    Raises:
        SourceRefused: a split exists twice, or images are in an unknown folder.
    """
    base = find_base(tree)
    sections = _split_sections(found, tree, base) if base.splits else _class_sections(tree, base)
    if sections and is_last:
        return _own_sections(tree, sections)
    return sections and [inner for each in sections for inner in _inner_sections(tree, each)]


def _own_sections(tree: Tree, sections: Sequence[Section]) -> list[Section]:
    """Return a section for each folder with photos of its own, in place of those whose folders would be classes."""
    plain = [each for each in sections if each.reason is None and each.class_name is None]
    others = [each for each in sections if each not in plain]
    without = {each.folder for each in others}
    own = {folder: (name, each) for each in plain for folder, name in own_folders(tree, each.folder, without).items()}
    labels = one_spelling(tree, {folder: name for folder, (name, _) in own.items()})
    inner = [Section(f, each.split, class_name=labels[f], own_name=name) for f, (name, each) in own.items()]
    return [*inner, *others, *(each for each in plain if not tree.children(each.folder))]


def _inner_sections(tree: Tree, section: Section) -> list[Section]:
    """Return the sections below levels of folders that are no classes: an index by letter, or parts of one set."""
    if section.reason is not None or section.class_name is not None:
        return [section]
    if classes := levels.indexed_classes(tree, section.folder):
        return [Section(folder, section.split, None, name, is_indexed=True) for folder, name in classes.items()]
    parts = levels.joined_parts(tree, section.folder)
    return [Section(folder, section.split, is_part=True) for folder in parts] or [section]


def level_notes(sections: Sequence[Section], tree: Tree) -> list[str]:
    """Return what is to be said of levels of folders that were passed because they are no classes."""
    indexed = sorted({each.class_name or "" for each in sections if each.is_indexed})
    notes = [levels.index_note(indexed)] if indexed else []
    parts = [each.folder for each in sections if each.is_part]
    classes = sorted({name for folder in parts for name in tree.children(folder)})
    own = [each for each in sections if each.own_name is not None]
    labels = {each.folder: each.class_name or "" for each in own}
    spelled = {each.folder: each.own_name or "" for each in own}
    notes += own_note(labels, spelled, are_made=all(each.split is None for each in own)) if own else []
    return notes + ([levels.parts_note(parts, classes)] if parts else [])


def splits_in_classes(sections: Sequence[Section], tree: Tree) -> list[str]:
    """Return what is to be said of folders of splits in the folders of classes: cat/train, cat/test."""
    is_own = any(each.own_name is not None for each in sections)
    inner = [each for each in sections if each.class_name and not each.is_indexed and each.own_name is None]
    if inner:
        shown = " and ".join(f"{shortened('/'.join(each.folder[-2:]))}" for each in inner[:2])
        return [f"the splits are in the folders of the classes, such as {shown}"]
    classes = [(*each.folder, name) for each in sections if each.reason is None for name in tree.children(each.folder)]
    some = (
        []
        if is_own
        else [folder for folder in classes if len({split_of(name) for name in _split_names(tree, folder)}) > 1]
    )
    if not some:
        return []
    shown = f"{len(some)} of {counted(len(classes), 'class', 'classes')}"
    example = " and ".join(_split_names(tree, some[0])[:2])
    return [
        f"{shown} have folders of splits ({shortened('/'.join(some[0]))} has {example}), which are not taken as such"
    ]


def unknown_levels(sections: Sequence[Section], tree: Tree) -> bool:
    """Tell whether the folders in those that would be classes may be the classes as well, so that a table is asked."""
    plain = [each for each in sections if each.reason is None]
    are_outer = bool(plain) and all(each.class_name is None for each in plain)
    return are_outer and any(levels.own_photos_warning(tree, each.folder) for each in plain)


def doubtful_classes(sections: Sequence[Section], tree: Tree, listing: Listing, *, is_told: bool) -> list[str]:
    """Return why folders that are taken for classes may be none: the classes may lie in them, or they are parts.

    `is_told`: the user has said which folders are the classes.

    Raises:
        SourceRefused: they have no photos of their own, and the folders in them may be the classes as well.
    """
    plain = [each for each in sections if each.reason is None]
    if not plain or any(each.class_name is not None for each in plain):
        return []
    if is_told:
        return []
    for each in plain:
        levels.refuse_unknown_level(tree, each.folder, each.split, listing)
    first = plain[0].folder
    return [*levels.own_photos_warning(tree, first), *levels.parts_warning(tree, first)]


def _class_sections(tree: Tree, base: Base) -> list[Section] | None:
    """Return the one section of a source without splits, and the folders of a test without classes beside it."""
    children = tree.children(base.folder)
    flat = [name for name in children if (is_split_word(name) and split_of(name) != "train") or is_unlabelled(name)]
    aside = [name for name in flat if len(children) - len(flat) > 1 and not tree.children((*base.folder, name))]
    years = [name for name in children if levels.is_list_by_year(name)]
    classes = [name for name in children if name not in {*aside, *years}]
    is_mixed = len(classes) == 1 and (classes != children or tree.direct(base.folder) > 0)
    wrappers = sum(map(is_wrapper, children))
    is_joined = bool(levels.joined_parts(tree, base.folder))
    if is_mixed or (wrappers and len(children) - wrappers < 2 and not is_joined):
        return None
    inner = _inner_splits(tree, [(*base.folder, name) for name in classes])
    by_year = [Section((*base.folder, name), None, levels.BY_YEAR) for name in years]
    return [Section(base.folder, None), *inner, *(unlabelled((*base.folder, name)) for name in aside), *by_year]


def _inner_splits(tree: Tree, classes: Sequence[Path]) -> list[Section]:
    """Return the splits in the folders of classes, if nearly all of these have some, and there are two at least."""
    names_of = {folder: _split_names(tree, folder) for folder in classes}
    found = {split_of(name) for each in names_of.values() for name in each}
    with_splits = sum(bool(each) for each in names_of.values())
    if len(found) < 2 or len(classes) < 2 or with_splits < _LEAST_WITH_SPLITS * len(classes):
        return []
    return [
        Section((*folder, name), split_of(name), class_name=folder[-1])
        for folder, each in names_of.items()
        for name in each
    ]


def _split_names(tree: Tree, folder: Path) -> list[str]:
    return [name for name in tree.children(folder) if is_split_word(name)]


def _split_sections(found: Names, tree: Tree, base: Base) -> list[Section]:
    _refuse_twice(base)
    inner = [Section(inner_folder(tree, (*base.folder, name)), split) for name, split in base.splits.items()]
    known = {name for each in inner if each.split == "train" for name in tree.children(each.folder)}
    sections = [unlabelled(each.folder, each.split) if _is_contest(tree, each, known) else each for each in inner]
    others = [name for name in tree.children(base.folder) if name not in base.splits]
    copies = _second_copies(found, base) if others else set()
    return [*sections, *(_unused_section(tree, base, name, is_copy=name in copies) for name in others)]


def _unused_section(tree: Tree, base: Base, name: str, *, is_copy: bool) -> Section:
    folder = (*base.folder, name)
    if name.startswith("."):
        return Section(folder, None, "it is in a hidden folder")
    if is_unlabelled(name):
        return unlabelled(folder)
    if is_copy:
        return Section(folder, None, f"{shortened(name)} is a second copy of the whole dataset")
    is_meant = difflib.get_close_matches(name.casefold(), SPLIT_WORDS, cutoff=_ALIKE)
    if not is_meant and tree.below(folder) <= _FEW * tree.below(base.folder):
        return Section(folder, None, f"the folder {shortened('/'.join(folder))} is no split")
    raise SourceRefused("data layout", f"unknown folder {shortened(name)}", *_unknown(name, tree))


def unlabelled(folder: Path, split: str | None = None) -> Section:
    """Return the section of a folder that has no folders of classes: its photos are used if a table names them."""
    why = f"the folder {shortened('/'.join(folder))} {_UNKNOWN_CLASSES}"
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
        more = "put the photos of both into one of them, or move one out of the dataset"
        raise SourceRefused("data layout", f"the folders {both} both exist", f"both mean the {twice} split", more)


def _second_copies(found: Names, base: Base) -> set[str]:
    """Return the folders beside the splits all of whose photos are in the splits at the same paths."""
    depth = len(base.folder)
    below: dict[str, set[Path]] = defaultdict(set)
    for path in found.files:
        if len(path) > depth and path[:depth] == base.folder:
            below[path[depth]].add(path[depth:])
    own = {path for name in base.splits for path in below[name]}
    photos = {name: {path[1:] for path in each if names.is_image_name(path)} for name, each in below.items()}
    return {name for name, each in photos.items() if name not in base.splits and each and each <= own}


def _unknown(folder: str, tree: Tree) -> tuple[str, str]:
    close = difflib.get_close_matches(folder.lower(), SPLIT_WORDS, n=1)
    hint = f"rename it to {close[0]}, if you meant that" if close else "move it out of the dataset"
    why = f"its images would not be in any split; found: {tree.picture()}"
    return why, f"{hint}; then run the same command again"
