"""Find the column of a table that says which photos belong together, such as those of one patient or one lesion.

Photos of one group are no evidence for each other: a model that has seen one in training knows the others. So they stay
in one split where splits are made, and a warning tells of those that are in two. These are pure functions.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from tasks.data.texts import SHOWN, counted, enumerated, shortened

GROUP_COLUMNS = (
    *("lesion_id", "lesion", "patient_id", "patient", "subject_id", "subject", "participant_id", "person_id"),
    *("individual_id", "individual", "animal_id", "plant_id", "tree_id", "specimen_id", "case_id", "study_id"),
    *("series_id", "session_id", "sequence_id", "video_id", "track_id", "scene_id", "burst_id", "group_id", "group"),
)
"""The names of such columns, in any case, also without `_` or with a blank or a hyphen in its place."""

_PLAIN = frozenset(name.replace("_", "") for name in GROUP_COLUMNS)
_LARGEST, _FEWEST = 0.2, 3
"""The largest group has such a share of the photos at most, and a class has so many groups at least."""

Pair = tuple[int, int]


def is_group_name(column: str) -> bool:
    """Tell whether a column is named as one that says which photos belong together."""
    return re.sub(r"[ _-]", "", column).casefold() in _PLAIN


def group_column(columns: Iterable[str], rows: Sequence[tuple[Mapping[str, str], str]]) -> str | None:
    """Return the column of groups that splits can keep together; `rows` are records with their classes.

    Some of its values are there several times, none for most of the photos, and each class has several of them.
    """
    return next((name for name in columns if is_group_name(name) and _can_be_split(name, rows)), None)


def _can_be_split(column: str, rows: Sequence[tuple[Mapping[str, str], str]]) -> bool:
    named = [(record[column], class_name) for record, class_name in rows if record.get(column) and class_name]
    sizes = Counter(group for group, _ in named)
    if not named or len(sizes) == len(named) or max(sizes.values()) > _LARGEST * len(named):
        return False
    groups: dict[str, set[str]] = defaultdict(set)
    for group, class_name in named:
        groups[class_name].add(group)
    return min(map(len, groups.values())) >= _FEWEST


def group_pairs(groups: Sequence[str | None]) -> list[Pair]:
    """Return pairs of indices that join the photos of each group with the first of them."""
    first: dict[str, int] = {}
    found = ((first.setdefault(group, index), index) for index, group in enumerate(groups) if group is not None)
    return [(one, other) for one, other in found if one != other]


def group_note(column: str, groups: Iterable[str | None]) -> str:
    """Return the note on photos that stay together."""
    sizes = Counter(group for group in groups if group is not None)
    told = f"{len(sizes):,} values of {counted(sizes.total(), 'photo')}"
    return f"photos with the same {column} are kept in one split: {told}"


def group_warning(column: str, placed: Iterable[tuple[str | None, str]]) -> list[str]:
    """Return which groups are in two splits; `placed` are the photos' groups and splits."""
    splits: dict[str, set[str]] = defaultdict(set)
    for group, split in placed:
        if group is not None:
            splits[group].add(split)
    torn = [group for group, found in sorted(splits.items()) if len(found) > 1]
    if not torn:
        return []
    shown = ", ".join(f"{shortened(group)}: {enumerated(sorted(splits[group]))}" for group in torn[:SHOWN])
    more = f" and {len(torn) - SHOWN:,} more" if len(torn) > SHOWN else ""
    are = f"1 value of {column} is" if len(torn) == 1 else f"{len(torn):,} values of {column} are"
    why = "the accuracy may look too good, because photos of one are alike"
    return [f"{are} in two splits ({shown}{more}): {why}"]
