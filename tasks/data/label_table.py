"""Read a table of labels: Kaggle's labels.csv, Hugging Face's metadata.csv or .jsonl, exports, and lists.

A table has a column that names photos, and one with their class or one for each class. Which they are is told by
`tasks.data.label_columns`. Which photo a row means is found by `tasks.data.label_rows`. These are functions on bytes.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tasks.data.label_columns import (
    differ_all,
    file_column,
    is_label_name,
    is_one_hot,
    label_column,
    ones,
    split_column,
    split_flags,
    split_of_flags,
    word_column,
)
from tasks.data.names import Path, is_text_of_labels, suffix
from tasks.data.photo_groups import group_column, is_group_name
from tasks.data.table_text import Record, is_numbered, plain_name, records_of
from tasks.data.texts import listed, shortened
from tasks.data.tree import is_split_word, split_of, words_of

MOST_BYTES = 64 * 2**20
_STEMS = frozenset({"labels", "label", "metadata", "annotations", "classes"})
_SHOWN_CELLS = 3
_NO_LABELS = frozenset({"submission", "sample"})


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

    `group` is the column that says which photos belong together (`tasks.data.photo_groups`). `is_sure`: the names of
    its columns say where the classes are. `words` maps numbers of classes to their names, which its rows have. Of a
    table without a column of classes, `file` is the column of the photos, and `candidates` may have the classes.
    """

    path: Path
    header: tuple[str, ...]
    rows: tuple[Row, ...] = ()
    labels: str = ""
    problem: str | None = None
    group: str | None = None
    is_sure: bool = True
    file: str = ""
    candidates: tuple[str, ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)

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
    return is_text_of_labels(path) and is_named


def may_be_table(path: Path) -> bool:
    """Tell whether a file with another name may be a table of labels; a form for a contest's answers is none."""
    return is_text_of_labels(path) and _NO_LABELS.isdisjoint(words_of(path[-1]))


def read_table(path: Path, content: bytes, known: Collection[str], classes: Collection[str] = ()) -> Table | None:
    """Return what a table says, or None for a text that names no photo, or nothing but photos.

    `known` are the names of the photos that are here, with and without endings, and `classes` are the folders of
    classes beside them.
    """
    try:
        header, records = records_of(path, content, known)
    except UnicodeDecodeError:
        return None if is_text(path) else Table(path, (), problem="is not UTF-8: save it as CSV UTF-8")
    except (ValueError, csv.Error) as error:
        return None if is_text(path) else Table(path, (), problem=f"cannot be read: {error}")
    if is_text(path) and len(header) < 2:
        return None
    return _understood(path, header, records, known, classes)


def is_text(path: Path) -> bool:
    """Tell whether a file is a text by its ending, so that it may be something else than a table."""
    return suffix(path) == "txt"


def _understood(
    path: Path, header: tuple[str, ...], records: Sequence[Record], known: Collection[str], classes: Collection[str]
) -> Table:
    file = file_column(header, records, known)
    if file is None:
        cells = [cell for each in records if (cell := each.get(next(iter(header), ""), ""))]
        first = [shortened(cell) for cell in cells[:_SHOWN_CELLS]]
        more = " ..." if len(cells) > len(first) else ""
        shown = f" (the first has {', '.join(first)}{more})" if first else ""
        return Table(path, header, problem=f"has names of the photos here in none of its columns{shown}")
    split = split_column([name for name in header if name != file], records)
    flags = {} if split else split_flags([name for name in header if name != file], records)
    try:
        splits = [split_of_flags(each, flags) if flags else split_of(each.get(split or "", "")) for each in records]
    except ValueError as error:
        return Table(path, header, problem=f"cannot be read: {error}")
    taken = {file, split, *flags}
    others = [name for name in header if name not in taken and any(each.get(name) for each in records)]
    stem = path[-1].rpartition(".")[0]
    whole = split_of(stem) if is_split_word(stem) and not is_text(path) else None
    plain = [name for name in others if not is_group_name(name)] or others
    by_number: dict[str, str] = {}
    label = label_column(file, plain, records, is_named=is_table_name(path), classes=classes)
    if label is not None:
        words = word_column(label, [name for name in plain if not is_numbered(header)], records)
        found = [(each, each.get(words or label, "")) for each in records]
        told = label if is_numbered(header) else f"column {words or label}"
        by_number = {each.get(label, ""): each[words] for each in records if words and each.get(label)}
    elif is_one_hot(others, records):
        if several := [(each[file], *ones(each, others)) for each in records if len(ones(each, others)) > 1]:
            return Table(path, header, problem=_several_classes(several))
        found, told = [(each, "".join(ones(each, others))) for each in records], "a column for each class"
    else:
        candidates = tuple(name for name in others if not differ_all(name, records))
        return Table(path, header, problem=_no_label(candidates), file=file, candidates=candidates)
    group = group_column([name for name in others if name != label], found)
    rows = [
        Row(
            plain_name(each.get(file, "")),
            name,
            own or whole,
            (each.get(group) if group else None) or None,
        )
        for (each, name), own in zip(found, splits, strict=True)
        if each.get(file)
    ]
    if clash := clash_of((row.file, row) for row in rows):
        return Table(path, header, problem=clash)
    is_sure = label is None or is_label_name(label)
    return Table(path, header, tuple(rows), told, group=group, is_sure=is_sure, words=by_number)


def clash_of(rows: Iterable[tuple[object, Row]]) -> str | None:
    """Return why a table contradicts itself: rows of one photo, as they are given with, differ in class or split."""
    classes: dict[object, dict[str, str]] = defaultdict(dict)
    splits: dict[object, dict[str, str]] = defaultdict(dict)
    for photo, row in rows:
        classes[photo].setdefault(row.class_name, row.file)
        splits[photo].setdefault(row.split or "", row.file)
    if several := _several(classes):
        return _several_classes(several)
    if several := _several(splits):
        return _several_classes(several, "split")
    return None


def _several(found: Mapping[object, Mapping[str, str]]) -> list[tuple[str, ...]]:
    """Return the names of photos that have several values, with these."""
    values = ({value: file for value, file in each.items() if value} for each in found.values())
    return [(next(iter(each.values())), *each) for each in values if len(each) > 1]


def _several_classes(found: Sequence[Sequence[str]], noun: str = "class") -> str:
    file, *values = map(shortened, found[0])
    more = f" and of {len(found) - 1:,} more" if len(found) > 1 else ""
    plural = "classes" if noun == "class" else f"{noun}s"
    return f"gives several {plural} of one photo, {file} ({listed(values)}){more}, and a photo has to have one {noun}"


def _no_label(others: Sequence[str]) -> str:
    if not others:
        return "has no column of classes"
    shown = listed([shortened(name) for name in others])
    return f"has no column that is named label or class, and which of {shown} has the classes cannot be told"
