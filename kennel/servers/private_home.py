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

    A folder that also holds what is not kennel's, such as `KENNEL_RUNS=.`, keeps its own mode, whatever that of its
    files is. `foreign_folders` names it.
    """
    return [
        each
        for folder, own in _own(home, runs).items()
        for each in tighten([*own, *([] if _has_others(folder, own) else [folder])])
    ]


def foreign_folders(home: Path, runs: Path) -> list[Path]:
    """Return which of both folders others can look into, and stay so, because they also hold what is not kennel's."""
    return [folder for folder, own in _own(home, runs).items() if is_open(folder) and _has_others(folder, own)]


def _own(home: Path, runs: Path) -> dict[Path, list[Path]]:
    """Return what kennel itself wrote into each folder."""
    return {
        home: [home / name for name in sorted(WRITTEN_BY_0_1_0)],
        runs: [lock.parent for lock in sorted(runs.glob("*/lock"))],
    }


def _has_others(folder: Path, own: list[Path]) -> bool:
    """Tell whether a folder holds what is not ours."""
    return folder.is_dir() and not {*folder.iterdir()} <= {*own}
