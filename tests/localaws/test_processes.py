"""Children end, with all that they started, whatever they do about it."""

import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localaws.errors import StopFailed
from localaws.processes import Process, ProcessTable
from tests.conftest import ROOT
from tests.localaws.sleepers import names, sleepers
from tests.polling import wait_until

PLAIN = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def table(tmp_path: Path) -> Iterator[ProcessTable]:
    table = ProcessTable(tmp_path / "processes", str(tmp_path))
    yield table
    table.stop_all(grace_seconds=0)


def test_lines_arrive_in_order_and_all_of_them_before_wait_returns(table: ProcessTable, tmp_path: Path) -> None:
    lines: list[str] = []
    script = "for i in $(seq 500); do echo out $i; echo err $i >&2; done; printf last"
    child = table.spawn(
        ["bash", "-c", script], name="talker", env=PLAIN, cwd=tmp_path, on_line=lines.append, log_path=tmp_path / "log"
    )
    assert child.wait(20) == 0
    assert lines == [f"{stream} {i}" for i in range(1, 501) for stream in ("out", "err")] + ["last"]
    assert (tmp_path / "log").read_text() == "\n".join(lines)


def test_a_line_receiver_that_fails_does_not_stop_the_child(table: ProcessTable, tmp_path: Path) -> None:
    def fail(line: str) -> None:
        raise ValueError(line)

    child = table.spawn(["bash", "-c", "seq 100000"], name="talker", env=PLAIN, cwd=tmp_path, on_line=fail)
    assert child.wait(20) == 0


def test_stop_ends_grandchildren_that_left_the_session_or_cleared_their_environment(
    table: ProcessTable, tmp_path: Path
) -> None:
    numbers = names(4)
    script = "setsid sleep {} & env -i setsid sleep {} & (setsid setsid sleep {} &) ; sleep {}".format(*numbers)
    child = table.spawn(["bash", "-c", script], name="family", env=PLAIN, cwd=tmp_path)
    wait_until(lambda: len(sleepers(*numbers)) == 4, "the sleepers")
    assert child.stop(grace_seconds=60) == -signal.SIGTERM
    assert not sleepers(*numbers)


def test_what_a_child_leaves_behind_ends_with_it_and_does_not_delay_it(table: ProcessTable, tmp_path: Path) -> None:
    (number,) = names(1)
    child = table.spawn(["bash", "-c", f"setsid sleep {number} & exit 3"], name="leaver", env=PLAIN, cwd=tmp_path)
    assert child.wait(20) == 3
    assert not sleepers(number)


def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(table: ProcessTable, tmp_path: Path) -> None:
    child = spawn_until_ready(table, "trap '' TERM; echo ready; while :; do sleep 0.1; done", tmp_path)
    before = time.monotonic()
    assert child.stop(grace_seconds=0.3) == -signal.SIGKILL
    assert time.monotonic() - before >= 0.3


def test_a_child_may_save_its_work_in_its_grace(table: ProcessTable, tmp_path: Path) -> None:
    script = "trap 'echo saved > result; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    child = spawn_until_ready(table, script, tmp_path)
    assert child.stop(grace_seconds=60) == 0
    assert (tmp_path / "result").read_text() == "saved\n"


def test_a_closed_table_starts_nothing(tmp_path: Path) -> None:
    table = ProcessTable(tmp_path / "processes", str(tmp_path))
    table.stop_all()
    with pytest.raises(StopFailed, match="shutting down: late was not started"):
        table.spawn(["sleep", "1000"], name="late", env=PLAIN, cwd=tmp_path)


def test_a_program_that_does_not_exist_is_an_error_and_leaves_no_record(table: ProcessTable, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        table.spawn(["no-such-program"], name="nothing", env=PLAIN, cwd=tmp_path)
    assert not list((tmp_path / "processes").iterdir())


def test_orphans_of_a_killed_owner_are_ended_and_strangers_are_not(tmp_path: Path) -> None:
    numbers = names(2)
    script = "setsid sleep {} & sleep {}".format(*numbers)
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path), script], cwd=ROOT)
    stranger = subprocess.Popen(["sleep", "1000"])
    try:
        wait_until(lambda: len(sleepers(*numbers)) == 2, "the sleepers")
        owner.kill()
        owner.wait()
        assert len(sleepers(*numbers)) == 2, "they outlive their owner, as after kill -9 of the server"
        reaped = ProcessTable(tmp_path / "processes", str(tmp_path)).reap_orphans()
        assert len(reaped) >= 2
        assert not sleepers(*numbers)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_the_records_of_a_copied_home_end_nothing(table: ProcessTable, tmp_path: Path) -> None:
    sleeper = table.spawn(["sleep", "1000"], name="sleeper", env=PLAIN, cwd=tmp_path)
    copy = tmp_path / "copy" / "processes"
    shutil.copytree(tmp_path / "processes", copy)
    assert ProcessTable(copy, str(tmp_path / "copy")).reap_orphans() == []
    assert sleeper.poll() is None and not list(copy.iterdir())


OWNER = """
import sys, time
from pathlib import Path
from localaws.processes import ProcessTable
home = Path(sys.argv[1])
table = ProcessTable(home / "processes", str(home))
table.spawn(["bash", "-c", sys.argv[2]], name="x", env={"PATH": "/usr/bin:/bin"}, cwd=home)
time.sleep(1000)
"""


def spawn_until_ready(table: ProcessTable, script: str, folder: Path) -> Process:
    """Start a script and return its child once it has printed a line."""
    ready = threading.Event()
    command = ["bash", "-c", script]
    child = table.spawn(command, name="child", env=PLAIN, cwd=folder, on_line=lambda _: ready.set())
    assert ready.wait(60)
    return child
