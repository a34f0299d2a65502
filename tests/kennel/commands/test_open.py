"""`kennel open`: a run's page; the console's where nothing runs (one is opened in `servers/test_localaws.py`)."""

import os
from pathlib import Path

import pytest

from tasks.run.errors import SettingsRefused
from tasks.run.ledger import Ledger
from tests.kennel.shell import Terminal


def test_without_the_embedded_aws_there_is_no_console(tmp_path: Path) -> None:
    ended = Terminal(tmp_path / "home", tmp_path / "runs").kennel("open", "--console")
    assert (ended.code, ended.out) == (2, "")
    assert "the embedded AWS of this home does not run" in ended.err and "next: kennel up" in ended.err


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path / "home", tmp_path / "a folder" / "runs")


def make_run(terminal: Terminal, name: str, age_seconds: float) -> Path:
    Ledger(terminal.runs / name, account_id="123456789012", endpoint="aws").record("role", "r", "created")
    made = terminal.runs / name / "ledger.jsonl"
    os.utime(made, (made.stat().st_mtime - age_seconds,) * 2)
    return terminal.runs / name / "report.html"


def test_the_page_of_the_latest_run_is_opened_unless_one_is_named(terminal: Terminal) -> None:
    pages = [make_run(terminal, "old", 60), make_run(terminal, "new", 0)]
    for page in pages:
        page.write_text("<!DOCTYPE html>")

    assert terminal.kennel("open").out == f"{pages[1].as_uri()}\n"
    assert terminal.kennel("open", "old", "--print").out == f"{pages[0].as_uri()}\n"


def test_a_run_without_a_page_and_no_run_at_all_are_refused(terminal: Terminal) -> None:
    nothing = terminal.kennel("open")
    assert (nothing.code, nothing.out) == (SettingsRefused.exit_code, ""), nothing.err
    make_run(terminal, "dogs", 0)
    early = terminal.kennel("open", "dogs")
    assert early.code == SettingsRefused.exit_code and "run dogs has no page" in early.err
    assert "next: kennel status dogs" in early.err
    assert terminal.kennel("open", "cats").code == SettingsRefused.exit_code
