"""Shows a command on a terminal: its stages with bars and estimates, the step of the running stage, the last line.

rich draws the view on stderr four times a second, so that the seconds count up while no line comes. Everything drawn is
a `_text`, which is not markup and has no control characters.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kennel.terminal.stages import CommandStages, StageProgress
from tasks.run.escaping import one_line, terminal_text
from tasks.run.progress import Stage, Step

BAR_WIDTH = 20
NEARLY = 0.97
"""The fullest state of a bar while its stage runs; the bar is full when the stage has ended."""

_MARKS = {"waiting": ("·", "dim"), "running": ("▸", "bold cyan"), "done": ("✔", "green"), "failed": ("✘", "red")}


class LiveView:
    """The live view of one command; `close` restores the terminal."""

    def __init__(
        self,
        title: str,
        stages: CommandStages,
        *,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title, self._stages, self._clock = title, stages, clock
        self._begun = clock()
        self._last = ""
        self._step: Step | None = None
        self._console = console or Console(stderr=True, highlight=False)
        self._live = Live(get_renderable=self._picture, console=self._console, refresh_per_second=4, transient=True)
        self._live.start()

    def line(self, text: str) -> None:
        """Show a line below the stages; warnings, commands to copy and the lines before them stay above the view."""
        stays = "WARNING" in text or text.startswith("  ") or text.endswith(":")
        if stays or not self._live.is_started:
            indented = text.replace("\n", "\n    ")
            self._console.print(_text(indented, "yellow" if "WARNING" in text else ""), soft_wrap=True)
        else:
            self._last = text

    def step(self, step: Step) -> None:
        """Show a step below the running stage until it is over."""
        if step.is_over:
            self._step = None
            return
        if self._step is None or self._step.label != step.label:
            self._last = ""  # the line belonged to the former step
        self._step = step

    def stage(self, stage: Stage) -> None:
        """Show that a stage began or ended."""
        self._stages.apply(stage)
        self._step, self._last = None, ""

    def close(self, *, is_finished: bool) -> None:
        """Remove the view; when the command did not finish, its last picture stays and shows how far it came."""
        if not self._live.is_started:
            return
        self._live.transient = is_finished
        self._live.stop()

    def _picture(self) -> RenderableType:
        rows = Table.grid(padding=(0, 1))
        for progress in list(self._stages.all):
            rows.add_row(*self._row(progress))
        head = _text(f"{self._title}  {_clock_text(self._clock() - self._begun)}", "bold")
        return Group(head, rows, *self._below())

    def _row(self, progress: StageProgress) -> tuple[RenderableType, ...]:
        mark, style = _MARKS[progress.status]
        spent, about = self._stages.seconds(progress), progress.estimate_seconds
        number = _text(self._stages.number(progress), "dim")
        title = _text(progress.title, "bold" if progress.status == "running" else "")
        if progress.status == "waiting":
            estimate = _text(f"about {about:.0f} s" if about else "", "dim")
            return _text(mark, style), number, title, _text(" " * BAR_WIDTH), estimate
        if progress.status == "running":
            filled = min(NEARLY, spent / about) if about else 0.0
            bar = ProgressBar(total=1.0, completed=filled, width=BAR_WIDTH, pulse=not about)
            return (
                _text(mark, style),
                number,
                title,
                bar,
                _text(f"{spent:.0f} s" + (f" of about {about:.0f} s" if about else "")),
            )
        completed = 1.0 if progress.status == "done" else NEARLY
        return (
            _text(mark, style),
            number,
            title,
            ProgressBar(total=1.0, completed=completed, width=BAR_WIDTH),
            _text(f"{spent:.1f} s"),
        )

    def _below(self) -> list[RenderableType]:
        shown: list[RenderableType] = []
        step = self._step
        if step is not None and step.total:
            bar = ProgressBar(total=step.total, completed=min(step.done, step.total), width=BAR_WIDTH)
            grid = Table.grid(padding=(0, 1))
            grid.add_row(_text(" "), _one_line(step.label, indent=0), bar, _one_line(step.amount, indent=0))
            shown.append(grid)
            if step.note:
                shown.append(_one_line(step.note))
        elif step is not None:
            shown.append(_one_line(step.text))
        if self._last:
            shown.append(_one_line(self._last))
        return shown


def _text(text: str, style: str = "") -> Text:
    return Text(terminal_text(text), style)


def _one_line(text: str, *, indent: int = 2) -> Text:
    style = "dim" if indent else ""
    return Text(" " * indent + one_line(text), style, no_wrap=True, overflow="ellipsis")


def _clock_text(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
