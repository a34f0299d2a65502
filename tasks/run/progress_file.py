"""Keeps `progress.json` in a run's folder: what the process that works on the run does, for `kennel status`.

The file is removed when the work ends. If the process is killed the file stays, and says how far the run had come.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import psutil
from pydantic import TypeAdapter

from tasks.run.line_filter import LineFilter
from tasks.run.own_files import replacing
from tasks.run.progress import LOGGER, Stage, Step
from tasks.run.sealed import parse_json, read_regular, strict_json

NAME = "progress.json"
EVERY_SECONDS = 1.0
"""How often lines and steps are written; the beginning and the end of a stage are written at once."""


@dataclass(frozen=True)
class Doing:
    """What the process `pid`, which began at `process_began`, does; times are seconds since the epoch.

    `planned` are the stages in order, `seconds` the times of those that are done, and `text` is the newest line.
    """

    pid: int
    process_began: float
    planned: tuple[str, ...]
    stage: str | None = None
    stage_began: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    text: str = ""
    at: float = 0.0

    @property
    def goes_on(self) -> bool:
        """Whether the process is still there; another one may have its id by now."""
        try:
            return psutil.Process(self.pid).create_time() == self.process_began
        except psutil.Error:
            return False


_DOING = TypeAdapter(Doing)


def find_progress(run_dir: Path) -> Doing | None:
    """Return what is being done with a run, or was done when its process was killed; None when there is no such file.

    A file that cannot be read counts as none: it says nothing that a stage needs.
    """
    try:
        return _DOING.validate_python(parse_json(read_regular(run_dir / NAME)))
    except (OSError, ValueError):  # pydantic's ValidationError is one
        return None


def forget_progress(run_dir: Path) -> None:
    """Remove the file of a process that was killed."""
    with suppress(OSError):
        (run_dir / NAME).unlink()


@contextmanager
def kept_progress(run_dir: Path, planned: Sequence[str]) -> Iterator[None]:
    """Keep the progress of this process in the run's folder inside the block; an outer block for the run goes on."""
    if any(isinstance(each, _ProgressFile) and each.run_dir == run_dir for each in LOGGER.handlers):
        yield
        return
    handler = _ProgressFile(run_dir, planned)
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        forget_progress(run_dir)


class _ProgressFile(logging.Handler):
    """Writes the progress that the records of the logger `kennel` tell; a file that cannot be written stops nothing."""

    def __init__(self, run_dir: Path, planned: Sequence[str]) -> None:
        super().__init__(logging.DEBUG)
        self.run_dir = run_dir
        only = planned[0] if len(planned) == 1 else None
        began = psutil.Process().create_time()
        self._doing = Doing(os.getpid(), began, tuple(planned), stage=only, stage_began=time.time())
        self._filter = LineFilter()
        self._write()

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record; the lock of the handler admits one thread at a time."""
        stage, step = getattr(record, "stage", None), getattr(record, "step", None)
        if isinstance(stage, Stage):
            self._doing = _after(self._doing, stage)
            self._write()
            return
        lines: list[str | Step] = [step] if isinstance(step, Step) else []
        if not lines and record.levelno >= logging.INFO:
            lines = self._filter.shown(record.getMessage().partition("\n")[0])
        if not lines:
            return
        self._doing = replace(self._doing, text=_text(lines[-1]))
        if time.time() - self._doing.at >= EVERY_SECONDS:
            self._write()

    def _write(self) -> None:
        self._doing = replace(self._doing, at=time.time())
        with suppress(OSError), replacing(self.run_dir / NAME) as file:
            file.write(strict_json(asdict(self._doing)).encode())


def _text(line: str | Step) -> str:
    if isinstance(line, Step):
        return "" if line.is_over else line.text
    return line


def _after(doing: Doing, stage: Stage) -> Doing:
    if stage.state == "begins":
        planned = doing.planned if stage.name in doing.planned else (*doing.planned, stage.name)
        return replace(doing, planned=planned, stage=stage.name, stage_began=time.time(), text="")
    return replace(doing, stage=None, seconds={**doing.seconds, stage.name: stage.seconds}, text="")
