"""Read the lists that say which photo is in which split: train.txt, val.txt, test_list.txt, test.csv, trainval.txt.

They are known by a split in their name, and by a column of photos that are here. They are used when they name at least
half of the photos, some of another split than train but not all of them, and no photo in two. A photo that only
trainval names is of train. Of train1, train2, ... that disagree, only those of the lowest number are used, with those
that have no number. If there is a list of train, a photo in no list is not used; else it is of train.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from tasks.data.entries import Entry, Listing
from tasks.data.label_columns import file_column
from tasks.data.label_rows import Read, content_of, files_of_labels, known_names
from tasks.data.label_table import Row, may_be_table
from tasks.data.names import Names, Path
from tasks.data.photo_index import Located, PhotoIndex
from tasks.data.table_text import plain_name, records_of
from tasks.data.texts import counted, listed, shortened
from tasks.data.tree import split_of, words_of
from tasks.run.records import SPLITS

_BOTH = frozenset({"trainval", "trainvalid"})
_LEAST_NAMED = 0.5
_MOST_LISTS = 200
_MOST_DIGITS = 15
_FEWEST_FOLDS = 2


@dataclass(frozen=True)
class SplitLists:
    """The splits of photos by their indices, the lists that they are from, and what is to be said of it.

    `left` are photos that are in no list although there is one of train.
    """

    splits: Mapping[int, str]
    paths: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    left: frozenset[int] = frozenset()


@dataclass(frozen=True)
class _List:
    path: Path
    split: str
    photos: frozenset[int]

    @property
    def name(self) -> str:
        return shortened("/".join(self.path))

    @property
    def number(self) -> int | None:
        parts = groupby(self.path[-1].rpartition(".")[0], str.isdecimal)
        numbers = ["".join(each) for is_number, each in parts if is_number]
        return int(numbers[-1][-_MOST_DIGITS:]) if numbers else None


def read_split_lists(listing: Listing, found: Names, photos: Sequence[Located], read: Read) -> SplitLists:
    """Return the splits that lists in a source give to these photos."""
    named = _named_lists(listing, found)
    every = _read(named[:_MOST_LISTS], photos, read)
    if {each.split for each in every} <= {"train"}:
        return SplitLists({})
    shown = f"{listed([each.name for each in every])} are not used for the splits"
    if len(named) > _MOST_LISTS:
        why = f"the data has {len(named):,} lists by their names, and {_MOST_LISTS} are read"
        return SplitLists({}, warnings=(f"{shown}: {why}",))
    lists, folds = _first_fold(every)
    if (twice := _in_two(lists)) is not None:
        photo = shortened("/".join(found.files[twice]))
        return SplitLists({}, warnings=(f"{shown}: {photo} is in two of them",))
    if {each.split for each in lists} <= {"train"}:
        why = f"they contradict each other, and number {lists[0].number} has train alone"
        return SplitLists({}, warnings=(f"{shown}: {why}",))
    splits = {index: each.split for each in sorted(lists, key=_is_both, reverse=True) for index in each.photos}
    if len(splits) < _LEAST_NAMED * len(photos):
        why = f"name only {len(splits):,} of {counted(len(photos), 'photo')}"
        return SplitLists({}, warnings=(f"{shown}: they {why}",))
    others = {index for index, _ in photos if index not in splits}
    has_train = "train" in splits.values()
    if not (has_train or others):
        return SplitLists({})
    if not has_train:
        splits |= dict.fromkeys(others, "train")
    notes = (_note(lists, splits, 0 if has_train else len(others)), *folds)
    return SplitLists(splits, tuple(e.path for e in every), notes, left=frozenset(others if has_train else ()))


def _named_lists(listing: Listing, found: Names) -> list[tuple[Entry, Path, str]]:
    return [
        (entry, path, split)
        for entry, path in files_of_labels(listing, found)
        if may_be_table(path) and (split := _split_of_list(path)) is not None
    ]


def _read(named: Sequence[tuple[Entry, Path, str]], photos: Sequence[Located], read: Read) -> list[_List]:
    """Return the lists of splits, by their paths."""
    if not named or not photos:
        return []
    known, index_of = known_names([photos]), PhotoIndex([photos])
    lists = []
    for entry, path, split in named:
        rows = _rows(path, content_of(read, entry), known)
        own = frozenset(index for index, _ in index_of.rows_of(rows, path))
        lists += [_List(path, split, own)] if own else []
    return sorted(lists, key=lambda each: (SPLITS.index(each.split), each.path))


def _first_fold(every: Sequence[_List]) -> tuple[Sequence[_List], list[str]]:
    """Return the lists of the lowest number, with those that have none, and a note; all if no photo is in two splits.

    There are several numbers, and a list without a number, such as test.txt, belongs to each of them.
    """
    numbers = sorted({each.number for each in every if each.number is not None})
    if len(numbers) < _FEWEST_FOLDS or _in_two(every) is None:
        return every, []
    return [each for each in every if each.number in {None, numbers[0]}], [_folds_note(every, numbers)]


def _rows(path: Path, content: bytes, known: set[str]) -> list[Row]:
    """Return the photos that a list names, without their classes; none if it names no photos in a column."""
    try:
        header, records = records_of(path, content, known)
    except (ValueError, csv.Error):
        return []
    file = file_column(header, records, known)
    return [Row(plain_name(name), "", None) for each in records if file and (name := each.get(file))]


def _split_of_list(path: Path) -> str | None:
    stem = path[-1].rpartition(".")[0]
    return split_of(stem) or ("train" if not _BOTH.isdisjoint(words_of(stem)) else None)


def _is_both(each: _List) -> bool:
    return not _BOTH.isdisjoint(words_of(each.path[-1]))


def _in_two(lists: Sequence[_List]) -> int | None:
    """Return a photo that is in lists of two splits; a list of train and validation together says nothing against."""
    splits: dict[int, set[str]] = defaultdict(set)
    for each in lists:
        for index in each.photos:
            splits[index].add("trainval" if _is_both(each) else each.split)
    allowed = {"trainval", "train"}, {"trainval", "validation"}
    return next((i for i, each in splits.items() if len(each) > 1 and each not in allowed), None)


def _folds_note(lists: Sequence[_List], numbers: Sequence[int]) -> str:
    """Return how many folds there are, and that the first is used."""
    folder = "/".join(lists[0].path[:-1])
    where = f"{shortened(folder)}/" if folder else "the data"
    return f"{where} has {len(numbers)} folds; fold {numbers[0]} is used"


def _note(lists: Sequence[_List], splits: Mapping[int, str], others: int) -> str:
    counts = Counter(splits.values())
    shown = ", ".join(f"{split} {counts[split]:,}" for split in ("train", "validation", "test") if counts[split])
    more = f"; {counted(others, 'photo')} in none of them {'is' if others == 1 else 'are'} of train" if others else ""
    return f"the splits are from {listed([each.name for each in lists])} ({shown}){more}"
