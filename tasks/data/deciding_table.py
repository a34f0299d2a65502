"""Find the tables that tell which folders are the classes, or that there are none among the folders.

A labels.csv or metadata.csv (.tsv, .jsonl) with the columns file_name and label that names nearly all photos is the
user's word: its labels are the classes, whatever the folders are. A column of another table, whose values are the names
of the folders that the photos lie in, tells that these folders are the classes.
"""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tasks.data import levels
from tasks.data.entries import Listing
from tasks.data.label_columns import file_column
from tasks.data.label_rows import (
    Labels,
    Read,
    add_table,
    content_of,
    files_of_labels,
    known_names,
    names_here,
)
from tasks.data.label_table import Row, Table, is_text, may_be_table, read_table
from tasks.data.names import Names, Path
from tasks.data.photo_index import Located, PhotoIndex, stem
from tasks.data.table_text import Record, plain_name, records_of
from tasks.data.texts import LAYOUTS, counted, enumerated, shortened
from tasks.run.errors import SourceRefused

_STEMS = frozenset({"labels", "metadata"})
_COLUMNS = frozenset({"file_name", "label"})
_LEAST_NAMED = 0.9
_MOST_TABLES = 20
_BETWEEN = re.compile(r"[-_\s]+")


@dataclass
class Decision:
    """What a table of the user says of the photos; `unused` maps the tables that do not decide to why."""

    labels: Labels = field(default_factory=Labels)
    unused: dict[Path, str] = field(default_factory=dict)


def user_labels(listing: Listing, found: Names, photos: Sequence[Located], read: Read) -> Decision:
    """Return the labels that the user's tables give to at least 90 % of the photos, or why they do not.

    Raises:
        SourceRefused: they name photos by names that several photos have.
    """
    tables = _user_tables(listing, found, photos, read)
    decision, here, index_of = Decision(), names_here(found), PhotoIndex([photos])
    counts, stems = _counts(photos)
    doubtful: dict[Path, set[str]] = {}
    for table in tables:
        if problem := table.problem or _lacking(table):
            decision.unused[table.path] = f"it {problem}"
        elif not add_table(decision.labels, table, index_of, here):
            problem = decision.labels.problems[0].problem or ""
            return Decision(unused={**decision.unused, table.path: f"it {problem}"})
        elif refused := [each for each in decision.labels.problems[-1:] if each.path == table.path]:
            decision.unused[table.path] = f"it {refused[0].problem}"
        elif names := _doubtful_names(table, index_of, counts, stems):
            doubtful[table.path] = names
    together = set.union(*doubtful.values()) if doubtful else set()
    count = sum(index in decision.labels.rows or path[-1] in together for index, path in photos)
    if count < _LEAST_NAMED * len(photos):
        used = [table for table in tables if table.path not in decision.unused]
        why = f"it names {count:,} of {counted(len(photos), 'photo')}, and decides over folders from 90 % on"
        return Decision(unused=decision.unused | {table.path: why for table in used})
    for path, names in doubtful.items():
        raise _refusal(path, min(names), photos)
    _name_numbers(decision.labels, photos)
    return decision


def told_unused(unused: Mapping[Path, str]) -> list[str]:
    """Return which tables of the user are not used, and why; once for several of one reason."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for path, why in sorted(unused.items()):
        by_reason[why].append("/".join(path))
    return [f"{enumerated(names)} {_not_used(why, len(names))}" for why, names in by_reason.items()]


def _not_used(why: str, count: int) -> str:
    if count == 1:
        return f"is not used: {why}"
    return f"are not used: each {why.removeprefix('it ')}" if why.startswith("it ") else f"are not used: {why}"


def agreeing_column(
    listing: Listing, found: Names, photos: Sequence[Located], own: Mapping[int, str], read: Read
) -> tuple[Path, str] | None:
    """Return the table and its column whose values are the names of the folders that the photos lie in; None for none.

    `own` maps the indices of photos to these names.
    """
    known, index_of = known_names([photos]), PhotoIndex([photos])
    files = [
        (entry, path) for entry, path in files_of_labels(listing, found) if may_be_table(path) and not is_text(path)
    ]
    for entry, path in sorted(files, key=lambda each: len(each[1]))[:_MOST_TABLES]:
        try:
            header, records = records_of(path, content_of(read, entry), known)
        except (ValueError, csv.Error):
            continue
        file = file_column(header, records, known)
        located = _located(path, file, records, index_of) if file else {}
        if len(located) < _LEAST_NAMED * len(photos):
            continue
        for column in header:
            if column != file and _agrees({index: each.get(column, "") for index, each in located.items()}, own):
                return path, column
    return None


def _located(path: Path, file: str, records: Sequence[Record], photos: PhotoIndex) -> dict[int, Record]:
    rows = [Row(plain_name(each.get(file, "")), str(n), None) for n, each in enumerate(records)]
    found = photos.rows_of([row for row in rows if row.file], path)
    return {index: records[int(row.class_name)] for index, row in found}


def _agrees(values: Mapping[int, str], own: Mapping[int, str]) -> bool:
    names = {index: _plain(value) for index, value in values.items()}
    return len(set(names.values())) > 1 and all(name == _plain(own.get(index, "")) for index, name in names.items())


def _plain(name: str) -> str:
    return _BETWEEN.sub(" ", levels.folded(name)).strip()


def _user_tables(listing: Listing, found: Names, photos: Sequence[Located], read: Read) -> list[Table]:
    known = known_names([photos])
    tables = (
        read_table(path, content_of(read, entry), known)
        for entry, path in files_of_labels(listing, found)
        if path[-1].rpartition(".")[0].lower() in _STEMS and not is_text(path)
    )
    return [table for table in tables if table is not None]


def _lacking(table: Table) -> str | None:
    """Return which columns a table lacks that decides over folders."""
    has = {name.strip().lower().replace(" ", "_") for name in table.header}
    lacking = sorted(_COLUMNS - has)
    return f"has no column {' and no column '.join(lacking)}, so that the folders are the classes" if lacking else None


def _counts(photos: Sequence[Located]) -> tuple[Counter[str], dict[str, set[str]]]:
    """Return how many photos have each name, and the names by their stems."""
    counts = Counter(path[-1] for _, path in photos)
    stems: dict[str, set[str]] = defaultdict(set)
    for name in counts:
        stems[stem(name)].add(name)
    return counts, stems


def _doubtful_names(
    table: Table, photos: PhotoIndex, counts: Mapping[str, int], stems: Mapping[str, set[str]]
) -> set[str]:
    """Return the names in a table that several photos have, so that it cannot be told which one is meant."""
    located = {row.file for _, row in photos.rows_of(table.rows, table.path)}
    left = [row.file.rpartition("/")[2] for row in table.rows if row.file not in located]
    whole = [name if name in counts else min(stems.get(name, {""})) for name in left]
    return {name for name in whole if counts.get(name, 0) > 1}


def _refusal(path: Path, name: str, photos: Sequence[Located]) -> SourceRefused:
    paths = sorted("/".join(each) for _, each in photos if each[-1] == name)
    table = shortened("/".join(path))
    what = f"{table} names {shortened(name)}, and {len(paths):,} photos have this name"
    why = f"which of them is meant cannot be told: {enumerated(paths)}"
    more = f"write the paths into its column file_name, such as file_name,label / {shortened(paths[0])},cat"
    return SourceRefused("data layout", what, why, f"{more}; {LAYOUTS}")


def _name_numbers(labels: Labels, photos: Sequence[Located]) -> None:
    """Name classes that are numbers by the folders of their photos, if there is one of words for each number."""
    folders: dict[str, set[str]] = defaultdict(set)
    for index, path in photos:
        if index in labels.rows and len(path) > 1:
            folders[labels.rows[index].class_name].add(path[-2])
    words = {value: min(names) for value, names in folders.items() if len(names) == 1}
    is_told = len(words) == len(folders) == len(set(words.values())) and all(map(str.isdecimal, folders))
    if is_told and not any(map(str.isdecimal, words.values())):
        labels.rename(words, "the classes are named by the folders of their photos")
