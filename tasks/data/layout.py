"""Find a source's splits and classes from its names: which file is a photo of which class, and what is not used.

The layouts are `train|valid|test/<class>/<photo>`, `<class>/<photo>` without splits, and photos that a table names
(`tasks.data.label_table`); folders around them are passed. Splits that the source lacks are made later
(`tasks.data.splits`). Pure functions on a listing, except that a table's bytes are read by the function that is given.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tasks.data import label_table, names
from tasks.data.contents import Contents, sort_files
from tasks.data.entries import Entry, Listing, Unreadable
from tasks.data.label_table import Row
from tasks.data.names import Names, Path
from tasks.data.sections import NEXT, Section, find_sections, unknown_layout
from tasks.data.spelling import read_spellings
from tasks.data.texts import listed, shortened
from tasks.data.tree import Tree
from tasks.run.errors import SourceRefused
from tasks.run.escaping import valid_text
from tasks.run.records import SPLITS, Quarantined

_NO_CLASS = "it is not in the folder of a class"

Read = Callable[[Entry], bytes]


@dataclass(frozen=True, slots=True)
class Candidate:
    """An entry, by its index in the listing, that should be an image of a class; without a split if that is made."""

    index: int
    split: str | None
    class_name: str


@dataclass(frozen=True)
class Layout:
    """The layout of a source, from its names; `classes` are in index order, and `ignored` counts irrelevant files.

    `unused` are files that look like images, of which `warnings` tell, and `notes` tell what was found and changed.
    The candidates without a split are to be distributed among `made`.
    """

    classes: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    quarantined: tuple[Quarantined, ...]
    ignored: int
    warnings: tuple[str, ...]
    unused: tuple[Quarantined, ...] = ()
    notes: tuple[str, ...] = ()
    made: tuple[str, ...] = ()


def read_layout(listing: Listing, read: Read | None = None) -> Layout:
    """Assign a listing's files to splits and classes; without `read`, no table of labels is looked at.

    Raises:
        SourceRefused: no splits and no classes are found, train is missing, a split exists twice, images are in an
            unknown folder, or the name of a class is not UTF-8 or is blank.
    """
    found = names.normalised(listing)
    files = sort_files(listing, found)
    sections = find_sections(listing, found, files.tree)
    rows = _table_rows(listing, found, files, sections, read)
    placed = _Placed(listing, found, files, sections, rows)
    for index in files.photos:
        placed.add(index)
    if not placed.classes and not files.refused:
        raise unknown_layout(listing, files.tree)
    made = _missing_splits(listing, placed, files.tree)
    folders = _class_folders(found, sections)
    _refuse_unusable({name for _, name in (*placed.classes, *folders)})
    spellings = read_spellings({**folders, **placed.classes})
    candidates = [
        Candidate(each.index, _split_in(each.split, made), spellings.classes[each.class_name])
        for each in placed.candidates
    ]
    unused = [Quarantined(valid_text(listing.entries[i].name), why) for i, why in (*files.unused, *placed.unused)]
    return Layout(
        tuple(sorted(set(spellings.classes.values()))),
        tuple(candidates),
        (*files.refused, *placed.quarantined),
        files.others.total() + len(unused),
        (*spellings.warnings, *_unused_warnings(unused)),
        tuple(unused),
        (*found.notes, *placed.notes, *_others_note(files.others)),
        made,
    )


def _split_in(split: str | None, made: Sequence[str]) -> str | None:
    """Return a photo's split, or None if it is to be distributed."""
    return None if made and split in {None, "train"} else split or "train"


def _table_rows(
    listing: Listing, found: Names, files: Contents, sections: Sequence[Section], read: Read | None
) -> dict[int, Row]:
    """Return what tables say of the photos that lie in no folder of a class, if a section has only such photos."""
    flat = [each for each in sections if not files.tree.children(each.folder)]
    if read is None or not any(each.reason is None for each in flat):
        return {}
    groups = [
        [(index, found.files[index]) for index in files.photos if found.files[index][:-1] == each.folder]
        for each in sorted(flat, key=lambda each: each.split != "train")
    ]
    rows: dict[int, Row] = {}
    for entry, path in zip(listing.entries, found.files, strict=True):
        if label_table.is_table_name(path) and entry.refusal is None and entry.size_bytes <= label_table.MOST_BYTES:
            below = [[each for each in group if each[1][: len(path) - 1] == path[:-1]] for group in groups]
            read_rows = label_table.read_table(path, _content(read, entry))
            rows |= label_table.match_rows(read_rows, path[:-1], below if any(below) else groups)
    return rows


def _content(read: Read, entry: Entry) -> bytes:
    try:
        return read(entry)
    except Unreadable:
        return b""


class _Placed:
    """The photos as they are placed: candidates, and those that are not used, with the reasons."""

    def __init__(
        self,
        listing: Listing,
        found: Names,
        files: Contents,
        sections: Sequence[Section],
        rows: Mapping[int, Row],
    ) -> None:
        self._listing, self._found, self._files, self._rows = listing, found, files, rows
        self._sections = {each.folder: each for each in sections}
        self._depths = sorted({len(each.folder) for each in sections}, reverse=True)
        self.candidates: list[Candidate] = []
        self.quarantined: list[Quarantined] = []
        self.unused: list[tuple[int, str]] = []
        self.classes: dict[tuple[str | None, str], str] = {}

    @property
    def notes(self) -> list[str]:
        """What is to be said of tables."""
        count = sum(each.index in self._rows for each in self.candidates)
        return [f"the classes of {count:,} photos are from a table beside them"] if count else []

    def add(self, index: int) -> None:
        """Place a photo."""
        path, section = self._found.files[index], self._section(self._found.files[index])
        if section is None:
            self._leave(index, "it is in no folder of a split or a class")
        elif index in self._rows:
            row = self._rows[index]
            self._take(index, section.split or row.split, row.class_name)
        elif section.reason is not None:
            self._leave(index, section.reason)
        elif len(path) > len(section.folder) + 1 and self._is_class(section, path):
            self._take(index, section.split, path[len(section.folder)])
        elif self._rows:
            self._leave(index, "the table of labels does not name it")
        elif section.split is None or not self._looks_like_photo(path):
            self._leave(index, _NO_CLASS)
        else:
            self.quarantined.append(Quarantined(valid_text(self._listing.entries[index].name), _NO_CLASS))

    def _section(self, path: Path) -> Section | None:
        return next((self._sections[path[:n]] for n in self._depths if path[:n] in self._sections), None)

    def _is_class(self, section: Section, path: Path) -> bool:
        """Tell whether the folder of the section that a file is in has photos, or the file is in a broken one."""
        return self._files.tree.below(path[: len(section.folder) + 1]) > 0

    def _looks_like_photo(self, path: Path) -> bool:
        return names.is_image_name(path) or not self._files.has_images

    def _take(self, index: int, split: str | None, class_name: str) -> None:
        self.candidates.append(Candidate(index, split, class_name))
        self.classes.setdefault((split, class_name), self._listing.entries[index].name)

    def _leave(self, index: int, reason: str) -> None:
        path = self._found.files[index]
        if self._looks_like_photo(path):
            self.unused.append((index, reason))
        else:
            self._files.others[f".{names.suffix(path)}" if names.suffix(path) else "no ending"] += 1


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
        raise SourceRefused("data layout", f"{listing.path} has no train folder with folders of classes", why, NEXT)
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
        if each.reason is None and path[:-1] == each.folder and not path[-1].startswith(".")
    }


def _refuse_unusable(classes: Iterable[str]) -> None:
    why = "the name of a class is a label of the model, and no file or answer could have this one"
    for name in sorted(classes):
        if valid_text(name) != name:
            raise SourceRefused("data layout", f"the name of the class {shortened(name)} is not UTF-8", why, NEXT)
        if not names.visible(name):
            raise SourceRefused("data layout", f"the name of the class {name!a} is blank", why, NEXT)


def _unused_warnings(unused: Sequence[Quarantined]) -> list[str]:
    by_reason: dict[str, list[str]] = defaultdict(list)
    for item in unused:
        by_reason[item.reason].append(shortened(item.name))
    return [
        f"{len(files):,} files that look like images are not used: {reason} ({listed(files)})"
        for reason, files in by_reason.items()
    ]


def _others_note(others: Counter[str]) -> list[str]:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in others.most_common())
    return [f"{others.total():,} files are no photos and are not used: {kinds}"] if others else []
