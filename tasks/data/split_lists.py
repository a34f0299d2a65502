"""Read the lists that say which photo is in which split: train.txt, val.txt, test_list.txt, test.csv, trainval.txt.

They are known by a split in their name, and by a column of photos that are here. They are used when they name at least
half of the photos, some of another split than train but not all of them, and no photo in two. A photo that only
trainval names is of train. Of train1, train2, ... that disagree, only those of the lowest number are used. If there is
a list of train, a photo in no list is not used; else it is of train.
"""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.data.entries import Listing
from tasks.data.label_columns import file_column
from tasks.data.label_rows import Located, Read, content_of, files_of_labels, known_names, located_rows
from tasks.data.label_table import Row, may_be_table
from tasks.data.names import Names, Path
from tasks.data.table_text import plain_name, records_of
from tasks.data.texts import counted, listed, shortened
from tasks.data.tree import split_of, words_of
from tasks.run.records import SPLITS

_BOTH = frozenset({"trainval", "trainvalid"})
_LEAST_NAMED = 0.5
_MOST_LISTS = 40
_NUMBER = re.compile(r"(\d+)\D*$")


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
    def number(self) -> int:
        found = _NUMBER.search(self.path[-1].rpartition(".")[0])
        return int(found[1]) if found else 0


def read_split_lists(listing: Listing, found: Names, photos: Sequence[Located], read: Read) -> SplitLists:
    """Return the splits that lists in a source give to these photos."""
    lists = _read(listing, found, photos, read)
    if {each.split for each in lists} <= {"train"}:
        return SplitLists({})
    shown, every, folds = listed([each.name for each in lists]), lists, []
    if _in_two(lists) is not None and len(numbers := sorted({each.number for each in lists})) > 1:
        lists = [each for each in lists if each.number == numbers[0]]
        folds = [_folds_note(every, numbers)]
    if (twice := _in_two(lists)) is not None:
        photo = shortened("/".join(found.files[twice]))
        return SplitLists({}, warnings=(f"{shown} are not used for the splits: {photo} is in two of them",))
    splits = {index: each.split for each in sorted(lists, key=_is_both, reverse=True) for index in each.photos}
    if len(splits) < _LEAST_NAMED * len(photos):
        why = f"name only {len(splits):,} of {counted(len(photos), 'photo')}"
        return SplitLists({}, warnings=(f"{shown} are not used for the splits: they {why}",))
    others = {index for index, _ in photos if index not in splits}
    has_train = "train" in splits.values()
    if not (has_train or others):
        return SplitLists({})
    if not has_train:
        splits |= dict.fromkeys(others, "train")
    notes = (_note(lists, splits, 0 if has_train else len(others)), *folds)
    return SplitLists(splits, tuple(e.path for e in every), notes, left=frozenset(others if has_train else ()))


def _read(listing: Listing, found: Names, photos: Sequence[Located], read: Read) -> list[_List]:
    """Return the lists of splits, by their paths."""
    named = [
        (entry, path, split)
        for entry, path in files_of_labels(listing, found)
        if may_be_table(path) and (split := _split_of_list(path)) is not None
    ]
    if not named or not photos:
        return []
    known = known_names([photos])
    lists = []
    for entry, path, split in named[:_MOST_LISTS]:
        rows = _rows(path, content_of(read, entry), known)
        own = located_rows(rows, path, [photos]) if rows else {}
        lists += [_List(path, split, frozenset(own))] if own else []
    return sorted(lists, key=lambda each: (SPLITS.index(each.split), each.path))


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
