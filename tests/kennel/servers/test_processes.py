"""Background processes: they are found by their records, and ended with everything that they started."""

import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from kennel.servers import processes
from tasks.run.process_mark import start_mark
from tasks.run.sealed import seal
from tests.bit_flips import FLIPS, flipped
from tests.polling import wait_until

CODE = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=%s)
time.sleep(60)
"""


def start(home: Path, *, detached_child: bool = False) -> processes.BackgroundProcess:
    command = [sys.executable, "-c", CODE % detached_child]
    started = processes.spawn(home, "one", command, environment=os.environ, url="http://127.0.0.1:1")
    wait_until(psutil.Process(started.pid).children, "the child", holds=lambda children: len(children) == 1)
    return started


def test_a_started_process_is_found_again_by_its_record(tmp_path: Path) -> None:
    started = start(tmp_path)
    assert processes.find(tmp_path, "one") == started
    assert processes.find(tmp_path, "another") is None
    assert processes.stop(tmp_path, "one")


def test_stopping_ends_the_children_too_and_forgets_the_record(tmp_path: Path) -> None:
    start(tmp_path)
    assert len(list(processes.owned(tmp_path))) == 2
    assert processes.stop(tmp_path, "one")
    assert list(processes.owned(tmp_path)) == []
    assert processes.find(tmp_path, "one") is None
    assert not processes.stop(tmp_path, "one")


def test_children_that_left_the_group_of_a_killed_leader_are_strays_and_are_ended(tmp_path: Path) -> None:
    started = start(tmp_path, detached_child=True)
    psutil.Process(started.pid).kill()
    psutil.Process(started.pid).wait(60)
    assert processes.find(tmp_path, "one") is None
    assert len(processes.stop_strays(tmp_path)) == 1
    assert list(processes.owned(tmp_path)) == []


def test_the_record_of_a_process_whose_pid_belongs_to_another_one_now_is_not_believed(tmp_path: Path) -> None:
    started = start(tmp_path)
    record = tmp_path / "processes" / "one.json"
    record.write_text(record.read_text().replace(str(started.pid), str(os.getpid())))
    assert processes.find(tmp_path, "one") is None
    assert len(processes.stop_strays(tmp_path)) == 2


def test_a_process_is_found_after_the_clock_was_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start(tmp_path)
    boot_time = psutil._pslinux.boot_time
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: boot_time() + 3600)  # what a step of the clock changes
    assert processes.find(tmp_path, "one") is not None
    assert processes.stop(tmp_path, "one")


def test_a_record_that_cannot_be_read_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "processes" / "one.json").mkdir(parents=True)  # refuses root too
    assert processes.last(tmp_path, "one") is None


def test_no_flip_of_a_bit_in_a_record_names_another_process(tmp_path: Path) -> None:
    started = start(tmp_path)
    record, damaged = tmp_path / "processes" / "one.json", 0
    for where in flipped(record):
        assert processes.find(tmp_path, "one") in {None, started}, where
        damaged += len(processes.damaged(tmp_path))
    assert damaged > 0.95 * FLIPS and processes.damaged(tmp_path) == []
    assert processes.stop(tmp_path, "one")


def test_a_record_of_a_process_of_someone_else_ends_nothing(tmp_path: Path) -> None:
    """The record is whole, and its pid and start are those of the other process."""
    started = start(tmp_path)
    other = subprocess.Popen(["/bin/sleep", "60"], env={}, start_new_session=True)
    try:
        named = replace(started, pid=other.pid, created=start_mark(other.pid))
        (tmp_path / "processes" / "one.json").write_bytes(seal(asdict(named)))
        assert named.is_alive and not processes.stop(tmp_path, "one")
        assert len(processes.stop_strays(tmp_path)) == 2 and other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("field", [{"pid": -5}, {"pid": 2**70}, {"pid": True}, {"pid": "7"}, {"created": []}])
def test_a_record_with_a_value_of_no_process_is_damaged(tmp_path: Path, field: dict[str, object]) -> None:
    started = start(tmp_path)
    path = tmp_path / "processes" / "one.json"
    path.write_bytes(seal({**asdict(started), **field}))
    assert processes.find(tmp_path, "one") is None
    assert field == {"pid": 2**70} or str(path) in processes.damaged(tmp_path)[0]
    assert len(processes.stop_strays(tmp_path)) == 2
