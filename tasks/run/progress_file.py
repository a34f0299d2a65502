"""Keeps `progress.json` in a run's folder: what the process that works on the run does, for `kennel status`.

The file is removed when the work ends. If the process is killed the file stays, and says how far the run had come.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from tasks.run.line_filter import LineFilter
from tasks.run.own_files import replacing
from tasks.run.process_mark import is_running, start_mark
from tasks.run.progress import LOGGER, Stage, Step
from tasks.run.sealed import parse_json, read_regular, strict_json

NAME = "progress.json"
EVERY_SECONDS = 1.0
"""How often lines and steps are written; the beginning and the end of a stage are written at once."""

LONGEST_TEXT = 300
_Moment = Annotated[float, Field(ge=0, le=1e10, allow_inf_nan=False)]
Clock = Callable[[], float]


@dataclass(frozen=True)
class RunProgress:
    """What a process does with the run in `folder`.

    `started` is the process's `start_mark`. `stage_began` and `at` are seconds of the monotonic clock, which all
    processes since the machine's start share and nobody can set. `planned` are the stages in order, `seconds` the times
    of those that are done, and `text` is the newest line.
    """

    folder: str
    pid: Annotated[int, Field(ge=1, lt=2**31)]
    started: str
    planned: tuple[str, ...]
    stage: str | None = None
    stage_began: _Moment = 0.0
    seconds: dict[str, _Moment] = field(default_factory=dict)
    text: Annotated[str, Field(max_length=LONGEST_TEXT)] = ""
    at: _Moment = 0.0

    @property
    def goes_on(self) -> bool:
        """Whether the process is still there; another one may have its id by now."""
        return is_running(self.pid, self.started)

    def stage_seconds(self, clock: Clock = time.monotonic) -> float:
        """Return for how long the stage that runs has been running."""
        return max(0.0, clock() - self.stage_began) if self.stage else 0.0


_PROGRESS = TypeAdapter(RunProgress)


def find_progress(run_dir: Path) -> RunProgress | None:
    """Return what is being done with a run, or was done when its process was interrupted; None without such a file.

    A file that cannot be read, or came with a copy of another folder, counts as none.
    """
    try:
        found = _PROGRESS.validate_python(parse_json(read_regular(run_dir / NAME)))
    except (OSError, ValueError):  # pydantic's ValidationError is one
        return None
    return found if found.folder == str(run_dir.resolve()) else None


def forget_progress(run_dir: Path) -> None:
    """Remove the file of a process that was killed."""
    with suppress(OSError):
        (run_dir / NAME).unlink()


@contextmanager
def kept_progress(run_dir: Path, planned: Sequence[str], *, clock: Clock = time.monotonic) -> Iterator[None]:
    """Keep the progress of this process in the run's folder inside the block; an outer block for the run goes on."""
    if any(isinstance(each, _ProgressFile) and each.run_dir == run_dir for each in LOGGER.handlers):
        yield
        return
    handler = _ProgressFile(run_dir, planned, clock)
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        forget_progress(run_dir)


class _ProgressFile(logging.Handler):
    """Writes the progress that the records of the logger `kennel` tell; a file that cannot be written stops nothing."""

    def __init__(self, run_dir: Path, planned: Sequence[str], clock: Clock) -> None:
        super().__init__(logging.DEBUG)
        self.run_dir = run_dir
        self._clock, self._filter = clock, LineFilter()
        only, pid = planned[0] if len(planned) == 1 else None, os.getpid()
        self._progress = RunProgress(
            str(run_dir.resolve()), pid, start_mark(pid), tuple(planned), stage=only, stage_began=clock()
        )
        self._write()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record; the lock of the handler admits one thread at a time."""
        stage, step = getattr(record, "stage", None), getattr(record, "step", None)
        if isinstance(stage, Stage):
            self._progress = _after(self._progress, stage, self._clock())
            self._write()
            return
        lines: list[str | Step] = [step] if isinstance(step, Step) else []
        if not lines and record.levelno >= logging.INFO:
            lines = self._filter.shown(record.getMessage().partition("\n")[0])
        if not lines:
            return
        self._progress = replace(self._progress, text=_text(lines[-1]))
        if self._clock() - self._progress.at >= EVERY_SECONDS:
            self._write()

    def _write(self) -> None:
        self._progress = replace(self._progress, at=self._clock())
        with suppress(OSError), replacing(self.run_dir / NAME) as file:
            file.write(strict_json(asdict(self._progress)).encode())


def _text(line: str | Step) -> str:
    if isinstance(line, Step):
        return "" if line.is_over else line.text[:LONGEST_TEXT]
    return line[:LONGEST_TEXT]


def _after(progress: RunProgress, stage: Stage, now: float) -> RunProgress:
    if stage.state == "begins":
        planned = progress.planned if stage.name in progress.planned else (*progress.planned, stage.name)
        return replace(progress, planned=planned, stage=stage.name, stage_began=now, text="")
    return replace(progress, stage=None, seconds={**progress.seconds, stage.name: stage.seconds}, text="")
