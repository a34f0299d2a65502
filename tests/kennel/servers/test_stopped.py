"""Servers that a signal stopped, that hang, or whose home was moved: the same commands go on, and `down` ends them."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from kennel.servers import localaws, localaws_record, prefect, processes
from tests.kennel.shell import Terminal, terminal_with_servers
from tests.polling import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with terminal_with_servers(tmp_path) as terminal:
        yield terminal


def pids(home: Path) -> list[int]:
    found = [processes.find(home, name) for name in (localaws_record.NAME, prefect.NAME)]
    return [each.pid for each in found if each is not None]


def test_servers_that_a_signal_stopped_go_on(terminal: Terminal) -> None:
    before = pids(terminal.home)
    for command in (("plan", "--data", "sample"), ("up",)):
        for pid in before:
            os.kill(pid, signal.SIGSTOP)
        begun = time.monotonic()
        done = terminal.kennel(*command)
        assert done.code == 0 and "was stopped by a signal" in done.err, done.err
        assert pids(terminal.home) == before and time.monotonic() - begun < 120
    for pid in before:
        os.kill(pid, signal.SIGSTOP)
    assert terminal.kennel("down", "--yes").code == 0


HOLD = "import ctypes, sys, time\nassert ctypes.CDLL(None).ptrace(16, int(sys.argv[1]), 0, 0) == 0\ntime.sleep(600)"
"""Attaching as a debugger does stops a process, and SIGCONT does not let it go on: it hangs, as with a deadlock."""


def test_an_embedded_aws_that_hangs_is_told_and_ended_by_down(terminal: Terminal) -> None:
    server = localaws.find(terminal.home)
    assert server is not None
    if ctypes.CDLL(None).prctl(1, 0) != 0 or os.geteuid() != 0:
        pytest.skip("only root may stop a process that is not its child as a debugger does")
    debugger = subprocess.Popen([sys.executable, "-c", HOLD, str(server.pid)])
    try:
        wait_until(lambda: psutil.Process(server.pid).status() == psutil.STATUS_TRACING_STOP, "the debugger")
        told = terminal.kennel("plan", "--data", "sample")
        assert told.code == 8 and f"it hangs (process {server.pid})" in told.err, told.err
        assert "next: kennel down --yes" in told.err and "does not answer" in told.err
        ended = terminal.kennel("down", "--yes")
        assert ended.code == 0 and "ended: localaws" in ended.err, ended.err
        assert not localaws_record.record_path(terminal.home).exists(), "the next server would take its options"
    finally:
        debugger.kill()
        debugger.wait()


def test_a_home_that_was_moved_while_its_servers_ran_leaves_none_of_them(tmp_path: Path) -> None:
    first, second, third = (Terminal(tmp_path / name, tmp_path / "runs") for name in ("first", "second", "third"))
    assert first.kennel("up").code == 0
    for old, new, command in ((first, second, ("up",)), (second, third, ("down", "--yes"))):
        old.home.rename(new.home)
        done = new.kennel(*command)
        assert done.code == 0 and "was moved here while its servers ran" in done.err, done.err
        assert old.processes() == []
    assert third.processes() == []
    third.take_down()
