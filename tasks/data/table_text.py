"""Read the text of a table into its columns and records: CSV, TSV, lines of JSON, and text with any usual separator.

Columns of a table without a header are called column 1, 2, ... `known` are the names of the photos that are here, with
and without endings, and those of folders with a blank in them, followed by `/`. These are functions on bytes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from tasks.data.column_names import is_header
from tasks.data.names import Path, suffix
from tasks.data.texts import shortened
from tasks.run.sealed import parse_json

Record = Mapping[str, str]
Columns = tuple[str, ...]

_COLUMN = "column "
_MOST_BEFORE = 5
"""In a text, so many lines may stand before the first one that names a photo: a count, or the names of the columns."""

_LOOKED_AT = 200


def records_of(path: Path, content: bytes, known: Collection[str]) -> tuple[Columns, list[Record]]:
    """Return the columns and the records of a table; of a .txt that names no photo there are none.

    Raises:
        UnicodeDecodeError: it is not UTF-8 and not marked as UTF-16.
        ValueError, csv.Error: it is damaged.
    """
    text = decoded(content)
    if suffix(path) == "jsonl":
        return _of_json(text)
    if suffix(path) == "txt":
        return _of_text(text, known)
    first = text.partition("\n")[0]
    marks = {mark: first.count(mark) for mark in (",", ";", "\t")}
    rows = _separated(io.StringIO(text), max(marks, key=marks.__getitem__))
    if not rows:
        return (), []
    is_headless = _is_of_photo(rows[0], known)
    return _recorded(None, rows) if is_headless else _recorded(rows[0], rows[1:])


def decoded(content: bytes) -> str:
    """Return the text of a table.

    Raises:
        UnicodeDecodeError: it is not UTF-8 and not marked as UTF-16.
    """
    return content.decode("utf-16" if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig")


def is_numbered(columns: Sequence[str]) -> bool:
    """Tell whether a table has no header, so that its columns are called by their numbers."""
    return bool(columns) and columns[0].startswith(_COLUMN)


def plain_name(cell: str) -> str:
    r"""Return a photo's name in a table with / for \ and without ./ at its beginning."""
    return cell.strip().replace("\\", "/").removeprefix("./")


def names_photo(cell: str, known: Collection[str]) -> bool:
    """Tell whether the end of a path is the name of a photo that is here."""
    return bool(cell) and plain_name(cell).rpartition("/")[2] in known


def _of_json(text: str) -> tuple[Columns, list[Record]]:
    read = [parse_json(line) for line in text.splitlines() if line.strip()]
    objects = [each for each in read if isinstance(each, dict)]
    records: list[Record] = [{str(key): _text(value) for key, value in each.items()} for each in objects]
    return tuple(records[0]) if records else (), records


def _of_text(text: str, known: Collection[str]) -> tuple[Columns, list[Record]]:
    """Return the columns and records of a list, separated as most of its lines then name photos.

    Where lines have different numbers of words, the first or the last blank alone separates: `1.jpg border collie`.
    """
    lines = [line for line in text.split("\n") if line.strip() and not line.startswith("#")]
    looked = lines[:_LOOKED_AT]
    is_even = len({len(line.split()) for line in looked[_MOST_BEFORE:] or looked}) == 1
    ways: list[Callable[[Sequence[str]], list[list[str]]]] = [
        partial(_separated, mark="\t"),
        partial(_separated, mark=";"),
        partial(_separated, mark=","),
    ]
    ways += [partial(_at_blanks, most=-1)] if is_even else []
    ways += [partial(_at_blanks, most=1), _at_last_blank]
    fits = [_fit(way(looked), known) for way in ways]
    if max(fits) == (0, 0):
        return (), []
    rows = ways[fits.index(max(fits))](lines)
    before = next((n for n, row in enumerate(rows) if _is_of_photo(row, known)), len(rows))
    if not 0 < before <= _MOST_BEFORE:
        return _recorded(None, rows)
    has_header = len(rows[before - 1]) == len(rows[before])
    return _recorded(rows[before - 1] if has_header else None, rows[before:])


def _fit(rows: Sequence[Sequence[str]], known: Collection[str]) -> tuple[int, int]:
    """Return how many rows name a photo, and how many do so with no blank but in names that are here."""
    cells = [next((cell for cell in row if names_photo(cell, known)), None) for row in rows]
    named = [cell for cell in cells if cell is not None]
    folders = [[part for part in plain_name(cell).split("/")[:-1] if " " in part] for cell in named]
    return len(named), sum(all(f"{part}/" in known for part in each) for each in folders)


def _at_blanks(lines: Iterable[str], most: int) -> list[list[str]]:
    return [line.split(None, most) for line in lines]


def _at_last_blank(lines: Iterable[str]) -> list[list[str]]:
    return [line.rsplit(None, 1) for line in lines]


def _separated(lines: Iterable[str], mark: str) -> list[list[str]]:
    rows = csv.reader(lines, delimiter=mark, skipinitialspace=True)
    return [[cell.strip() for cell in row] for row in rows if any(row)]


def _is_of_photo(row: Sequence[str], known: Collection[str]) -> bool:
    """Tell whether a row names a photo; a header may do so too, where one is called image.jpg."""
    return any(names_photo(cell, known) for cell in row) and not is_header(row)


def _recorded(header: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> tuple[Columns, list[Record]]:
    if header is not None and (name := _repeated(header, rows)):
        raise ValueError(f"it has two columns {shortened(name)} that differ: remove or rename one of them")
    columns = header or [f"{_COLUMN}{n + 1}" for n in range(max(map(len, rows), default=0))]
    return tuple(columns), [dict(zip(columns, row, strict=False)) for row in rows]


def _repeated(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str | None:
    """Return the name of two columns whose cells differ; one without a name is not counted."""
    first: dict[str, int] = {}
    twice = [(first[name], n) for n, name in enumerate(header) if name and first.setdefault(name, n) != n]
    return next((header[n] for row in rows for m, n in twice if row[m : m + 1] != row[n : n + 1]), None)


def _text(value: Any) -> str:
    return str(value).strip() if isinstance(value, str | int | float) else ""
