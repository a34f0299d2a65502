"""The figures of a benchmark: how they are printed, and the file in `benchmarks/results/` that `--record` writes.

A results file has the command, the commit, the date, the machine and its load before the benchmark began, and for each
figure the number of measurements (n) with the least, the median and the most of them. `benchmarks.table` makes
docs/benchmarks.md and the table of README.md from these files, so no figure of a document is typed by hand.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

RESULTS = Path(__file__).with_name("results")
_ROOT = Path(__file__).resolve().parents[1]
_LOAD_BEFORE = os.getloadavg()[0]
_GIT_SECONDS = 10.0
_CHANGES = ("status", "--porcelain", "--", ".", ":!benchmarks/results", ":!docs/benchmarks.md", ":!README.md")
"""What a benchmark itself writes is no change of what it measures."""


@dataclass(frozen=True)
class Figure:
    """One result: what was measured, its value (a median if there are several), n, and its goal ("" for none)."""

    what: str
    value: float
    unit: str
    n: int
    goal: str = ""
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Result:
    """The content of a results file; `load` is that of the machine before, averaged over a minute."""

    benchmark: str
    command: str
    commit: str
    date: str
    machine: str
    load: float
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        """The name of its file: the benchmark, and the machine's processors."""
        return f"{self.benchmark}.{machine_slug(self.machine)}.json"


def of(what: str, values: Sequence[float], unit: str, goal: str = "") -> Figure:
    """Return the figure of several measurements: their median, with the least and the most."""
    return Figure(what, statistics.median(values), unit, len(values), goal, min(values), max(values))


def ratio_of(what: str, ours: Sequence[float], theirs: Sequence[float], goal: str = "") -> Figure:
    """Return how many times `ours` is in `theirs`, by pairs of measurements that were taken in turns."""
    return of(what, [b / a for a, b in zip(ours, theirs, strict=True)], "x", goal)


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of the command line that knows `--record`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write the figures to benchmarks/results/")
    return parser


def publish(figures: Iterable[Figure], notes: Sequence[str] = ()) -> None:
    """Print the machine and the figures; with `--record` on the command line, write their file too."""
    from tasks.run.machine import hardware  # not at the top: it imports ssl, which gevent has to patch first

    result = Result(*_run(), hardware(), round(_LOAD_BEFORE, 1), tuple(figures), tuple(notes))
    print(f"{result.machine}; load before: {result.load:g}")
    for figure in result.figures:
        spread = "" if figure.least is None else f"[{figure.least:.4g} to {figure.most:.4g}]"
        print(f"{figure.what:68} {figure.value:10.4g} {figure.unit:6} n={figure.n:<6} {spread:22} {figure.goal}")
    for note in result.notes:
        print(note)
    if "--record" in sys.argv:
        target = RESULTS / result.file_name
        target.write_text(json.dumps(asdict(result), indent=1, ensure_ascii=False) + "\n")
        print(f"recorded in {target.relative_to(_ROOT)}; python -m benchmarks.table writes the documents")


def read_results() -> list[Result]:
    """Return what was recorded, in the order of the files' names."""
    return [_read(path) for path in sorted(RESULTS.glob("*.json"))]


def machine_slug(machine: str) -> str:
    """Return the number and name of a machine's processors as part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", machine.partition(",")[0].lower()).strip("-")


def _read(path: Path) -> Result:
    content = json.loads(path.read_text())
    figures = tuple(Figure(**figure) for figure in content.pop("figures"))
    return Result(**content | {"figures": figures, "notes": tuple(content["notes"])})


def _run() -> tuple[str, str, str, str]:
    """Return the benchmark that runs, its command, the commit and the day."""
    spec = sys.modules["__main__"].__spec__
    name = spec.name if spec else "benchmarks.unknown"
    options = [Path(each).name if Path(each).is_absolute() else each for each in sys.argv[1:] if each != "--record"]
    command = " ".join(["python -m", name, *options])
    commit = _git("rev-parse", "--short", "HEAD") + (" with changes" if _git(*_CHANGES) else "")
    return name.rpartition(".")[2], command, commit, date.today().isoformat()


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=_ROOT, capture_output=True, text=True, timeout=_GIT_SECONDS, check=False)
    return done.stdout.strip()
