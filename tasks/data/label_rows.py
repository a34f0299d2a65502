"""Find the tables of labels in a source, and which photo each of their rows means; reading is a given function."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tasks.data.entries import Entry, Listing, Unreadable
from tasks.data.label_table import MOST_BYTES, Row, Table, is_table_name, is_text, may_be_table, read_table
from tasks.data.names import Names, Path, is_text_of_labels
from tasks.data.table_text import names_photo
from tasks.data.texts import counted, listed, listed_files, shortened
from tasks.data.tree import is_split_word, split_of

_MOST_TABLES = 20
"""So many tables that are not named as such are looked at, the outermost first."""

_ENOUGH = 0.5
"""The share of photos in tables that are named as such, from which on no others are looked at."""

Read = Callable[[Entry], bytes]
Located = tuple[int, Path]


@dataclass
class Labels:
    """The rows of photos by their indices, the tables that they are from, and those that are not understood.

    `named_by` says by what numbers of classes got their names, and `lists` are those of names that were used. `empty`
    are the photos whose row has no class. Where two tables contradict each other there are no rows. `words` are the
    names that tables themselves give to numbers, and `missing` has the photos that are in a table and not here.
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

    @property
    def tables(self) -> list[Table]:
        """The tables that were used, by their names."""
        used = {table.path: table for table in self.table_of.values()}
        return [used[path] for path in sorted(used)]

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
    known, here = known_names(groups), names_here(found)
    entries = [
        (entry, path)
        for entry, path in files_of_labels(listing, found)
        if may_be_table(path) and not (is_text(path) and _stem(path[-1]) in known)
    ]
    labels = Labels()
    others = sorted((each for each in entries if not is_table_name(each[1])), key=lambda each: len(each[1]))
    for chosen in ([each for each in entries if is_table_name(each[1])], others[:_MOST_TABLES]):
        for entry, path in sorted(chosen, key=lambda each: -each[0].size_bytes):
            so_far = {*classes, *(row.class_name for row in labels.rows.values())}
            table = read_table(path, content_of(read, entry), known, so_far)
            if table is not None and not add_table(labels, table, groups, here):
                text = f"no table of labels is used: {labels.problems[0].refusal()}"
                return Labels(problems=labels.problems, contradiction=text)
        if labels.rows and len(labels.rows) >= _ENOUGH * sum(map(len, groups)):
            break
    return labels


def known_names(groups: Sequence[Sequence[Located]]) -> set[str]:
    """Return the names of photos, with and without their endings, and with a `/` those of folders that have a blank."""
    folders = {path[:-1] for group in groups for _, path in group}
    with_blanks = {f"{part}/" for folder in folders for part in folder if " " in part}
    return with_blanks | {name for group in groups for _, path in group for name in (path[-1], _stem(path[-1]))}


def names_here(found: Names) -> set[str]:
    """Return the names of all files of a source, with and without their endings."""
    return {name for path in found.files if path for name in (path[-1], _stem(path[-1]))}


def files_of_labels(listing: Listing, found: Names) -> list[tuple[Entry, Path]]:
    """Return the files that are no photos by their endings and can be read."""
    return [
        (entry, path)
        for entry, path in zip(listing.entries, found.files, strict=True)
        if path[-1] and is_text_of_labels(path) and entry.refusal is None and entry.size_bytes <= MOST_BYTES
    ]


def match_rows(rows: Sequence[Row], folder: Path, groups: Sequence[Sequence[Located]]) -> dict[int, Row]:
    """Map the indices of photos to the rows that name them, by the longest end of their paths.

    A row may name a photo from the table's folder, by some of the last folders of its path, or without its ending. What
    all rows of a table have before that, such as `gs://bucket/`, need not be here. In one group, a name that is there
    twice means no photo.
    """
    by_name: dict[str, Located | None] = {}
    for group in groups:
        by_name = {**_named(group, folder), **by_name}
    begin = _common_folders(rows)
    found = ((_photo(row.file.split("/"), begin, by_name), row) for row in rows)
    return {index: row for index, row in found if index is not None}


def add_table(labels: Labels, table: Table, groups: Sequence[Sequence[Located]], here: Collection[str]) -> bool:
    """Add the rows of a table; False if they contradict those of another one that is as sure of its column.

    `here` are the names of all files (`names_here`).
    """
    if table.problem is not None:
        labels.problems.append(table)
        return True
    labels.words |= table.words
    labels.missing[table.path] = [row.file for row in table.rows if not names_photo(row.file, here)]
    given = located_rows(table.rows, table.path, groups)
    found = {
        index: replace(row, class_name=labels.words.get(row.class_name, row.class_name)) for index, row in given.items()
    }
    rows = {index: row for index, row in found.items() if row.class_name}
    labels.empty |= found.keys() - rows.keys()
    differing = [i for i in rows.keys() & labels.rows.keys() if rows[i].class_name != labels.rows[i].class_name]
    unsure = [index for index in differing if labels.table_of[index].is_sure == table.is_sure]
    if unsure:
        first = min(unsure)
        other = labels.table_of[first]
        labels.problems = [_contradicting(table, other, rows[first], labels.rows[first])]
        return False
    if not table.is_sure:
        rows = {index: row for index, row in rows.items() if index not in set(differing)}
    for index, row in rows.items():
        before = labels.rows.get(index)
        labels.rows[index] = row if before is None or row.split else replace(row, split=before.split)
    labels.table_of |= dict.fromkeys(rows, table)
    return True


def located_rows(rows: Sequence[Row], path: Path, groups: Sequence[Sequence[Located]]) -> dict[int, Row]:
    """Map the indices of photos to the rows that name them, of a table with this path.

    The photos in the table's folder are preferred. One that is named for a split means no photo in another's folder.
    """
    folder, split = path[:-1], split_of(path[-1].rpartition(".")[0])
    own = [[each for each in group if split_above(each[1][:-1]) in {None, split}] for group in groups]
    groups = own if split else groups
    below = [[each for each in group if each[1][: len(folder)] == folder] for group in groups]
    return match_rows(rows, folder, below if any(below) else groups)


def split_above(folder: Path) -> str | None:
    """Return the split that the innermost folder named as one means."""
    return next((split_of(part) for part in reversed(folder) if is_split_word(part)), None)


def _contradicting(table: Table, other: Table, row: Row, before: Row) -> Table:
    photo, one, two = shortened(row.file), shortened(row.class_name), shortened(before.class_name)
    why = f"says that {photo} is {one}, and {other.name} says that it is {two}: give only the right one of them"
    return replace(table, problem=why)


def content_of(read: Read, entry: Entry) -> bytes:
    """Return the bytes of a table; none if it cannot be read."""
    try:
        return read(entry)
    except Unreadable:
        return b""


def _named(group: Sequence[Located], folder: Path) -> dict[str, Located | None]:
    """Return the photos of a group by the ends of their paths; from the table's folder, a name is never ambiguous."""
    ends: dict[str, Located | None] = {}
    exact: dict[str, Located | None] = {}
    for index, path in group:
        if path[: len(folder)] == folder:
            exact["/".join(path[len(folder) :])] = (index, path)
        for name in ("/".join(path[n:]) for n in range(len(path))):
            for key in {name, _stem(name)}:
                seen = ends.get(key, (index, path))
                ends[key] = (index, path) if seen is not None and seen[0] == index else None
    return {**ends, **exact}


def _common_folders(rows: Sequence[Row]) -> int:
    """Return how many folders all rows begin with alike."""
    split = [row.file.split("/")[:-1] for row in rows]
    first, last = (min(split), max(split)) if split else ([], [])
    return next((n for n, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))


def _photo(parts: Sequence[str], common: int, by_name: Mapping[str, Located | None]) -> int | None:
    """Return the photo that a row means; without any of the folders that all rows have, but not another split's."""
    for skipped in range(min(common, len(parts) - 1) + 1):
        name = "/".join(parts[skipped:])
        if name in by_name:
            found = by_name[name]
            return None if found is None or _is_of_other_split(parts[:skipped], found[1]) else found[0]
    return None


def _is_of_other_split(skipped: Sequence[str], path: Path) -> bool:
    wanted = {split_of(part) for part in skipped if is_split_word(part)}
    own = {split_of(part) for part in path[:-1] if is_split_word(part)}
    return bool(wanted) and bool(own) and wanted != own


def _stem(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    return folder + slash + (file.rpartition(".")[0] or file)


def _and(tables: Sequence[str]) -> str:
    files = {name.rpartition("/")[2] for name in tables}
    if len(tables) > 1 and len(files) == 1:
        return f"{len(tables)} files {files.pop()}"
    if len(tables) > 3:
        return listed(tables)
    return " and ".join([", ".join(tables[:-1]), tables[-1]] if len(tables) > 1 else tables)
