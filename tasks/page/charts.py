"""Computes the shapes of the page's charts in SVG's coordinates; the templates draw them in the page's own colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.evaluation.record import ConfidenceBin, Confusion, CurvePoint

WIDTH, HEIGHT = 560.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 96.0, 12.0, 34.0
MOST_TICKS = 6


@dataclass(frozen=True)
class Tick:
    """A label of an axis and where it stands, in SVG's units."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """A line of a chart: SVG's `points`, its name, and where the name stands, at the line's end."""

    name: str
    points: str
    end_x: float
    end_y: float


@dataclass(frozen=True)
class LineChart:
    """Lines over the whole numbers 1, 2, … with the ticks of both axes.

    `mark` is where a vertical line stands, at the epoch that is kept, whose validation loss is `kept`.
    """

    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    mark: float | None
    summary: str
    kept: str


def learning_curve(points: Sequence[CurvePoint], best_epoch: int | None) -> LineChart | None:
    """Return the chart of a stage's losses; None for fewer than two epochs, which are no curve."""
    series = {
        "training": [point.train_loss for point in points],
        "validation": [point.validation_loss for point in points],
    }
    finite = [value for values in series.values() for value in values if math.isfinite(value)]
    if len(points) < 2 or not finite:
        return None
    top = max(finite) or 1.0

    def x(epoch: float) -> float:
        return round(LEFT + (epoch - 1) / (len(points) - 1) * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(TOP + (1 - min(max(value / top, 0.0), 1.0)) * (HEIGHT - TOP - BOTTOM), 1)

    lines = []
    for name, values in series.items():
        drawn = [(x(epoch), y(value)) for epoch, value in enumerate(values, 1) if math.isfinite(value)]
        lines.append(Line(name, " ".join(f"{a},{b}" for a, b in drawn), *drawn[-1]))
    mark = x(best_epoch) if best_epoch and best_epoch <= len(points) else None
    last = f"validation loss from {points[0].validation_loss:.3g} to {points[-1].validation_loss:.3g}"
    return LineChart(
        lines=tuple(_apart(lines)),
        x_ticks=tuple(Tick(x(epoch), str(epoch)) for epoch in _whole_ticks(len(points))),
        y_ticks=tuple(Tick(y(value), f"{value:g}") for value in nice_ticks(top)),
        mark=mark,
        summary=f"{len(points)} epochs, {last}",
        kept=f"{points[best_epoch - 1].validation_loss:.3g}" if best_epoch and mark is not None else "",
    )


def _apart(lines: list[Line], least: float = 14.0) -> list[Line]:
    """Move the names of two lines that end at the same place apart, so that both can be read."""
    first, second = sorted(lines, key=lambda line: line.end_y)
    missing = least - (second.end_y - first.end_y)
    if missing <= 0:
        return lines
    return [
        Line(line.name, line.points, line.end_x, line.end_y + (missing / 2 if line is second else -missing / 2))
        for line in lines
    ]


def nice_ticks(top: float) -> list[float]:
    """Return 0 and the multiples of 1, 2 or 5 times a power of ten up to `top`, `MOST_TICKS` at most."""
    raw = top / (MOST_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    step = next((factor * power for factor in (1, 2, 5) if factor * power >= raw), 10 * power)
    return [round(number * step, 10) for number in range(int(top / step + 1e-9) + 1)]


def _whole_ticks(last: int) -> list[int]:
    step = max(1, math.ceil((last - 1) / (MOST_TICKS - 1)))
    return list(range(1, last + 1, step))


@dataclass(frozen=True)
class Bar:
    """A bin of the reliability diagram: its bar in percent of the square, and where its confidence is marked."""

    left: float
    width: float
    height: float
    confidence: float
    images: int


def reliability_bars(bins: Sequence[ConfidenceBin]) -> list[Bar]:
    """Return the bars of the reliability diagram, in percent from the lower left corner."""
    return [
        Bar(100 * each.low, 100 * (each.high - each.low), 100 * each.accuracy, 100 * each.confidence, each.images)
        for each in bins
    ]


@dataclass(frozen=True)
class Matrix:
    """The classes that are confused most, and the images of each true class (row) taken for each other (column)."""

    classes: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]
    left_out: int


MATRIX_CLASSES = 12


def confusion_matrix(confusions: Sequence[Confusion], right: dict[str, int]) -> Matrix:
    """Return the matrix of the classes with the most confusions; `left_out` confused images are not in it."""
    weight: dict[str, int] = {}
    for each in confusions:
        for name in (each.true, each.predicted):
            weight[name] = weight.get(name, 0) + each.images
    chosen = sorted(weight, key=lambda name: (-weight[name], name))[:MATRIX_CLASSES]
    counts = {(each.true, each.predicted): each.images for each in confusions}
    rows = tuple(
        tuple(right.get(true, 0) if true == taken else counts.get((true, taken), 0) for taken in chosen)
        for true in chosen
    )
    shown = sum(images for (true, taken), images in counts.items() if true in chosen and taken in chosen)
    return Matrix(tuple(chosen), rows, sum(counts.values()) - shown)
