"""Makes a home and a folder of runs of release 0.1.0 private, whose files and folders other users could read."""

from __future__ import annotations

from pathlib import Path

from tasks.run.private_files import is_open, tighten

WRITTEN_BY_0_1_0 = {
    *("demo.json", "downloads", "judged", "localaws", "logs", "prefect", "processes", "sample", "staging", "weights"),
}
"""What that release wrote into a home. What later ones write is private from the start."""


def make_private(home: Path, runs: Path) -> list[Path]:
    """Take other users' rights from what kennel wrote and from both folders; return what was open.

    A folder that also holds what is not kennel's, such as `KENNEL_RUNS=.`, keeps its own mode.
    """
    return [
        *_make_private(home, [home / name for name in sorted(WRITTEN_BY_0_1_0)]),
        *_make_private(runs, [lock.parent for lock in sorted(runs.glob("*/lock"))]),
    ]


def _make_private(folder: Path, own: list[Path]) -> list[Path]:
    found = tighten(own)
    if folder.is_dir() and not any(is_open(entry) for entry in folder.iterdir()):
        found += tighten([folder])
    return found
