"""Places labels along a time axis in rows so that no label covers another. The functions are pure.

Text widths are computed from the font's outlines, in points of 1/72 inch, without drawing anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

GAP_POINTS = 4.0
"""The smallest distance between two labels of one row."""


@dataclass(frozen=True)
class PlacedLabel:
    """A label with its text, its left edge in points from the start of the axis, and its row, counted from 0."""

    text: str
    left: float
    row: int


def width_points(text: str, size: float) -> float:
    """Return the width of a text in the default font at a size in points."""
    return _width_of_one(text) * size


def place_centred(labels: Sequence[tuple[str, float, float]], *, axis_points: float, size: float) -> list[PlacedLabel]:
    """Place labels over the middle of their intervals, within the axis; `labels` are (text, begin, end) in points.

    A label that is wider than its interval may overlap its neighbours' labels; it then goes to the next row.
    """
    wanted = []
    for text, begin, end in labels:
        width = width_points(text, size)
        wanted.append((text, min(max(0.0, (begin + end - width) / 2), max(0.0, axis_points - width))))
    return _in_rows(wanted, size)


def place_beside(labels: Sequence[tuple[str, float]], *, axis_points: float, size: float) -> list[PlacedLabel]:
    """Place labels to the right of their moments, to the left at the axis's end. `labels` are (text, at) in points."""
    wanted = []
    for text, at in sorted(labels, key=lambda label: label[1]):
        width, right = width_points(text, size), at + GAP_POINTS / 2
        wanted.append((text, right if right + width <= axis_points else max(0.0, at - width - GAP_POINTS / 2)))
    return _in_rows(wanted, size)


def row_count(placed: Sequence[PlacedLabel]) -> int:
    """Return how many rows the labels occupy."""
    return 1 + max((label.row for label in placed), default=-1)


def _in_rows(wanted: Sequence[tuple[str, float]], size: float) -> list[PlacedLabel]:
    """Give each label the first row in which it covers no other label."""
    taken: list[list[tuple[float, float]]] = []
    placed = []
    for text, left in wanted:
        right = left + width_points(text, size)
        row = next((number for number, others in enumerate(taken) if _is_free(others, left, right)), len(taken))
        if row == len(taken):
            taken.append([])
        taken[row].append((left, right))
        placed.append(PlacedLabel(text, left, row))
    return placed


def _is_free(others: Sequence[tuple[float, float]], left: float, right: float) -> bool:
    return all(right + GAP_POINTS <= begin or end + GAP_POINTS <= left for begin, end in others)


@cache
def _width_of_one(text: str) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    width, _, _ = TextToPath().get_text_width_height_descent(text, FontProperties(size=100), ismath=False)
    return float(width) / 100
