"""Finds the folders of runs, by id or by age."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tasks.run.errors import SettingsRefused
from tasks.run.ledger_contents import run_folders


def all_runs(runs: Path) -> list[Path]:
    """Return the directories of runs, oldest first."""
    return sorted(run_folders(runs), key=_age)


def _age(run_dir: Path) -> float:
    """Return the time of the last change of a run's ledger, or of its folder if that was lost."""
    for path in (run_dir / "ledger.jsonl", run_dir):
        with suppress(OSError):
            return path.lstat().st_mtime
    return 0.0


def run_dir_of(runs: Path, run_id: str) -> Path:
    """Return the directory of a run.

    Raises:
        SettingsRefused: there is no such run; the error lists the known ones.
    """
    run_dir = runs / run_id
    if run_dir not in run_folders(runs):
        known = ", ".join(path.name for path in all_runs(runs)) or "none"
        raise SettingsRefused(
            "runs", f"run {run_id}", f"there is no such run under {runs}; known: {known}", "kennel status"
        )
    return run_dir


def latest_run(runs: Path) -> Path:
    found = all_runs(runs)
    if not found:
        raise SettingsRefused("runs", str(runs), "there is no run yet", "kennel run")
    return found[-1]
