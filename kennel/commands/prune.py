"""`kennel runs --prune`: removes the folders of old runs from this machine, and says what that frees."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from kennel.commands.known_runs import all_runs
from kennel.commands.plan import hours_of
from kennel.commands.status import describe_run, size_of
from kennel.servers import environment
from kennel.terminal.console import print_columns, print_json, say
from tasks.run.disk import disk_boundary
from tasks.run.errors import RunBusy, SettingsRefused
from tasks.run.logical_aws import LogicalAws
from tasks.run.own_files import remove_tree
from tasks.run.run_lock import run_lock

HEAD = ("run", "days old", "MB", "why it stays")
NOT_CONFIRMED = 13
_REMOVED = ".removed-"
"""Begins the name of a folder whose removal has begun; whoever prunes next ends it."""


@dataclass(frozen=True)
class OldRun:
    """A run that is old enough; `stays` is why it is not removed all the same, "" if it is."""

    run_id: str
    days: float
    size_bytes: int
    stays: str

    @property
    def cells(self) -> tuple[str, ...]:
        """The row below `HEAD`."""
        return (self.run_id, f"{self.days:.1f}", f"{self.size_bytes / 1e6:.1f}", self.stays)


def prune(keep: int | None, older_than: str | None, *, is_confirmed: bool, as_json: bool) -> int:
    """Remove the runs that are not among the newest `keep` and are older; without `--yes` only show them.

    A run of which something exists in AWS, whose ledger is damaged, or on which a process works, stays.

    Raises:
        SettingsRefused: neither bound was given, or one is none.
        DiskFailed: a folder cannot be removed.
    """
    if keep is None and older_than is None:
        why = "without a bound every run would go"
        raise SettingsRefused("runs", "--prune", why, "add --keep N or --older-than 30d, or both")
    home, runs = environment.home_and_runs()
    environment.say_home(home)
    hours = hours_of(older_than, "--older-than", "runs") or 0.0
    folders = [path for path in all_runs(runs)[::-1][keep or 0 :] if _days(path) * 24 >= hours]
    aws = environment.present_aws(home)
    found = [OldRun(path.name, _days(path), size_of(path), _stays(describe_run(path, aws))) for path in folders]
    if is_confirmed:
        _end_removals(runs)
        found = [removed(runs / each.run_id, each, aws) for each in found]
    freed = sum(each.size_bytes for each in found if not each.stays)
    if as_json:
        print_json({"runs": [asdict(each) for each in found], "freed_bytes": freed, "removed": is_confirmed})
    elif found:
        print_columns(HEAD, [each.cells for each in found])
    going = sum(not each.stays for each in found)
    say(f"{going} of {len(found)} runs {'are removed' if is_confirmed else 'would be removed'}: {freed / 1e6:.1f} MB")
    if going and not is_confirmed:
        say("nothing was removed; run the same command with --yes")
        return NOT_CONFIRMED
    return 0


def _days(run_dir: Path) -> float:
    """Return how long ago a record of the run changed last."""
    times = [path.lstat().st_mtime for path in (*run_dir.glob("*.json"), run_dir / "ledger.jsonl") if path.exists()]
    return max(0.0, time.time() - max(times, default=run_dir.lstat().st_mtime)) / 86_400


def _stays(run: dict[str, object]) -> str:
    live = run["live"]
    if run["fault"]:
        return "its ledger is damaged"
    if isinstance(live, list) and live:
        return f"{len(live)} resources exist: kennel down {run['run_id']} --yes"
    return ""


def removed(run_dir: Path, run: OldRun, aws: LogicalAws | None) -> OldRun:
    """Remove a run's folder, and return the run; it stays if something of it exists or somebody works on it."""
    if run.stays:
        return run
    going = run_dir.with_name(f"{_REMOVED}{run_dir.name}")
    try:
        with run_lock(run_dir), disk_boundary("runs", run_dir):
            stays = _stays(describe_run(run_dir, aws))  # something may have been made since it was listed
            if stays:
                return replace(run, stays=stays)
            run_dir.rename(going)
    except RunBusy as error:
        return replace(run, stays=error.what)
    with disk_boundary("runs", going):
        remove_tree(going)
    return run


def _end_removals(runs: Path) -> None:
    for left in runs.glob(f"{_REMOVED}*"):
        with disk_boundary("runs", left):
            remove_tree(left)
