"""Find the tables of labels in a source, and which photo each of their rows means; reading is a given function."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tasks.data.entries import Entry, Listing, Unreadable
from tasks.data.label_table import (
    MOST_BYTES,
    Row,
    Table,
    clash_of,
    is_table_name,
    is_text,
    may_be_table,
    read_table,
)
from tasks.data.names import Names, Path, is_text_of_labels
from tasks.data.photo_index import Located, PhotoIndex, stem
from tasks.data.table_text import names_photo
from tasks.data.texts import counted, listed, listed_files, shortened

_MOST_TABLES = 200
"""So many tables that are not named as such are looked at, the outermost first."""

_ENOUGH = 0.5
"""The share of photos in tables that are named as such, from which on no others are looked at."""

Read = Callable[[Entry], bytes]


@dataclass
class Labels:
    """The rows of photos by their indices, the tables that they are from, and those that are not understood.

    `named_by` says by what numbers of classes got their names, and `lists` are those of names that were used. `empty`
    are the photos whose row has no class. Where two tables contradict each other there are no rows. `words` are the
    names that tables themselves give to numbers, and `missing` has the photos that are in a table and not here.
    `classes` are those that are known so far.
    """

    rows: dict[int, Row] = field(default_factory=dict)
    empty: set[int] = field(default_factory=set)
    table_of: dict[int, Table] = field(default_factory=dict)
    problems: list[Table] = field(default_factory=list)
    named_by: list[str] = field(default_factory=list)
    lists: list[Path] = field(default_factory=list)
    contradiction: str | None = None
    words: dict[str, str] = field(default_factory=dict)
    missing: dict[Path, list[str]] = field(default_factory=dict)
    classes: set[str] = field(default_factory=set)

    @property
    def tables(self) -> list[Table]:
        """The tables that were used, by their names."""
        used = {table.path: table for table in self.table_of.values()}
        return [used[path] for path in sorted(used)]

    @property
    def contradictions(self) -> list[str]:
        """The contradiction of tables, if there is one."""
        return [] if self.contradiction is None else [self.contradiction]

    @property
    def group(self) -> str | None:
        """The column that says which photos belong together, of the first table that has one."""
        return next((table.group for table in self.tables if table.group is not None), None)

    def notes(self, used: Sequence[int]) -> list[str]:
        """Return from which tables and columns the classes of these photos are."""
        tables: dict[str, dict[str, int]] = {}
        for index in used:
            table = self.table_of[index]
            by_name = tables.setdefault(table.labels, {})
            by_name[table.name] = by_name.get(table.name, 0) + 1
        return [
            f"the classes of {counted(sum(by_name.values()), 'photo')} are from {_and(sorted(by_name))}, {labels}"
            for labels, by_name in tables.items()
        ] + (self.named_by + self._missing_notes() if used else [])

    def _missing_notes(self) -> list[str]:
        """Return how many photos the used tables name that are not here."""
        return [
            f"{table.name} names {counted(len(files), 'photo')} that {'is' if len(files) == 1 else 'are'} not here "
            f"({listed_files(files)})"
            for table in self.tables
            if (files := self.missing.get(table.path))
        ]

    def rename(self, names: Mapping[str, str], told: str) -> None:
        """Give the classes these names, and keep what is to be said of it."""
        self.rows = {
            index: replace(row, class_name=names.get(row.class_name, row.class_name))
            for index, row in self.rows.items()
        }
        self.named_by.append(told)


def read_labels(
    listing: Listing, found: Names, groups: Sequence[Sequence[Located]], read: Read, classes: Collection[str] = ()
) -> Labels:
    """Read the tables of a source that name photos of these groups, of which an earlier one is preferred.

    Tables with other names than labels.csv and the like are looked at if those name less than half of the photos.
    `classes` are the folders of classes beside the photos. The largest tables are read first, because the classes of
    one tell which column of another has them. Where two tables disagree on a photo, the one counts whose column of
    classes is named as such; else no row is kept.
    """
    known, here, photos = known_names(groups), names_here(found), PhotoIndex(groups)
    entries = [
        (entry, path)
        for entry, path in files_of_labels(listing, found)
        if may_be_table(path) and not (is_text(path) and stem(path[-1]) in known)
    ]
    labels = Labels(classes=set(classes))
    others = sorted((each for each in entries if not is_table_name(each[1])), key=lambda each: len(each[1]))
    for chosen in ([each for each in entries if is_table_name(each[1])], others[:_MOST_TABLES]):
        if labels.rows and len(labels.rows) >= _ENOUGH * sum(map(len, groups)):
            return labels
        for entry, path in sorted(chosen, key=lambda each: -each[0].size_bytes):
            table = read_table(path, content_of(read, entry), known, labels.classes)
            if table is not None and not add_table(labels, table, photos, here):
                return _contradicted(labels.problems[0])
    has_all = len(labels.rows) + len(labels.empty) >= len({index for group in groups for index, _ in group})
    return labels if has_all else _within_limit(labels, others)


def _within_limit(labels: Labels, others: Sequence[tuple[Entry, Path]]) -> Labels:
    """Return the labels, or none if some are from tables of which only the first were read."""
    read = {path for _, path in others[:_MOST_TABLES]}
    if len(others) <= _MOST_TABLES or not any(table.path in read for table in labels.tables):
        return labels
    why = f"is one of {len(others):,} tables, of which {_MOST_TABLES} are read: write all into one labels.csv"
    return _contradicted(Table(others[0][1], (), problem=why))


def _contradicted(table: Table) -> Labels:
    return Labels(problems=[table], contradiction=f"no table of labels is used: {table.refusal()}")


def known_names(groups: Sequence[Sequence[Located]]) -> set[str]:
    """Return the names of photos, with and without their endings, and with a `/` those of folders that have a blank."""
    folders = {path[:-1] for group in groups for _, path in group}
    with_blanks = {f"{part}/" for folder in folders for part in folder if " " in part}
    return with_blanks | {name for group in groups for _, path in group for name in (path[-1], stem(path[-1]))}


def names_here(found: Names) -> set[str]:
    """Return the names of all files of a source, with and without their endings."""
    return {name for path in found.files if path for name in (path[-1], stem(path[-1]))}


def files_of_labels(listing: Listing, found: Names) -> list[tuple[Entry, Path]]:
    """Return the files that are no photos by their endings and can be read."""
    return [
        (entry, path)
        for entry, path in zip(listing.entries, found.files, strict=True)
        if path[-1] and is_text_of_labels(path) and entry.refusal is None and entry.size_bytes <= MOST_BYTES
    ]


def add_table(labels: Labels, table: Table, photos: PhotoIndex, here: Collection[str]) -> bool:
    """Add the rows of a table; False if they contradict those of another one that is as sure of its column.

    `here` are the names of all files (`names_here`). A table that contradicts itself is added to the problems.
    """
    located = photos.rows_of(table.rows, table.path)
    if problem := table.problem or clash_of(located):
        labels.problems.append(replace(table, rows=(), problem=problem))
        return True
    labels.words |= table.words
    labels.missing[table.path] = [row.file for row in table.rows if not names_photo(row.file, here)]
    found = {
        index: replace(row, class_name=labels.words.get(row.class_name, row.class_name))
        for index, row in _together(located).items()
    }
    rows = {index: row for index, row in found.items() if row.class_name}
    labels.empty |= found.keys() - rows.keys()
    if problem := _contradiction(labels, table, rows):
        labels.problems = [replace(table, problem=problem)]
        return False
    if not table.is_sure:
        rows = {index: row for index, row in rows.items() if not _differs(row, labels.rows.get(index))}
    for index, row in rows.items():
        before = labels.rows.get(index)
        labels.rows[index] = row if before is None or row.split else replace(row, split=before.split)
    labels.table_of |= dict.fromkeys(rows, table)
    labels.classes |= {row.class_name for row in rows.values()}
    return True


def _together(located: Sequence[tuple[int, Row]]) -> dict[int, Row]:
    """Return one row for each photo, with what any of its rows says."""
    found: dict[int, Row] = {}
    for index, row in located:
        if (before := found.get(index)) is not None:
            split, group = row.split or before.split, row.group or before.group
            row = Row(row.file, row.class_name or before.class_name, split, group)
        found[index] = row
    return found


def _differs(row: Row, before: Row | None) -> bool:
    return before is not None and row.class_name != before.class_name


def _contradiction(labels: Labels, table: Table, rows: Mapping[int, Row]) -> str | None:
    """Return how a table contradicts those before: in a class of columns that are as sure, or in a split."""
    for index in sorted(index for index in rows if index in labels.rows):
        row, before, other = rows[index], labels.rows[index], labels.table_of[index]
        if _differs(row, before) and other.is_sure == table.is_sure:
            return _contradicting(other, row.file, row.class_name, before.class_name)
        if row.split and before.split and row.split != before.split:
            return _contradicting(other, row.file, f"of {row.split}", f"of {before.split}")
    return None


def _contradicting(other: Table, file: str, one: str, two: str) -> str:
    photo = shortened(file)
    why = f"says that {photo} is {shortened(one)}, and {other.name} says that it is {shortened(two)}"
    return f"{why}: give only the right one of them"


def content_of(read: Read, entry: Entry) -> bytes:
    """Return the bytes of a table; none if it cannot be read."""
    try:
        return read(entry)
    except Unreadable:
        return b""


def _and(tables: Sequence[str]) -> str:
    files = {name.rpartition("/")[2] for name in tables}
    if len(tables) > 1 and len(files) == 1:
        return f"{len(tables)} files {files.pop()}"
    if len(tables) > 3:
        return listed(tables)
    return " and ".join([", ".join(tables[:-1]), tables[-1]] if len(tables) > 1 else tables)
