"""Streams of a command that are closed, or lead to a full disk."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.run.errors import DiskFailed
from tests.kennel.shell import ROOT, Terminal

FULL = "standard output cannot be written"


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path / "home", tmp_path / "runs")


def ended(terminal: Terminal, arguments: str, redirections: str) -> tuple[int, str]:
    """Run a command in a shell with redirections; return its exit code and what is in stderr, without its times."""
    done = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m kennel {arguments} {redirections}"],
        cwd=ROOT,
        env=terminal.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=100,
    )
    return done.returncode, re.sub(r"(?m)^ +[0-9]+\.[0-9] s ", "", done.stderr)


@pytest.mark.parametrize("arguments", ["status", "status --json", "--help", "--version", "status --help"])
def test_a_full_disk_behind_stdout_is_one_message(terminal: Terminal, arguments: str) -> None:
    code, said = ended(terminal, arguments, "> /dev/full")
    assert code == DiskFailed.exit_code, said
    assert FULL in said and "Traceback" not in said


@pytest.mark.parametrize("redirections", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("arguments", ["status", "status --json", "--version"])
def test_a_closed_stream_leads_nowhere(terminal: Terminal, arguments: str, redirections: str) -> None:
    assert ended(terminal, arguments, redirections) in [(0, ""), (0, ended(terminal, arguments, "")[1])]


def test_wrong_usage_ends_with_2_where_stderr_is_full(terminal: Terminal) -> None:
    assert ended(terminal, "status --nosuch", "2> /dev/full")[0] == 2
