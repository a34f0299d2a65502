"""Name classes that tables give as numbers: by the folders of classes, by a list of names, or by the photos' names.

A list has a number and a name in each line (`3 beagle`, `beagle;3`), or a name in each line in the order of the
numbers; one of the second kind is taken only if the file's name says so (`classes.txt`). It must name all classes that
the tables have. Where two lists name them differently, the numbers stay.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from tasks.data.entries import Entry, Listing
from tasks.data.label_columns import agreed_names, stem_of
from tasks.data.label_rows import Labels, Read, content_of, files_of_labels
from tasks.data.names import Names, Path
from tasks.data.table_text import decoded, is_numbered
from tasks.data.texts import listed, shortened
from tasks.data.tree import words_of

_WORDS = frozenset(
    {
        *("class", "classes", "classname", "classnames", "label", "labels", "category", "categories", "name", "names"),
        *("species", "breed", "breeds", "synset", "synsets", "wnids", "map", "dict", "meta"),
    }
)
_MOST_BYTES, _MOST_LISTS = 2**20, 20
_LONGEST_NUMBER = 18
_MARKS = ("\t", ";", ",", None)


def name_classes(labels: Labels, listing: Listing, found: Names, read: Read, folders: Collection[str]) -> list[Path]:
    """Name the classes of rows that are numbers, and return the list that names them, if it is one.

    `folders` are the folders of classes beside the photos that the rows name.
    """
    values = {row.class_name for row in labels.rows.values()}
    if not values or not all(map(_is_number, values)) or values <= set(folders):
        return []
    if names := _of_folders(values, folders):
        value = min(value for value in names if names[value] != value)
        labels.rename(
            names, f"classes in tables are the folders of the same numbers, such as {value} is {names[value]}"
        )
        return []
    if lists := list(_lists(labels, listing, found, read, values, folders)):
        return _by_list(labels, lists)
    _by_photos(labels, found)
    return []


def _by_list(labels: Labels, lists: Sequence[tuple[Path, Mapping[str, str]]]) -> list[Path]:
    path, names = lists[0]
    shown = [shortened("/".join(each)) for each, _ in lists]
    if all(each == names for _, each in lists):
        labels.rename(names, f"the names of the classes are from {shown[0]}")
        return [path]
    labels.rename({}, f"the classes are numbers, because {listed(shown)} name them differently")
    return []


def _by_photos(labels: Labels, found: Names) -> None:
    """Name the classes of tables without a header by what the names of their photos begin with."""
    if not all(is_numbered(table.header) for table in labels.tables):
        return
    names = agreed_names((stem_of(found.files[index][-1]), row.class_name) for index, row in labels.rows.items())
    why = "the classes are numbers, and no list here names them"
    labels.rename(names, "the classes are named by what the names of their photos begin with" if names else why)


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= _LONGEST_NUMBER


def _of_folders(values: Collection[str], folders: Collection[str]) -> dict[str, str]:
    """Map numbers to the folders of the same numbers, which may have zeros before them."""
    by_number = {int(name): name for name in folders if _is_number(name)}
    return {value: by_number[int(value)] for value in values} if {*map(int, values)} <= by_number.keys() else {}


def _lists(
    labels: Labels, listing: Listing, found: Names, read: Read, values: Collection[str], folders: Collection[str]
) -> Iterator[tuple[Path, dict[str, str]]]:
    used = {table.path for table in labels.tables}
    files = [
        (entry, path)
        for entry, path in files_of_labels(listing, found)
        if path not in used and entry.size_bytes <= _MOST_BYTES
    ]
    for entry, path in sorted(files, key=lambda each: (not _is_named(each[1]), len(each[1])))[:_MOST_LISTS]:
        if names := _names_in(_lines(read, entry), values, folders, is_named=_is_named(path)):
            yield path, names


def _is_named(path: Path) -> bool:
    return not _WORDS.isdisjoint(words_of(path[-1].rpartition(".")[0]))


def _lines(read: Read, entry: Entry) -> list[str]:
    try:
        return [line.strip() for line in decoded(content_of(read, entry)).split("\n") if line.strip()]
    except UnicodeDecodeError:
        return []


def _names_in(
    lines: Sequence[str], values: Collection[str], folders: Collection[str], *, is_named: bool
) -> dict[str, str]:
    """Map the numbers of classes to the names that a list gives them; empty if it does not name all of them."""
    numbers = {int(value): value for value in values}
    for is_first in (True, False):
        for mark in _MARKS:
            by_number = _numbered(lines, mark, is_first=is_first)
            if numbers.keys() <= by_number.keys():
                return {numbers[number]: by_number[number] for number in numbers}
    if not is_named or len(set(lines)) < len(lines) or all(line.split()[0].isdecimal() for line in lines):
        return {}
    first = 0 if 0 in numbers or max(numbers) == len(lines) - 1 else 1
    ordered = {first + n: _cell_of_folder(line, folders) for n, line in enumerate(lines)}
    is_whole = max(numbers) <= max(ordered, default=-1) and len(numbers) > len(lines) / 2
    return {numbers[number]: ordered[number] for number in numbers} if is_whole else {}


def _numbered(lines: Sequence[str], mark: str | None, *, is_first: bool) -> dict[int, str]:
    """Map numbers to names where each line has both; the first line may be the names of the columns."""
    split = [line.split(mark) if mark else line.split(None, 1) if is_first else line.rsplit(None, 1) for line in lines]
    at, other = (0, 1) if is_first else (-1, 0)
    rows = [[cell.strip().strip('"') for cell in row] for row in split]
    if rows and not _is_number(rows[0][at]):
        rows = rows[1:]
    if not all(len(row) > 1 and _is_number(row[at]) and row[other] for row in rows):
        return {}
    names = {int(row[at]): row[other] for row in rows}
    return names if len(set(names.values())) == len(rows) and not all(map(_is_number, names.values())) else {}


def _cell_of_folder(line: str, folders: Collection[str]) -> str:
    """Return the first word of a line if that is a folder of a class, else the line."""
    return word if (word := line.split(None, 1)[0].rstrip(",")) in set(folders) else line
