"""Read the classes of photos from a table beside them: Kaggle's labels.csv, Hugging Face's metadata.csv or .jsonl.

A table is used only for photos that lie in no folder of a class. These are functions on bytes and names, without I/O.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.data.names import Path, suffix
from tasks.data.tree import is_split_word, split_of
from tasks.run.sealed import parse_json

MOST_BYTES = 64 * 2**20
_STEMS = frozenset({"labels", "label", "metadata", "annotations"})
_SUFFIXES = frozenset({"csv", "tsv", "jsonl"})
_FILE_COLUMNS = (
    *("file_name", "filename", "file", "image_path", "filepath", "path", "image_name", "image_id", "image"),
    *("img", "photo", "id", "name"),
)
_LABEL_COLUMNS = ("label", "label_name", "class_name", "class", "category", "species", "breed", "target")
_SPLIT_COLUMNS = ("split", "set", "subset")


@dataclass(frozen=True, slots=True)
class Row:
    """What a table says of a photo: its class and, if it has such a column, its split."""

    file: str
    class_name: str
    split: str | None


def is_table_name(path: Path) -> bool:
    """Tell whether a file may be a table of labels: labels.csv, train_labels.csv, metadata.jsonl, train.csv."""
    stem = path[-1].rpartition(".")[0].lower()
    is_named = stem in _STEMS or stem.rpartition("_")[2] in _STEMS or is_split_word(stem)
    return suffix(path) in _SUFFIXES and is_named


def read_table(path: Path, content: bytes) -> list[Row]:
    """Return the rows of a table that name a file and its class; none if it has no such columns or cannot be read."""
    try:
        records = _records(path, content.decode("utf-8-sig"))
    except (ValueError, csv.Error):
        return []
    columns = list(records[0]) if records else []
    file, label = _columns(columns)
    if file is None or label is None:
        return []
    split = _first(columns, _SPLIT_COLUMNS)
    stem = path[-1].rpartition(".")[0]
    whole = split_of(stem) if is_split_word(stem) else None
    rows = ((_text(each, file), _text(each, label), _text(each, split) if split else "") for each in records)
    return [Row(name, label, split_of(own) or whole) for name, label, own in rows if name and label]


def match_rows(rows: Sequence[Row], folder: Path, photos: Sequence[Sequence[tuple[int, Path]]]) -> dict[int, Row]:
    """Map the indices of photos to the rows that name them: by path from the table, by name, or without an ending.

    `photos` are groups, of which an earlier one is preferred; in one group a name that is there twice means no photo.
    """
    by_name: dict[str, int | None] = {}
    for group in photos:
        own: dict[str, int | None] = {}
        for index, path in group:
            for key in _keys(path, folder):
                own[key] = index if own.get(key, index) == index else None
        by_name = {**own, **by_name}
    found = ((by_name.get(_plain(row.file)), row) for row in rows)
    return {index: row for index, row in found if index is not None}


def _records(path: Path, text: str) -> list[Mapping[str, Any]]:
    if suffix(path) == "jsonl":
        read = [parse_json(line) for line in text.splitlines() if line.strip()]
        return [each for each in read if isinstance(each, dict)]
    first = text.partition("\n")[0]
    marks = {mark: first.count(mark) for mark in (",", ";", "\t")}
    return list(csv.DictReader(io.StringIO(text), delimiter=max(marks, key=marks.__getitem__)))


def _columns(columns: Sequence[str]) -> tuple[str | None, str | None]:
    """Return the columns of the file and of the class; of two columns, one may have any name."""
    label = _first(columns, _LABEL_COLUMNS)
    file = _first([name for name in columns if name != label], _FILE_COLUMNS)
    if len(columns) == 2:
        file = file or next((name for name in columns if name != label), None)
        label = label or next((name for name in columns if name != file), None)
    return (None, None) if file == label else (file, label)


def _first(columns: Sequence[str], known: Sequence[str]) -> str | None:
    by_name = {str(name).strip().lower().replace(" ", "_"): name for name in columns}
    return next((by_name[name] for name in known if name in by_name), None)


def _text(record: Mapping[str, Any], column: str) -> str:
    value = record.get(column)
    return str(value).strip() if isinstance(value, str | int | float) else ""


def _keys(path: Path, folder: Path) -> list[str]:
    whole = ["/".join(path), path[-1]]
    whole += ["/".join(path[len(folder) :])] if path[: len(folder)] == folder else []
    return [*whole, *(name.rpartition(".")[0] for name in whole if "." in name)]


def _plain(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")
