"""Find the photos that the rows of a table mean, by an index that is made once for all tables of a folder.

These are pure functions on paths.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from tasks.data.names import Path
from tasks.data.tree import is_split_word, split_of

Located = tuple[int, Path]
ByName = Mapping[str, Located | None]


class Named(Protocol):
    """What names a photo."""

    @property
    def file(self) -> str:
        """The name or path of the photo, with `/` between folders."""
        ...


AnyRow = TypeVar("AnyRow", bound=Named)


class PhotoIndex:
    """Photos in groups, of which an earlier one is preferred, by their folders and by the ends of their paths."""

    def __init__(self, groups: Sequence[Sequence[Located]]) -> None:
        self.groups = groups
        self._below: dict[Path, dict[int, list[Located]]] | None = None
        self._made: dict[tuple[Path | None, str | None], ByName] = {}

    def rows_of(self, rows: Sequence[AnyRow], path: Path) -> list[tuple[int, AnyRow]]:
        """Return the rows that name photos, with the indices of these, of a table with this path.

        The photos in the table's folder are preferred. A table that is named for a split means no photo in another
        one's folder. A row may name a photo from the table's folder, by some of the last folders of its path, or
        without its ending. What all rows of a table have before that, such as `gs://bucket/`, need not be here. In one
        group, a name that is there twice means no photo.
        """
        by_name = self._by_name(path[:-1], split_of(path[-1].rpartition(".")[0]))
        begin = _common_folders(rows)
        found = ((_photo(row.file.split("/"), begin, by_name), row) for row in rows)
        return [(index, row) for index, row in found if index is not None]

    def _by_name(self, folder: Path, split: str | None) -> ByName:
        if (folder, split) not in self._made:
            below = self._in_folder(folder, split)
            self._made[folder, split] = _of_groups(below, folder) if any(below) else self._anywhere(split)
        return self._made[folder, split]

    def _anywhere(self, split: str | None) -> ByName:
        if (None, split) not in self._made:
            self._made[None, split] = _of_groups([_of_split(each, split) for each in self.groups], None)
        return self._made[None, split]

    def _in_folder(self, folder: Path, split: str | None) -> list[list[Located]]:
        if self._below is None:
            self._below = defaultdict(lambda: defaultdict(list))
            for number, group in enumerate(self.groups):
                for each in group:
                    for depth in range(len(each[1])):
                        self._below[each[1][:depth]][number].append(each)
        groups = self._below.get(folder, {})
        return [_of_split(groups[number], split) for number in sorted(groups)]


def split_above(folder: Path) -> str | None:
    """Return the split that the innermost folder named as one means."""
    return next((split_of(part) for part in reversed(folder) if is_split_word(part)), None)


def _of_split(group: Sequence[Located], split: str | None) -> list[Located]:
    """Return the photos that are in no other split's folder."""
    return [each for each in group if split is None or split_above(each[1][:-1]) in {None, split}]


def stem(name: str) -> str:
    """Return a name or path without the ending of its file."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + (file.rpartition(".")[0] or file)


def _of_groups(groups: Sequence[Sequence[Located]], folder: Path | None) -> ByName:
    by_name: dict[str, Located | None] = {}
    for group in groups:
        by_name = {**_ends(group, folder), **by_name}
    return by_name


def _ends(group: Sequence[Located], folder: Path | None) -> dict[str, Located | None]:
    """Return the photos of a group by the ends of their paths; from the table's folder, a name is never ambiguous."""
    ends: dict[str, Located | None] = {}
    exact: dict[str, Located | None] = {}
    for index, path in group:
        if folder is not None:
            exact["/".join(path[len(folder) :])] = (index, path)
        for key in _keys(path):
            seen = ends.get(key, (index, path))
            ends[key] = (index, path) if seen is not None and seen[0] == index else None
    return {**ends, **exact}


def _keys(path: Path) -> Iterator[str]:
    for name in ("/".join(path[n:]) for n in range(len(path))):
        yield from {name, stem(name)}


def _common_folders(rows: Sequence[Named]) -> int:
    """Return how many folders all rows begin with alike."""
    split = [row.file.split("/")[:-1] for row in rows]
    first, last = (min(split), max(split)) if split else ([], [])
    return next((n for n, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))


def _photo(parts: Sequence[str], common: int, by_name: ByName) -> int | None:
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
