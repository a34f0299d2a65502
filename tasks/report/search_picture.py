"""Draws a search: the loss of each trial, the importance of each hyperparameter, and the losses over its values.

As `tasks.verdicts.picture` it uses matplotlib with its Agg canvas, without pyplot, and imports it when it draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tasks.report.importance import Importances
from tasks.report.search_axes import Axis, axes_of
from tasks.run.escaping import terminal_text
from tasks.run.trials import COMPLETE, Search, Trial
from tasks.verdicts.picture import BLUE, DPI, GREEN, GREY, ORANGE, RED, WIDTH_INCHES, take_texts_literally

COLUMNS = 3
TOP_INCHES, ROW_INCHES = 4.0, 2.8
WIDEST_LINEAR = 10.0
"""From this ratio of the losses on, their scale is logarithmic."""
LOSS = "validation loss"


def draw_search(search: Search, importances: Importances, folder: Path) -> Path:
    """Write `search.png` and `search.svg` into a folder and return the path of `search.png`.

    Raises:
        ValueError: no trial has a loss.
        Exception: whatever matplotlib raises.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    axes = axes_of(search)
    rows = math.ceil(len(axes) / COLUMNS)
    size = (WIDTH_INCHES, TOP_INCHES + rows * ROW_INCHES)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(1 + rows, COLUMNS, height_ratios=(TOP_INCHES, *[ROW_INCHES] * rows))
    scale = _loss_scale(search)
    top = figure.add_subplot(grid[0, :2])
    _draw_trials(top, search, scale)
    _draw_importances(figure.add_subplot(grid[0, 2]), importances)
    for number, axis in enumerate(axes):
        panel = figure.add_subplot(grid[1 + number // COLUMNS, number % COLUMNS], sharey=top)
        _draw_slice(panel, axis, search, names_loss=number % COLUMNS == 0)
    figure.suptitle(_title(search), fontsize=12, ha="left", x=0.01)
    take_texts_literally(figure)
    path = folder / "search.png"
    figure.savefig(path)
    figure.savefig(folder / "search.svg")
    return path


def _title(search: Search) -> str:
    cut, failed = search.count("pruned"), search.count("failed")
    return f"{len(search.trials) - 1} trials, {cut} cut, {failed} failed; trial {search.winner} won"


def _loss_scale(search: Search) -> str:
    losses = [trial.loss for trial in search.trials if trial.loss is not None]
    return "log" if 0 < WIDEST_LINEAR * min(losses) < max(losses) else "linear"


def _with_loss(search: Search, *, complete: bool) -> list[Trial]:
    return [trial for trial in search.trials if trial.loss is not None and (trial.state == COMPLETE) == complete]


def _draw_trials(panel: Any, search: Search, scale: str) -> None:
    """Draw each trial's loss by its number, the best so far, and the default's; a failed trial has no loss."""
    complete, cut = (_with_loss(search, complete=is_complete) for is_complete in (True, False))
    lowest = [min(each.loss or 0.0 for each in complete if each.number <= trial.number) for trial in complete]
    panel.step([trial.number for trial in complete], lowest, where="post", color=BLUE, lw=1, label="best so far")
    _points(panel, [(trial.number, trial) for trial in complete], BLUE, "o", "complete")
    _points(panel, [(trial.number, trial) for trial in cut], GREY, "v", "cut")
    failed = [trial.number for trial in search.trials if trial.state == "failed"]
    for number in failed:
        panel.axvline(number, color=RED, lw=1, ls=":", label="failed" if number == failed[0] else None)
    default = search.trials[0].loss
    if default is not None:
        panel.axhline(default, color=GREEN, lw=1, ls="--", label=f"default: {default:.4g}")
    _points(panel, [(search.winner, search.best)], ORANGE, "*", f"winner: {search.best.loss:.4g}", size=14)
    panel.set(xlabel="trial", ylabel=LOSS, yscale=scale)
    if scale == "log":
        _number_plainly(panel.yaxis, has_minor=True)
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=6, fontsize=8, frameon=False, borderaxespad=0.1)
    panel.grid(axis="y", alpha=0.3)


def _points(
    panel: Any, found: Sequence[tuple[float, Trial]], colour: str, marker: str, label: str, size: float = 6
) -> None:
    if found:
        places, trials = zip(*found, strict=True)
        losses = [trial.loss for trial in trials]
        panel.plot(places, losses, color=colour, marker=marker, ms=size, ls="", label=label)


def _draw_importances(panel: Any, importances: Importances) -> None:
    """Draw a bar for each hyperparameter, the greatest on top, with its interval; or say why there are none."""
    panel.set_title("share of the losses' variance explained alone", fontsize=9, loc="left")
    if not importances.shares:
        panel.text(0.5, 0.5, importances.why_none, ha="center", va="center", fontsize=9, wrap=True)
        panel.set_axis_off()
        return
    shown = importances.shares[::-1]
    below, above = [each.share - each.low for each in shown], [each.high - each.share for each in shown]
    names = [terminal_text(each.name) for each in shown]  # labels of ticks are made when the figure is drawn
    panel.barh(names, [each.share for each in shown], xerr=(below, above), color=BLUE, ecolor=GREY, capsize=3)
    panel.set_xlim(0, 1)
    panel.set_xlabel(f"fANOVA of {importances.of_what}\nlines: 95 % of resampled", fontsize=8)


def _draw_slice(panel: Any, axis: Axis, search: Search, *, names_loss: bool) -> None:
    """Draw the losses over the values of one hyperparameter; a default outside the space is left out."""
    for is_complete, colour, marker in ((False, GREY, "v"), (True, BLUE, "o")):
        trials = [trial for trial in _with_loss(search, complete=is_complete) if _is_on(axis, trial)]
        _points(panel, [(_across(axis, trial), trial) for trial in trials], colour, marker, "")
    if _is_on(axis, search.best):
        _points(panel, [(_across(axis, search.best), search.best)], ORANGE, "*", "", size=14)
    panel.set(xlabel=axis.name, ylabel=LOSS if names_loss else "")
    if axis.choices:
        panel.set_xlim(*axis.ends)
        panel.set_xticks(range(len(axis.choices)), [f"{value:g}" for value in axis.choices])
    elif axis.is_log:
        panel.set_xscale("log")
        _number_plainly(panel.xaxis, has_minor=axis.high < 100 * axis.low)
    panel.grid(axis="y", alpha=0.3)


def _number_plainly(axis: Any, *, has_minor: bool) -> None:
    """Number a logarithmic axis without formulas, which would be drawn as their text."""
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(lambda value, _: f"{value:g}" if has_minor and f"{value:.0e}"[0] in "25" else "")


def _is_on(axis: Axis, trial: Trial) -> bool:
    return axis.holds(trial.parameters[axis.name])


def _across(axis: Axis, trial: Trial) -> float:
    value = trial.parameters[axis.name]
    return axis.place(value) if axis.choices else value
