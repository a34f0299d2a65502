"""Read a table of labels: Kaggle's labels.csv, Hugging Face's metadata.csv or .jsonl, Roboflow's and Google's exports.

A table has a column that names photos, and one with their class or one for each class. Which they are is told by their
names and by what is in them. Which photo a row means is found by `tasks.data.label_rows`. These are functions on bytes.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.data.names import Path, suffix
from tasks.data.photo_groups import group_column, is_group_name
from tasks.data.texts import listed, shortened
from tasks.data.tree import SPLIT_WORDS, is_split_word, split_of, words_of
from tasks.run.sealed import parse_json

MOST_BYTES = 64 * 2**20
_STEMS = frozenset({"labels", "label", "metadata", "annotations", "classes"})
_NO_LABELS = frozenset({"submission", "sample"})
_SUFFIXES = frozenset({"csv", "tsv", "jsonl"})
_FILE_COLUMNS = (
    *(
        "file_name",
        "filename",
        "file",
        "image_path",
        "filepath",
        "file_path",
        "path",
        "image_name",
        "image_id",
        "image",
    ),
    *("img", "photo", "id", "name"),
)
_LABEL_COLUMNS = (
    *("label", "labels", "label_name", "class_name", "class", "category", "species", "breed", "target"),
    *("class_id", "classid", "dx", "diagnosis"),
)
_SPLIT_COLUMNS = ("split", "set", "subset")
_UNSPLIT = frozenset({"unassigned", ""})
_LEAST_FITTING = 0.5
_LEAST_DISTINCT = 0.9
_MOST_LOOKED_AT = 2000

Record = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """What a table says of a photo: its class ("" for an empty cell) and, if it has such columns, split and group."""

    file: str
    class_name: str
    split: str | None
    group: str | None = None


@dataclass(frozen=True)
class Table:
    """A table that was read: its rows and `labels`, which says where its classes are; or why it is not understood.

    `group` is the column that says which photos belong together (`tasks.data.photo_groups`).
    """

    path: Path
    header: tuple[str, ...]
    rows: tuple[Row, ...] = ()
    labels: str = ""
    problem: str | None = None
    group: str | None = None

    @property
    def name(self) -> str:
        """The table's name for a message."""
        return shortened("/".join(self.path))

    def refusal(self) -> str:
        """Return which table is not understood, its header, and why."""
        header = f" (its header is {shortened(', '.join(self.header))})" if self.header else ""
        return f"{self.name}{header} {self.problem}"


def is_table_name(path: Path) -> bool:
    """Tell whether a file is named as a table of labels: labels.csv, train_labels.csv, metadata.jsonl, train.csv."""
    stem = path[-1].rpartition(".")[0].lower()
    is_named = stem in _STEMS or stem.rpartition("_")[2] in _STEMS or is_split_word(stem)
    return suffix(path) in _SUFFIXES and is_named


def may_be_table(path: Path) -> bool:
    """Tell whether a file with another name may be a table of labels; a form for a contest's answers is none."""
    return suffix(path) in _SUFFIXES and _NO_LABELS.isdisjoint(words_of(path[-1]))


def plain_name(cell: str) -> str:
    r"""Return a photo's name in a table with / for \ and without ./ at its beginning."""
    return cell.strip().replace("\\", "/").removeprefix("./")


def read_table(path: Path, content: bytes, known: Collection[str]) -> Table:
    """Return what a table says; `known` are the names of the photos that are here, with and without endings."""
    try:
        header, records = _records(path, _decoded(content), known)
    except UnicodeDecodeError:
        return Table(path, (), problem="is not UTF-8: save it as CSV UTF-8")
    except (ValueError, csv.Error) as error:
        return Table(path, (), problem=f"cannot be read: {error}")
    return _understood(path, header, records, known)


def _decoded(content: bytes) -> str:
    return content.decode("utf-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig")


def _records(path: Path, text: str, known: Collection[str]) -> tuple[tuple[str, ...], list[Record]]:
    """Return the columns and the records; columns of a table without a header are called column 1, 2, ..."""
    if suffix(path) == "jsonl":
        read = [parse_json(line) for line in text.splitlines() if line.strip()]
        objects = [each for each in read if isinstance(each, dict)]
        records: list[Record] = [{str(key): _text(value) for key, value in each.items()} for each in objects]
        return tuple(records[0]) if records else (), records
    first = text.partition("\n")[0]
    marks = {mark: first.count(mark) for mark in (",", ";", "\t")}
    rows = [
        [cell.strip() for cell in row]
        for row in csv.reader(io.StringIO(text), delimiter=max(marks, key=marks.__getitem__), skipinitialspace=True)
        if any(row)
    ]
    if not rows:
        return (), []
    if any(_names_photo(cell, known) for cell in rows[0]):
        header = [f"column {n + 1}" for n in range(max(map(len, rows)))]
    else:
        header, rows = rows[0], rows[1:]
    found: list[Record] = [dict(zip(header, row, strict=False)) for row in rows]
    return tuple(header), found


def _understood(path: Path, header: tuple[str, ...], records: Sequence[Record], known: Collection[str]) -> Table:
    file = _file_column(header, records, known)
    if file is None:
        example = f", such as {shortened(next(iter(records[0].values()), ''))}" if records else ""
        return Table(path, header, problem=f"names none of the photos in a column of its own{example}")
    split = _split_column([name for name in header if name != file], records)
    others = [name for name in header if name not in {file, split} and any(each.get(name) for each in records)]
    stem = path[-1].rpartition(".")[0]
    whole = split_of(stem) if is_split_word(stem) else None
    plain = [name for name in others if not is_group_name(name)] or others
    label = _label_column(plain, records, is_named=is_table_name(path) and not header[0].startswith("column "))
    if label is not None:
        found = [(each, each.get(label, "")) for each in records]
        told = label if label.startswith("column ") else f"column {label}"
    elif _is_one_hot(others, records):
        if several := [(each[file], *_ones(each, others)) for each in records if len(_ones(each, others)) > 1]:
            return Table(path, header, problem=_several_classes(several))
        found, told = [(each, "".join(_ones(each, others))) for each in records], "a column for each class"
    else:
        return Table(path, header, problem=_no_label(others))
    group = group_column([name for name in others if name != label], found)
    rows = [
        Row(
            plain_name(each.get(file, "")),
            name,
            split_of(each.get(split, "") if split else "") or whole,
            (each.get(group) if group else None) or None,
        )
        for each, name in found
        if each.get(file)
    ]
    if clash := _clashing(rows):
        return Table(path, header, problem=_several_classes(clash))
    return Table(path, header, tuple(rows), told, group=group)


def _file_column(header: Sequence[str], records: Sequence[Record], known: Collection[str]) -> str | None:
    """Return the column that names photos: by its name if some of it are here, else the one of which most are here."""
    looked = records[:: max(1, len(records) // _MOST_LOOKED_AT)]
    fits = {
        name: sum(_names_photo(each.get(name, ""), known) for each in looked) / max(1, len(looked)) for name in header
    }
    named = [name for name in _named(header, _FILE_COLUMNS) if fits[name] > 0]
    distinct = [name for name in header if len({each.get(name) for each in looked}) >= _LEAST_DISTINCT * len(looked)]
    fitting = [name for name in distinct if fits[name] >= _LEAST_FITTING]
    return next(iter(named), fitting[0] if len(fitting) == 1 else None)


def _label_column(others: Sequence[str], records: Sequence[Record], *, is_named: bool) -> str | None:
    """Return the column of classes: by its name, or the only one that has few values; of a labels.csv, the only one."""
    named = _named(others, _LABEL_COLUMNS)
    if named or (is_named and len(others) == 1):
        return named[0] if named else others[0]
    few = [name for name in others if 2 <= len({each.get(name) for each in records} - {"", None}) <= len(records) / 2]
    return few[0] if len(few) == 1 and not _are_measures(few[0], records) else None


def _are_measures(column: str, records: Sequence[Record]) -> bool:
    """Tell whether all values of a column are numbers with decimals."""
    return all("." in text and text.replace(".", "", 1).isdigit() for each in records if (text := each.get(column)))


def _split_column(columns: Sequence[str], records: Sequence[Record]) -> str | None:
    if named := _named(columns, _SPLIT_COLUMNS):
        return named[0]
    words = {*SPLIT_WORDS, *_UNSPLIT}
    every = ((name, {each.get(name, "").casefold() for each in records}) for name in columns)
    return next((name for name, values in every if values <= words and values - _UNSPLIT), None)


def _is_one_hot(columns: Sequence[str], records: Sequence[Record]) -> bool:
    values = {each.get(name, "") for each in records for name in columns}
    return len(columns) > 1 and bool(records) and values <= {"0", "1", "0.0", "1.0"}


def _ones(record: Record, columns: Iterable[str]) -> list[str]:
    return [name for name in columns if record.get(name) in {"1", "1.0"}]


def _clashing(rows: Iterable[Row]) -> list[tuple[str, ...]]:
    by_file: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.class_name and row.class_name not in by_file[row.file]:
            by_file[row.file].append(row.class_name)
    return [(file, *classes) for file, classes in by_file.items() if len(classes) > 1]


def _several_classes(found: Sequence[Sequence[str]]) -> str:
    file, *classes = map(shortened, found[0])
    more = f" and of {len(found) - 1:,} more" if len(found) > 1 else ""
    return f"gives several classes of one photo, {file} ({listed(classes)}){more}, and a photo has to have one class"


def _no_label(others: Sequence[str]) -> str:
    if not others:
        return "has no column of classes"
    shown = listed([shortened(name) for name in others])
    return f"has no column that is named label or class, and which of {shown} has the classes cannot be told"


def _named(columns: Iterable[str], names: Sequence[str]) -> list[str]:
    by_name = {name.strip().lower().replace(" ", "_"): name for name in columns}
    return [by_name[name] for name in names if name in by_name]


def _names_photo(cell: str, known: Collection[str]) -> bool:
    return bool(cell) and plain_name(cell).rpartition("/")[2] in known


def _text(value: Any) -> str:
    return str(value).strip() if isinstance(value, str | int | float) else ""
