"""Whole commands on a machine that refuses: limits of the shell, a home or runs of another user or read-only.

Each ends with one message, its code and no traceback. The commands of a test run one after the other in one process.
"""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kennel.commands.unexpected import as_kennel_error
from tasks.run.disk import disk_boundary
from tasks.run.errors import DiskFailed
from tests.kennel.shell import ROOT, Terminal

COMMANDS = """
import sys
from kennel.cli import call
for line in sys.argv[1].split(";"):
    print("BEGINS", line, file=sys.stderr, flush=True)
    print("ENDED", call(line.split()), file=sys.stderr, flush=True)
"""
NEED_SERVERS = ("up", "run --data sample", "train-ec2 --data sample")
LOOK = ("status", "down --yes")


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path / "home", tmp_path / "runs")


def ends(terminal: Terminal, commands: tuple[str, ...], *before: str) -> dict[str, tuple[int, str]]:
    """Run commands behind a line of bash in one process; return the code and the words of each."""
    program = [sys.executable, "-c", COMMANDS, ";".join(commands)]
    command = ["bash", "-c", f'{"; ".join(before)}; exec "$@"', "bash", *program]
    done = subprocess.run(
        command, cwd=ROOT, env=terminal.environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert "Traceback" not in done.stderr and "Unexpected" not in done.stderr, done.stderr
    parts = [each.partition("\n") for each in done.stderr.split("BEGINS ")[1:]]
    found = {name: (int(said.rpartition("ENDED ")[2]), said) for name, _, said in parts}
    assert tuple(found) == commands, done.stderr
    return found


@pytest.mark.parametrize(
    ("limit", "what"),
    [
        ("-n 40", "this shell allows 40 open files"),
        ("-v 700000", "this shell allows 700000 KiB of address space"),
        ("-d 700000", "this shell allows 700000 KiB of data"),
        ("-f 100000", "this shell allows 100000 KiB in a file"),
        ("-t 600", "this shell allows 600 seconds of processor time"),
    ],
)
def test_a_limit_that_is_too_low_is_told_before_a_server_is_started(terminal: Terminal, limit: str, what: str) -> None:
    for name, (code, said) in ends(terminal, (*NEED_SERVERS, *LOOK), f"ulimit {limit}").items():
        needs = name in NEED_SERVERS
        assert (code, what in said, f"next: ulimit {limit[:2]} " in said) == (14 if needs else 0, needs, needs), said
    assert terminal.processes() == []


RAISED = """
import os, resource, sys
from kennel.servers.limits import PROCESSES, require_limits
from tasks.run.errors import DiskFailed
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (40, most))
largest = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, largest))
require_limits()
print(resource.getrlimit(resource.RLIMIT_NOFILE) == (512, most))
print(resource.getrlimit(resource.RLIMIT_FSIZE) == (largest, largest))
os.geteuid() or os.setuid(65534)
resource.setrlimit(PROCESSES.number, (20, 20))
try:
    require_limits()
except DiskFailed as error:
    print(error)
"""


def test_a_limit_is_raised_where_that_is_allowed_and_that_of_processes_is_told(terminal: Terminal) -> None:
    files, size, *said = terminal.program("-c", RAISED).out.splitlines()
    assert (files, size) == ("True", "True")
    assert said[0] == "limits: this shell allows 20 processes and threads" and "ulimit -u 512" in said[2]


def test_a_machine_without_memory_or_threads_is_told() -> None:
    for error, what in (
        (MemoryError(), "there is no more memory"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "there is no more memory"),
        (OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)), "no process or thread can be started"),
        (RuntimeError("can't start new thread"), "no process or thread can be started"),
    ):
        found = as_kennel_error(error)
        assert isinstance(found, DiskFailed) and found.what == what and found.exit_code == 14
    with pytest.raises(DiskFailed, match="no more memory"), disk_boundary("step"):
        raise MemoryError


def closed(folder: Path) -> str:
    """Make a folder another user's, and return what has to come before a command so that it may not be read.

    In a user namespace, root has no power over the files of a user who is not in it.
    """
    folder.mkdir()
    folder.chmod(0o000 if os.geteuid() else 0o700)
    if os.geteuid() == 0:
        os.chown(folder, 1000, 1000)
    return "true" if os.geteuid() else 'set -- unshare -r "$@"'


def test_a_home_of_another_user_is_told_by_every_command(terminal: Terminal) -> None:
    commands = (*NEED_SERVERS, *LOOK, "audit", "notebook list", "notebook create r", "iam used r", "logs")
    terminal.runs.mkdir()
    for name in ("ledger.jsonl", "ec2"):
        (terminal.runs / "r" / name).mkdir(parents=True)
    for name, (code, said) in ends(terminal, commands, closed(terminal.home)).items():
        assert code == 14 and "Permission denied, for the user with the id" in said, (name, said)
        assert f"{terminal.home}" in said and "give this user the right" in said, said


def test_runs_of_another_user_are_told_by_every_command_that_needs_them(terminal: Terminal) -> None:
    for name, (code, said) in ends(terminal, (*LOOK, "logs", "loadtest r"), closed(terminal.runs)).items():
        assert code == 14 and f"{terminal.runs} cannot be read or written" in said, (name, said)


def read_only(folder: Path) -> str:
    """Return what has to come before a command so that it sees a folder on a read-only disk."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False, timeout=20).returncode:
        pytest.skip("this kernel gives no mount namespace to this user")
    mount = f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}"
    return f"""set -- unshare -rm sh -c '{mount} && exec "$@"' sh "$@\""""


def test_a_read_only_home_is_told_by_what_has_to_write_there_and_the_others_work(terminal: Terminal) -> None:
    terminal.home.mkdir()
    for name, (code, said) in ends(terminal, (*NEED_SERVERS, *LOOK), read_only(terminal.home)).items():
        needs = name in NEED_SERVERS
        assert (code, "Read-only file system" in said) == (14 if needs else 0, needs), said


def test_a_ledger_that_may_not_be_read_is_told_and_hides_no_other_run(terminal: Terminal) -> None:
    for run in ("open", "shut"):
        (terminal.runs / run).mkdir(parents=True)
    (terminal.runs / "open" / "ledger.jsonl").touch()
    before = closed(terminal.runs / "shut" / "ledger.jsonl")
    found = ends(terminal, ("status --json", "status shut", "down --yes"), before)
    assert [code for code, _ in found.values()] == [0, 6, 10]
    assert "shut/ledger.jsonl" in found["down --yes"][1]
