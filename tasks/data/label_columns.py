"""Tell which columns of a table name photos, have their classes, and have their splits: by their names and by looking.

These are pure functions on records.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from tasks.data.column_names import FILE_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS, columns_named
from tasks.data.table_text import Record, is_numbered, names_photo, plain_name
from tasks.data.tree import SPLIT_WORDS, split_of, words_of
from tasks.run.records import SPLITS

_SIZES = re.compile(
    r"(width|height|(roi[._ ])?[xywh][0-9]?|[xy]_?(min|max)|(min|max)_?[xy]|left|right|top|bottom|angle)"
)
"""Names of columns, in lower case, that have sizes and places of boxes."""

_UNSPLIT = frozenset({"unassigned", ""})
_LEAST_FITTING = 0.5
_LEAST_DISTINCT = 0.9
_MOST_LOOKED_AT = 2000
_FEWEST_TO_DIFFER = 5
_PHOTO = frozenset({"image", "photo", "img", "set", "split"})
_FLAGS = frozenset({"-1", "0", "1"})
_TRUE, _FALSE = frozenset({"1", "1.0", "true", "yes"}), frozenset({"0", "0.0", "false", "no", ""})


def file_column(header: Sequence[str], records: Sequence[Record], known: Collection[str]) -> str | None:
    """Return the column that names photos: by its name if some of it are here, else the one of which most are here."""
    looked = records[:: max(1, len(records) // _MOST_LOOKED_AT)]
    fits = {
        name: sum(names_photo(each.get(name, ""), known) for each in looked) / max(1, len(looked)) for name in header
    }
    named = [name for name in columns_named(header, FILE_COLUMNS) if fits[name] > 0]
    distinct = [name for name in header if len({each.get(name) for each in looked}) >= _LEAST_DISTINCT * len(looked)]
    fitting = [name for name in distinct if fits[name] >= _LEAST_FITTING]
    return next(iter(named), fitting[0] if len(fitting) == 1 else None)


def label_column(
    file: str, others: Sequence[str], records: Sequence[Record], *, is_named: bool, classes: Collection[str]
) -> str | None:
    """Return the column of classes: by its name, or the only one that has few values; of a labels.csv, the only one.

    Of several columns with few values it is the one that has only names of `classes`, which are known already. In a
    table without a header it is else the only one that has words, or the only one that has a number for each beginning
    of the photos' names. If such a table has one column beside the photos, that may have a class in each row of which
    all are known.
    """
    named = columns_named(others, LABEL_COLUMNS)
    is_headless = is_numbered(others)
    if named or (is_named and len(others) == 1 and not is_headless and not differ_all(others[0], records)):
        return named[0] if named else others[0]
    values = {name: {each.get(name) for each in records} - {"", None} for name in others}
    if is_headless and len(others) == 1 and values[others[0]] <= set(classes):
        return others[0]
    most = len(records) - 1 if is_headless and len(others) == 1 else len(records) / 2
    few = [name for name in others if 2 <= len(values[name]) <= most and not _SIZES.fullmatch(name.strip().lower())]
    if len(few) > 1:
        of_folders = [name for name in few if values[name] <= set(classes)]
        words = [name for name in few if is_headless and not all(map(_is_number, values[name]))]
        agreeing = [name for name in few if is_headless and agreed_names(_pairs(file, name, records))]
        few = next((each for each in (of_folders, words, agreeing) if len(each) == 1), few)
    return few[0] if len(few) == 1 and not _are_measures(values[few[0]]) else None


def word_column(label: str, others: Sequence[str], records: Sequence[Record]) -> str | None:
    """Return the only column that has a word for each number in the column of classes, one to one; None for none."""
    numbers = {each.get(label, "") for each in records} - {""}
    if not numbers or not all(map(str.isdecimal, numbers)):
        return None
    found = [name for name in others if name != label and _has_words(name, label, records, len(numbers))]
    return found[0] if len(found) == 1 else None


def _has_words(column: str, label: str, records: Sequence[Record], count: int) -> bool:
    pairs = {(each.get(label, ""), each.get(column, "")) for each in records if each.get(label)}
    words = {word for _, word in pairs}
    return len(pairs) == len(words) == count > 1 and not any(not word or _is_number(word) for word in words)


def differ_all(column: str, records: Sequence[Record]) -> bool:
    """Tell whether nearly all values of a column differ, as identifiers and links do; not of a few records."""
    values = [each[column] for each in records if each.get(column)]
    return len(values) >= _FEWEST_TO_DIFFER and len(set(values)) >= _LEAST_DISTINCT * len(values)


def is_label_name(column: str) -> bool:
    """Tell whether a column's name says that it has the classes."""
    return bool(columns_named([column], LABEL_COLUMNS))


def agreed_names(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Map each number of a class to what the names of its photos begin with, before their last number.

    `pairs` are the names of photos with the numbers of their classes. It is empty where a class has two beginnings, two
    classes have one, or there is only one class.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for name, label in pairs:
        found[label].add(_before_number(name))
    names = {label: next(iter(each)) for label, each in found.items() if len(each) == 1}
    are_told = len(names) == len(found) == len(set(names.values())) and len(names) > 1 and all(names.values())
    return names if are_told else {}


def _before_number(name: str) -> str:
    """Return what a name begins with before the number at its end: cat of cat_12 and of cat (12); "" without one."""
    whole = name.removesuffix(")")
    before = whole.rstrip("0123456789")
    return before.removesuffix("(").rstrip(" _.-") if before != whole else ""


def split_column(columns: Sequence[str], records: Sequence[Record]) -> str | None:
    """Return the column of splits: by its name, or one that has only words for splits."""
    if named := columns_named(columns, SPLIT_COLUMNS):
        return named[0]
    words = {*SPLIT_WORDS, *_UNSPLIT}
    every = ((name, {each.get(name, "").casefold() for each in records}) for name in columns)
    return next((name for name, values in every if values <= words and values - _UNSPLIT), None)


def split_flags(columns: Sequence[str], records: Sequence[Record]) -> dict[str, str]:
    """Map the columns that say by 0 and 1 whether a photo is of a split, such as is_train, to their splits."""
    found = {name: split for name in columns if _is_flag_name(name) and (split := split_of(name))}
    return {
        name: split
        for name, split in found.items()
        if {each.get(name, "").casefold() for each in records} <= _TRUE | _FALSE
    }


def _is_flag_name(column: str) -> bool:
    first, *others = words_of(column) or [""]
    return first == "is" and len([word for word in others if word not in _PHOTO]) == 1


def split_of_flags(record: Record, flags: Mapping[str, str]) -> str | None:
    """Return the split that flags give a photo: without any, the first one of train, test, validation that has none.

    Raises:
        ValueError: it is of two splits.
    """
    splits = {split for name, split in flags.items() if record.get(name, "").casefold() in _TRUE}
    if len(splits) > 1:
        raise ValueError(f"a photo is of two splits by its columns {' and '.join(flags)}")
    left = [split for split in (SPLITS[0], SPLITS[2], SPLITS[1]) if split not in flags.values()]
    return next(iter(splits), left[0] if left else None)


def is_one_hot(columns: Sequence[str], records: Sequence[Record]) -> bool:
    """Tell whether each column is one of a class, with 0 and 1."""
    values = {each.get(name, "") for each in records for name in columns}
    return len(columns) > 1 and bool(records) and values <= {"0", "1", "0.0", "1.0"}


def ones(record: Record, columns: Iterable[str]) -> list[str]:
    """Return the columns in which a record has a 1."""
    return [name for name in columns if record.get(name) in {"1", "1.0"}]


def stem_of(name: str) -> str:
    """Return the name of a photo without its folders and without its ending."""
    file = plain_name(name).rpartition("/")[2]
    return file.rpartition(".")[0] or file


def _pairs(file: str, label: str, records: Iterable[Record]) -> list[tuple[str, str]]:
    return [(stem_of(each[file]), each[label]) for each in records if each.get(file) and each.get(label)]


def _are_measures(values: Collection[str | None]) -> bool:
    """Tell whether all values are numbers with decimals, or flags of which some are -1."""
    are_decimals = all("." in text and text.replace(".", "", 1).isdigit() for text in values if text)
    return are_decimals or ("-1" in values and set(values) <= _FLAGS)


def _is_number(text: str | None) -> bool:
    try:
        float(text or "")
    except ValueError:
        return False
    return True
