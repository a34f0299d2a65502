"""What the process that works on a run does is kept in the run's folder, also when the process is killed."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tasks.run.progress import LOGGER, Stage, log_stage
from tasks.run.progress_file import NAME, Doing, find_progress, forget_progress, kept_progress
from tasks.run.waiting import say
from tests.conftest import ROOT

KILLED = """
import os, sys
from pathlib import Path
from tasks.run.progress import LOGGER, Stage, log_stage
from tasks.run.progress_file import kept_progress
LOGGER.setLevel("DEBUG")
with kept_progress(Path(sys.argv[1]), ("stage_data", "deploy")):
    log_stage(Stage("deploy", "begins"))
    os.kill(os.getpid(), 9)
"""


@pytest.fixture(autouse=True)
def every_record() -> object:
    """As a command sets the logger."""
    before = LOGGER.level
    LOGGER.setLevel("DEBUG")
    yield
    LOGGER.setLevel(before)


def found(folder: Path) -> Doing:
    doing = find_progress(folder)
    assert doing is not None
    return doing


def test_the_running_stage_and_those_that_are_done_are_kept_until_the_work_ends(tmp_path: Path) -> None:
    with kept_progress(tmp_path, ("stage_data", "deploy")):
        assert found(tmp_path).stage is None
        log_stage(Stage("stage_data", "begins"))
        log_stage(Stage("stage_data", "done", 2.5))
        log_stage(Stage("deploy", "begins"))
        doing = found(tmp_path)
        assert (doing.stage, doing.seconds, doing.planned) == ("deploy", {"stage_data": 2.5}, ("stage_data", "deploy"))
        assert (doing.pid, doing.goes_on) == (os.getpid(), True)
    assert find_progress(tmp_path) is None


def test_the_newest_line_is_kept_though_not_more_often_than_once_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with kept_progress(tmp_path, ("deploy",)):
        say("too soon")
        assert found(tmp_path).text == ""
        monkeypatch.setattr("tasks.run.progress_file.EVERY_SECONDS", 0.0)
        say("first\nand more")
        assert found(tmp_path).text == "first"
        say("algo-1 | [c10d] noise of torch")
        assert found(tmp_path).text == "first"
        say("algo-1 | rank=0 split=train embedded=264/1935 views, 52 a second")
        assert found(tmp_path).text == "algo-1 embeds the train images: 264 of 1,935 views, 52 a second"


def test_a_flow_within_another_keeps_the_outer_ones_progress(tmp_path: Path) -> None:
    with kept_progress(tmp_path, ("stage_data", "deploy")):
        with kept_progress(tmp_path, ("deploy",)):
            assert found(tmp_path).planned == ("stage_data", "deploy")
        assert find_progress(tmp_path) is not None


def test_of_a_killed_process_it_stays_known_how_far_it_had_come(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, check=False, timeout=60)
    doing = found(tmp_path)
    assert (doing.stage, doing.goes_on) == ("deploy", False)
    forget_progress(tmp_path)
    assert find_progress(tmp_path) is None
    forget_progress(tmp_path)


def test_another_process_with_the_same_id_is_not_taken_for_it() -> None:
    mine = Doing(os.getpid(), psutil.Process().create_time(), ())
    assert mine.goes_on
    assert not replace(mine, process_began=mine.process_began - 1).goes_on


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"pid": "x"}', b"[" * 100_000])
def test_a_file_that_cannot_be_read_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    assert find_progress(tmp_path) is None


def test_a_folder_that_cannot_be_written_stops_no_work(tmp_path: Path) -> None:
    with kept_progress(tmp_path / "missing", ("deploy",)):
        log_stage(Stage("deploy", "begins"))
    assert find_progress(tmp_path / "missing") is None
