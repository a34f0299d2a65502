"""Name classes that are numbers: by the folders of classes, by a list of names, or by the photos' names.

A list has a number and a name in each line (`3 beagle`, `beagle;3`), or a name in each line in the order of the
numbers; one of the second kind is taken only if the file's name says so (`classes.txt`). An object of JSON maps numbers
to names, or to lists of which the last is taken. A list must name all classes that the tables or folders have. The
numbers stay where two lists name them differently, or where it cannot be told which line is meant.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tasks.data.entries import Entry, Listing
from tasks.data.label_columns import agreed_names, stem_of
from tasks.data.label_rows import Labels, Read, content_of
from tasks.data.names import Names, Path, is_image_name, may_name_classes, suffix
from tasks.data.table_text import decoded, is_numbered
from tasks.data.texts import listed, shortened
from tasks.data.tree import words_of
from tasks.run.sealed import Damaged, parse_json

_WORDS = frozenset(
    {
        *("class", "classes", "classname", "classnames", "label", "labels", "category", "categories", "name", "names"),
        *("species", "breed", "breeds", "synset", "synsets", "wnids", "map", "dict", "meta"),
    }
)
_FILLING = frozenset({"id", "of", "the", "all", "list"})
_MOST_BYTES, _MOST_LISTS = 2**20, 20
_LONGEST_NUMBER = 18
_MARKS = ("\t", ";", ",", None)
_UNNAMED = (
    "the classes are numbers, and no list here names them: to name them, write a classes.txt with a number and a name "
    "in each line, such as 3 beagle"
)


@dataclass(frozen=True)
class Naming:
    """The names of classes that are numbers, the lists that they are from, and what is to be said of them."""

    names: Mapping[str, str] = field(default_factory=dict)
    lists: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()


def name_folders(
    classes: Collection[str], listing: Listing, found: Names, read: Read, used: Collection[Path]
) -> Naming:
    """Name folders of classes that are all numbers, by a list that is not `used` for something else.

    A list whose name does not say that it has the names of classes must have these alone.
    """
    if len(classes) < 2 or not all(map(_is_number, classes)):
        return Naming()
    lists = [
        (path, names)
        for path, names in _lists(listing, found, read, classes, (), used, is_strict=True)
        if names is None or not _are_photos(names.values(), found)
    ]
    if named := [(path, names) for path, names in lists if names is not None]:
        names, told, paths = _agreed(named)
        return Naming(names, tuple(paths), (told,))
    return Naming(notes=(_doubtful([path for path, _ in lists]) if lists else _UNNAMED,))


def _are_photos(names: Collection[str], found: Names) -> bool:
    """Tell whether some names are those of photos that are here, so that a list numbers photos."""
    stems = {stem_of(path[-1]) for path in found.files if path and is_image_name(path)}
    return any(is_image_name((name,)) or name in stems for name in names)


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
    used = {table.path for table in labels.tables}
    lists = list(_lists(listing, found, read, values, folders, used))
    if named := [(path, names) for path, names in lists if names is not None]:
        renamed, told, paths = _agreed(named)
        labels.rename(renamed, told)
        return paths
    _by_photos(labels, found, [path for path, _ in lists])
    return []


def _agreed(lists: Sequence[tuple[Path, Mapping[str, str]]]) -> tuple[Mapping[str, str], str, list[Path]]:
    """Return the names that all lists give, what is to be said of it, and the list; no names if they differ."""
    path, names = lists[0]
    shown = [shortened("/".join(each)) for each, _ in lists]
    if all(each == names for _, each in lists):
        return names, f"the names of the classes are from {shown[0]}", [path]
    return {}, f"the classes are numbers, because {listed(shown)} name them differently: keep one of these lists", []


def _doubtful(lists: Sequence[Path]) -> str:
    shown = listed([shortened("/".join(path)) for path in lists])
    why = f"which line of {shown} is the name of which number cannot be told: write the number before each name"
    return f"the classes are numbers, because {why}"


def _by_photos(labels: Labels, found: Names, doubtful: Sequence[Path]) -> None:
    """Name the classes of tables without a header by what the names of their photos begin with."""
    is_headless = all(is_numbered(table.header) for table in labels.tables)
    pairs = ((stem_of(found.files[index][-1]), row.class_name) for index, row in labels.rows.items())
    if names := agreed_names(pairs) if is_headless else {}:
        labels.rename(names, "the classes are named by what the names of their photos begin with")
    else:
        labels.rename({}, _doubtful(doubtful) if doubtful else _UNNAMED)


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= _LONGEST_NUMBER


def _of_folders(values: Collection[str], folders: Collection[str]) -> dict[str, str]:
    """Map numbers to the folders of the same numbers, which may have zeros before them."""
    by_number = {int(name): name for name in folders if _is_number(name)}
    return {value: by_number[int(value)] for value in values} if {*map(int, values)} <= by_number.keys() else {}


def _lists(
    listing: Listing,
    found: Names,
    read: Read,
    values: Collection[str],
    folders: Collection[str],
    used: Collection[Path],
    *,
    is_strict: bool = False,
) -> Iterator[tuple[Path, dict[str, str] | None]]:
    """Yield the lists that name classes, with the names, or None where it cannot be told which line is meant."""
    files = [
        (entry, path)
        for entry, path in zip(listing.entries, found.files, strict=True)
        if path[-1] and may_name_classes(path) and entry.refusal is None
        if path not in used and entry.size_bytes <= _MOST_BYTES
    ]
    for entry, path in sorted(files, key=lambda each: (not _is_named(each[1]), len(each[1])))[:_MOST_LISTS]:
        is_named = _is_named(path)
        if suffix(path) == "json":
            if names := _of_classes(_of_json(content_of(read, entry)), values, is_strict=is_strict and not is_named):
                yield path, names
            continue
        lines = _lines(read, entry)
        if names := _by_number(lines, values, is_strict=is_strict and not is_named):
            yield path, names
        elif is_named and _are_names(lines) and (ordered := _by_order(lines, values, folders)) != {}:
            yield path, ordered


def _is_named(path: Path) -> bool:
    return not _WORDS.isdisjoint(words_of(path[-1].rpartition(".")[0]))


def _lines(read: Read, entry: Entry) -> list[str]:
    try:
        return [line.strip() for line in decoded(content_of(read, entry)).split("\n") if line.strip()]
    except UnicodeDecodeError:
        return []


def _by_number(lines: Sequence[str], values: Collection[str], *, is_strict: bool) -> dict[str, str]:
    """Map classes to the names that a list gives their numbers; empty if it does not name all of them."""
    for is_first in (True, False):
        for mark in _MARKS:
            if found := _of_classes(_numbered(lines, mark, is_first=is_first), values, is_strict=is_strict):
                return found
    return {}


def _of_classes(names: Mapping[int, str], values: Collection[str], *, is_strict: bool) -> dict[str, str]:
    """Map classes to the names of their numbers; if `is_strict`, there may be no others, and each has a letter."""
    numbers = {*map(int, values)}
    is_exact = names.keys() == numbers and all(any(map(str.isalpha, name)) for name in names.values())
    if not numbers <= names.keys() or (is_strict and not is_exact):
        return {}
    return {value: names[int(value)] for value in values}


def _of_json(content: bytes) -> dict[int, str]:
    """Map numbers to the names that an object of JSON gives them, of a list of names the last; else {}."""
    try:
        read = parse_json(decoded(content))
    except (UnicodeDecodeError, Damaged):
        return {}
    if not isinstance(read, dict) or not all(map(_is_number, read)):
        return {}
    last = {number: each[-1] if isinstance(each, list) and each else each for number, each in read.items()}
    if not all(isinstance(name, str) and name.strip() for name in last.values()):
        return {}
    return _distinct([(int(number), name.strip()) for number, name in last.items()])


def _are_names(lines: Sequence[str]) -> bool:
    return len(set(lines)) == len(lines) and not all(line.split()[0].isdecimal() for line in lines)


def _by_order(lines: Sequence[str], values: Collection[str], folders: Collection[str]) -> dict[str, str] | None:
    """Map classes to the lines of a list in their order; None if the first number cannot be told, {} if it is short.

    The numbers begin with 0 if a class has it, and with 1 if the last line has the highest. Of a list with more lines
    than the numbers need, the first may be a heading.
    """
    numbers = {*map(int, values)}
    first = 0 if 0 in numbers else 1
    needed = max(numbers) + 1 - first
    has_heading = len(lines) > needed and _is_heading(lines[0])
    lines = lines[1:] if has_heading else lines
    if len(lines) < needed or len(numbers) <= len(lines) / 2:
        return {}
    is_sure = len(lines) == needed or (first == 0 and (has_heading or len(lines) > needed + 1))
    return {value: _cell_of_folder(lines[int(value) - first], folders) for value in values} if is_sure else None


def _is_heading(line: str) -> bool:
    """Tell whether a line is a heading of names of classes: class_name, Names of the classes:, # classes."""
    words = {*words_of(line)}
    return line.startswith("#") or line.endswith(":") or (bool(words) and words <= _WORDS | _FILLING)


def _numbered(lines: Sequence[str], mark: str | None, *, is_first: bool) -> dict[int, str]:
    """Map numbers to names where each line has both; the first line may be the names of the columns."""
    split = [
        _cells(line, mark) if mark else line.split(None, 1) if is_first else line.rsplit(None, 1) for line in lines
    ]
    at, other = (0, 1) if is_first else (-1, 0)
    rows = [[cell.strip().strip('"') for cell in row] for row in split]
    if rows and not _is_number(rows[0][at]):
        rows = rows[1:]
    if not all(len(row) > 1 and _is_number(row[at]) and row[other] for row in rows):
        return {}
    return _distinct([(int(row[at]), row[other]) for row in rows])


def _cells(line: str, mark: str) -> list[str]:
    """Return the cells of a line, in which one with the mark in it may be quoted."""
    try:
        return next(csv.reader([line], delimiter=mark, skipinitialspace=True), [])
    except csv.Error:
        return []


def _distinct(rows: Sequence[tuple[int, str]]) -> dict[int, str]:
    """Map numbers to names; {} where a name or a number is there twice, or all names are numbers."""
    names = dict(rows)
    return names if len(set(names.values())) == len(rows) and not all(map(_is_number, names.values())) else {}


def _cell_of_folder(line: str, folders: Collection[str]) -> str:
    """Return the first word of a line if that is a folder of a class, else the line."""
    return word if (word := line.split(None, 1)[0].rstrip(",")) in set(folders) else line
