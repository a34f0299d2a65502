"""Find a source's splits and classes from its names: which file is a photo of which class, and what is not used.

The layouts are `train|valid|test/<class>/<photo>`, `<class>/<photo>` without splits, and photos that a table names
(`tasks.data.label_table`); folders around them are passed. Lists may give the splits (`tasks.data.split_lists`), and
those that the source lacks are made later (`tasks.data.splits`). Pure functions on a listing, except that the bytes of
tables and lists are read by the function that is given.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from tasks.data import levels, names
from tasks.data.class_names import Naming, name_folders
from tasks.data.class_source import ClassSource
from tasks.data.contents import Contents, sort_files
from tasks.data.deciding_table import told_unused
from tasks.data.entries import Listing
from tasks.data.label_rows import Labels, Read
from tasks.data.layout_texts import others_note, unnamed_text, unused_warnings, views_warnings
from tasks.data.names import Names, Path
from tasks.data.refusals import unknown_layout
from tasks.data.sections import (
    Section,
    doubtful_classes,
    level_notes,
    splits_in_classes,
)
from tasks.data.spelling import read_spellings
from tasks.data.split_lists import SplitLists, read_split_lists
from tasks.data.texts import LAYOUTS, shortened
from tasks.data.tree import Tree
from tasks.run.errors import SourceRefused
from tasks.run.escaping import valid_text
from tasks.run.options import ClassFolder
from tasks.run.records import SPLITS, Quarantined

_NO_CLASS = "it is not in the folder of a class"
_UNNAMED = "no table of labels names it"
_UNLABELLED = "its cell for the class is empty"
_UNLISTED = "no list of a split names it"
_RENAME = "rename its folder, or its label in the table"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry, by its index in the listing, that should be an image of a class; without a split if that is made.

    `group` is what a table says of it and of the photos that belong to it.
    """

    index: int
    split: str | None
    class_name: str
    group: str | None = None


@dataclass(frozen=True)
class Layout:
    """The layout of a source, from its names; `classes` are in index order, and `ignored` counts irrelevant files.

    `unused` are files that look like images, of which `warnings` tell, and `notes` tell what was found and changed.
    The candidates without a split are to be distributed among `made`. `group` is the table's column of their groups.
    `doubts` are those of the warnings by which the classes may not be the ones that are meant.
    """

    classes: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    quarantined: tuple[Quarantined, ...]
    ignored: int
    warnings: tuple[str, ...]
    unused: tuple[Quarantined, ...] = ()
    notes: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    group: str | None = None
    doubts: tuple[str, ...] = ()


def read_layout(listing: Listing, read: Read | None = None, class_folder: ClassFolder = "auto") -> Layout:
    """Assign a listing's files to splits and classes; without `read`, no table of labels is looked at.

    Raises:
        SourceRefused: no splits and no classes are found, train is missing, a split exists twice, images are in an
            unknown folder, the name of a class is not UTF-8 or is blank, or of several levels of folders it cannot be
            told which are the classes.
    """
    found = names.normalised(listing)
    files = sort_files(listing, found)
    seen = ClassSource(listing, found, files, read, class_folder)
    labels, sections = seen.labels, seen.sections
    placed = _Placed(listing, found, files, sections, labels)
    for index in files.photos:
        placed.add(index)
    lists = _split_lists(listing, found, placed, read)
    placed.divide(lists)
    if not placed.classes and not files.refused:
        raise unknown_layout(listing, found, files, labels.problems)
    made = _missing_splits(listing, placed, files.tree)
    folders = _class_folders(found, sections)
    _refuse_unusable({name for _, name in (*placed.classes, *folders)})
    spellings = read_spellings({**folders, **placed.classes})
    used = {*(table.path for table in labels.tables), *labels.lists, *lists.paths}
    used |= {seen.column[0]} if seen.column else set()
    naming = _naming(listing, found, placed, read, {*spellings.classes.values()}, used)
    _refuse_unusable(naming.names.values())
    classes = {name: naming.names.get(label, label) for name, label in spellings.classes.items()}
    candidates = [
        Candidate(each.index, _split_in(each.split, made), classes[each.class_name], each.group)
        for each in placed.candidates
    ]
    unused = [(valid_text(listing.entries[i].name), why) for i, why in (*files.unused, *placed.unused)]
    doubtful = (
        []
        if labels.rows
        else doubtful_classes(sections, files.tree, listing, is_told=class_folder != "auto" or seen.column is not None)
    )
    used |= {*naming.lists}
    for path in used:
        files.others.remove(path)
    doubts = (*spellings.warnings, *views_warnings(found, files, labels), *doubtful, *labels.contradictions)
    unused_tables = seen.unused_tables(used, lists)
    ignored = files.others.total() + len(unused)
    for path in unused_tables:
        files.others.remove(path)
    return Layout(
        tuple(sorted(set(classes.values()))),
        tuple(candidates),
        (*files.refused, *placed.quarantined),
        ignored,
        (
            *doubts,
            *placed.warnings(),
            *lists.warnings,
            *unused_warnings(unused, {_UNNAMED, _UNLABELLED}),
        ),
        tuple(Quarantined(name, why) for name, why in unused),
        (
            *found.notes,
            *placed.notes,
            *seen.notes,
            *level_notes(sections, files.tree),
            *spellings.notes,
            *naming.notes,
            *lists.notes,
            *splits_in_classes(sections, files.tree),
            *told_unused(unused_tables),
            *others_note(files.others),
        ),
        made,
        labels.group,
        doubts,
    )


def _naming(
    listing: Listing, found: Names, placed: _Placed, read: Read | None, classes: set[str], used: set[Path]
) -> Naming:
    """Return the names of classes that are folders with numbers as names; those of tables are named before."""
    if read is None or not placed.has_folders:
        return Naming()
    return name_folders(classes, listing, found, read, used)


def _split_in(split: str | None, made: Sequence[str]) -> str | None:
    """Return a photo's split, or None if it is to be distributed."""
    return None if made and split in {None, "train"} else split or "train"


def _split_lists(listing: Listing, found: Names, placed: _Placed, read: Read | None) -> SplitLists:
    """Return what lists say of the photos whose split is not told by their folders or tables."""
    photos = [(each.index, found.files[each.index]) for each in placed.candidates if each.split is None]
    return read_split_lists(listing, found, photos, read) if read and photos else SplitLists({})


class _Placed:
    """The photos as they are placed: candidates, and those that are not used, with the reasons."""

    def __init__(
        self,
        listing: Listing,
        found: Names,
        files: Contents,
        sections: Sequence[Section],
        labels: Labels,
    ) -> None:
        self._listing, self._found, self._files, self._labels = listing, found, files, labels
        self._rows = labels.rows
        self._sections = {each.folder: each for each in sections}
        self._depths = sorted({len(each.folder) for each in sections}, reverse=True)
        self._section_of: dict[Path, Section | None] = {}
        self.candidates: list[Candidate] = []
        self.quarantined: list[Quarantined] = []
        self.unused: list[tuple[int, str]] = []
        self.classes: dict[tuple[str | None, str], str] = {}

    @property
    def notes(self) -> list[str]:
        """What is to be said of tables."""
        return self._labels.notes([each.index for each in self.candidates if each.index in self._rows])

    @property
    def has_folders(self) -> bool:
        """Whether the classes of some photos are from their folders."""
        return any(each.index not in self._rows for each in self.candidates)

    def warnings(self) -> list[str]:
        """Return which photos the tables do not name, by their folders."""
        by_folder: dict[tuple[str, Path], list[str]] = defaultdict(list)
        for index, reason in self.unused:
            if reason in {_UNNAMED, _UNLABELLED}:
                by_folder[reason, self._found.files[index][:-1]].append("/".join(self._found.files[index]))
        named = Counter(self._found.files[index][:-1] for index in self._rows)
        tables = self._labels.tables
        one = tables[0].name if len(tables) == 1 else ""
        subjects = {
            _UNNAMED: f"{one} does not name" if one else "no table names",
            _UNLABELLED: f"{one or 'the tables'} {'has' if one else 'have'} no class for",
        }
        return [
            f"{subjects[reason]} {unnamed_text(folder, files, named[folder])} not used"
            for (reason, folder), files in sorted(by_folder.items())
        ]

    def add(self, index: int) -> None:
        """Place a photo."""
        path, section = self._found.files[index], self._section(self._found.files[index])
        if section is None:
            self._leave(index, "it is in no folder of a split or a class")
        elif index in self._rows:
            row = self._rows[index]
            self._take(index, section.split or row.split, row.class_name, row.group)
        elif index in self._labels.empty:
            self._leave(index, _UNLABELLED)
        elif section.reason is not None:
            self._leave(index, self._reason(index, section.reason, is_unlabelled=section.is_unlabelled))
        elif section.class_name is not None:
            self._take(index, section.split, section.class_name)
        elif len(path) > len(section.folder) + 1 and self._is_class(section, path):
            self._take(index, section.split, path[len(section.folder)])
        elif self._rows:
            self._leave(index, _UNNAMED)
        elif section.split is None or not self._looks_like_photo(path):
            self._leave(index, _NO_CLASS)
        else:
            self.quarantined.append(Quarantined(valid_text(self._listing.entries[index].name), _NO_CLASS))

    def divide(self, lists: SplitLists) -> None:
        """Give the photos of no split those of the lists."""
        if not lists.splits:
            return
        placed, self.candidates, self.classes = self.candidates, [], {}
        for each in placed:
            if each.split is None and each.index in lists.left:
                self._leave(each.index, _UNLISTED)
            else:
                self._take(each.index, each.split or lists.splits.get(each.index), each.class_name, each.group)

    def _section(self, path: Path) -> Section | None:
        folder = path[:-1]
        if folder not in self._section_of:
            above = (folder[:n] for n in self._depths if n <= len(folder))
            self._section_of[folder] = next((self._sections[each] for each in above if each in self._sections), None)
        return self._section_of[folder]

    def _reason(self, index: int, reason: str, *, is_unlabelled: bool) -> str:
        """Return why a photo of a section is not used that has this reason."""
        if reason == levels.BY_YEAR and self._name_and_size(index) not in self._in_albums:
            return levels.IN_NO_ALBUM
        return _UNNAMED if self._rows and is_unlabelled else reason

    @cached_property
    def _in_albums(self) -> set[tuple[str, int]]:
        """The names and sizes of the photos in folders of classes."""
        sections = ((index, self._section(self._found.files[index])) for index in self._files.photos)
        return {self._name_and_size(index) for index, section in sections if section and section.reason is None}

    def _name_and_size(self, index: int) -> tuple[str, int]:
        return self._found.files[index][-1], self._listing.entries[index].size_bytes

    def _is_class(self, section: Section, path: Path) -> bool:
        """Tell whether the folder of the section that a file is in has photos, or the file is in a broken one."""
        return self._files.tree.below(path[: len(section.folder) + 1]) > 0

    def _looks_like_photo(self, path: Path) -> bool:
        return names.is_image_name(path) or not self._files.has_images

    def _take(self, index: int, split: str | None, class_name: str, group: str | None = None) -> None:
        self.candidates.append(Candidate(index, split, class_name, group))
        self.classes.setdefault((split, class_name), self._listing.entries[index].name)

    def _leave(self, index: int, reason: str) -> None:
        path = self._found.files[index]
        if self._looks_like_photo(path):
            self.unused.append((index, reason))
        else:
            self._files.others.add(path)


def _missing_splits(listing: Listing, placed: _Placed, tree: Tree) -> tuple[str, ...]:
    """Return the splits among which photos of no split, or those of train, are to be distributed; none if all exist.

    Raises:
        SourceRefused: there are splits, and train is not one of them.
    """
    has = {split for split, _ in placed.classes}
    if has <= {None}:
        return SPLITS if has else ()
    if has.isdisjoint({None, "train"}):
        why = f"training needs a train split, from which the others can be made; found: {tree.picture()}"
        more = f"name the folder of the photos to train on train, or remove the folders of the other splits; {LAYOUTS}"
        raise SourceRefused("data layout", f"{listing.path} has no train folder with folders of classes", why, more)
    missing = [split for split in SPLITS[1:] if split not in has]
    return ("train", *missing) if missing else ()


def _class_folders(found: Names, sections: Sequence[Section]) -> dict[tuple[str | None, str], str]:
    """Return the empty folders where folders of classes are: they are classes without images."""
    used = {path[:depth] for path in found.files for depth in range(1, len(path))}
    empty = [path for path in found.folders if path not in used and names.foreign_reason(path) is None]
    return {
        (each.split, path[-1]): f"no file of {path[-1]}"
        for each in sections
        for path in empty
        if each.reason is None and each.class_name is None
        if path[:-1] == each.folder and not path[-1].startswith(".")
    }


def _refuse_unusable(classes: Iterable[str]) -> None:
    why = "the name of a class is a label of the model, and no file or answer could have this one"
    for name in sorted(classes):
        if valid_text(name) != name:
            raise SourceRefused("data layout", f"the name of the class {shortened(name)} is not UTF-8", why, _RENAME)
        if not names.visible(name):
            raise SourceRefused("data layout", f"the name of the class {name!a} is blank", why, _RENAME)
