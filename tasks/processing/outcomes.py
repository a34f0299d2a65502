"""What a host found in each photo, as rows that the other hosts and the first one's judgement read."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tasks.data.layout import Layout
from tasks.data.worker_pool import Decoded, Rejected


def rows_of(outcomes: Iterable[Decoded | Rejected]) -> list[list[Any]]:
    """Return the outcomes as rows of JSON; the spool of an image is told by its file's name."""
    return [_row(each) for each in outcomes]


def _row(outcome: Decoded | Rejected) -> list[Any]:
    if isinstance(outcome, Rejected):
        return [outcome.index, outcome.reason]
    thumbnail = base64.b64encode(outcome.thumbnail).decode()
    return [
        *(outcome.index, outcome.source_sha256, outcome.staged_sha256, outcome.width, outcome.height),
        *(outcome.spool.name, outcome.offset, outcome.size_bytes, thumbnail, outcome.notes, outcome.source_size),
    ]


def outcomes_of(rows: Iterable[Sequence[Any]], spools: Path) -> list[Decoded | Rejected]:
    """Return the outcomes of a host's rows; its spools are in the folder `spools`."""
    return [_outcome(row, spools) for row in rows]


def _outcome(row: Sequence[Any], spools: Path) -> Decoded | Rejected:
    if len(row) == 2:
        return Rejected(*row)
    index, source, staged, width, height, spool, offset, size_bytes, thumbnail, notes, size = row
    looks = (base64.b64decode(thumbnail), tuple(notes), (int(size[0]), int(size[1])))
    return Decoded(index, source, staged, width, height, spools / Path(spool).name, offset, size_bytes, *looks)


def in_order(outcomes: Iterable[Decoded | Rejected], layout: Layout) -> list[Decoded | Rejected]:
    """Return the outcomes of all hosts in the order of the layout's candidates.

    Raises:
        KeyError: a candidate has none.
    """
    by_index = {each.index: each for each in outcomes}
    return [by_index[candidate.index] for candidate in layout.candidates]


def share_of(candidates: Sequence[int], share: int, shares: int) -> Sequence[int]:
    """Return part number `share` (from 0) of `shares` equal parts; neighbours stay together."""
    count = len(candidates)
    return candidates[share * count // shares : (share + 1) * count // shares]
