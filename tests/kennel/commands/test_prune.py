"""`kennel runs --prune`: which folders go, which stay and why, and what is freed."""

import os
import time
from pathlib import Path

import pytest

from kennel.commands.prune import NOT_CONFIRMED, OldRun, removed
from tasks.run.errors import SettingsRefused
from tasks.run.ledger import Ledger
from tasks.run.run_lock import run_lock
from tests.kennel.shell import Terminal

PRUNE = ("runs", "--prune")


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """Runs a (oldest, ten days) to d (a day old); of c a role exists on a real account."""
    made = Terminal(tmp_path / "home", tmp_path / "runs")
    for days, name in ((10, "a"), (8, "b"), (5, "c"), (1, "d")):
        ledger = Ledger(made.runs / name, account_id="123456789012", endpoint="aws")
        ledger.record("role", "r", "created")
        if name != "c":
            ledger.record("role", "r", "removed")
        (made.runs / name / "model.tar.gz").write_bytes(bytes(1_000_000))
        for path in (made.runs / name).iterdir():
            os.utime(path, (time.time() - days * 86_400,) * 2)
    return made


def names(terminal: Terminal) -> list[str]:
    return sorted(path.name for path in terminal.runs.iterdir())


def test_without_a_yes_runs_are_only_shown(terminal: Terminal) -> None:
    shown = terminal.kennel(*PRUNE, "--older-than", "7d", "--json")

    assert shown.code == NOT_CONFIRMED and shown.answer["removed"] is False
    assert [(each["run_id"], each["stays"]) for each in shown.answer["runs"]] == [("b", ""), ("a", "")]
    assert 2_000_000 <= shown.answer["freed_bytes"] < 2_100_000
    assert names(terminal) == ["a", "b", "c", "d"]


def test_the_newest_stay_and_so_does_a_run_of_which_something_exists(terminal: Terminal) -> None:
    done = terminal.kennel(*PRUNE, "--keep", "1", "--yes")

    assert done.code == 0, done.err
    assert "1 resources exist: kennel down c --yes" in " ".join(done.out.split())
    assert "2 of 3 runs are removed: 2.0 MB" in " ".join(done.err.split())
    assert names(terminal) == ["c", "d"]


def test_both_bounds_hold_and_a_run_that_somebody_works_on_stays(terminal: Terminal) -> None:
    with run_lock(terminal.runs / "a"):
        done = terminal.kennel(*PRUNE, "--keep", "1", "--older-than", "7d", "--yes", "--json")

    assert done.code == 0 and names(terminal) == ["a", "c", "d"]
    assert {each["run_id"]: bool(each["stays"]) for each in done.answer["runs"]} == {"b": False, "a": True}


def test_a_run_of_which_something_was_made_since_it_was_listed_stays(terminal: Terminal) -> None:
    listed = OldRun("c", 5.0, 1_000_000, "")

    assert "1 resources exist" in removed(terminal.runs / "c", listed, None).stays
    assert removed(terminal.runs / "a", OldRun("a", 10.0, 1_000_000, ""), None).stays == ""
    assert names(terminal) == ["b", "c", "d"]


def test_a_link_to_a_folder_is_removed_and_the_folder_stays(terminal: Terminal, tmp_path: Path) -> None:
    (terminal.runs / "a").rename(tmp_path / "elsewhere")
    (terminal.runs / "a").symlink_to(tmp_path / "elsewhere")

    done = terminal.kennel(*PRUNE, "--keep", "3", "--yes", "--json")

    assert (done.code, done.answer["freed_bytes"]) == (0, 0), done.err
    assert names(terminal) == ["b", "c", "d"] and (tmp_path / "elsewhere" / "model.tar.gz").is_file()


def test_a_bound_without_prune_is_refused(terminal: Terminal) -> None:
    for bound in (("--keep", "1"), ("--older-than", "1d"), ("--yes",)):
        assert terminal.kennel("runs", *bound).code == SettingsRefused.exit_code
    assert names(terminal) == ["a", "b", "c", "d"]


def test_a_removal_that_was_cut_off_is_no_run_and_is_ended_by_the_next(terminal: Terminal) -> None:
    (terminal.runs / "a").rename(terminal.runs / ".removed-a")

    assert [run["run_id"] for run in terminal.kennel("status", "--json").answer["runs"]] == ["b", "c", "d"]
    terminal.kennel(*PRUNE, "--keep", "3", "--yes")
    assert names(terminal) == ["b", "c", "d"]


@pytest.mark.parametrize("bounds", [(), ("--older-than", "soon"), ("--keep", "-1")])
def test_no_bound_or_one_that_is_none_is_refused(terminal: Terminal, bounds: tuple[str, ...]) -> None:
    refused = terminal.kennel(*PRUNE, *bounds, "--yes")

    assert refused.code == SettingsRefused.exit_code and names(terminal) == ["a", "b", "c", "d"]
