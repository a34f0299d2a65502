"""What the process that works on a run does is kept in the run's folder, also when the process is killed."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.run.process_mark import start_mark
from tasks.run.progress import LOGGER, Stage, log_stage
from tasks.run.progress_file import NAME, RunProgress, find_progress, forget_progress, kept_progress
from tasks.run.waiting import say
from tests.conftest import ROOT
from tests.polling import wait_until

KILLED = """
import os, sys
from pathlib import Path
from tasks.run.progress import LOGGER, Stage, log_stage
from tasks.run.process_mark import start_mark
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


def found(folder: Path) -> RunProgress:
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


def test_the_newest_line_is_kept_though_not_more_often_than_once_a_second(tmp_path: Path) -> None:
    now = [1000.0]
    with kept_progress(tmp_path, ("deploy",), clock=lambda: now[0]):
        say("too soon")
        assert found(tmp_path).text == ""
        for line, text in (
            ("first\nand more", "first"),
            ("algo-1 | [c10d] noise of torch", "first"),
            ("x" * 5000, "x" * 300),
            (
                "algo-1 | rank=0 split=train embedded=264/1935 views, 52 a second",
                "algo-1 embeds the train images: 264 of 1,935 views, 52 a second",
            ),
        ):
            now[0] += 1.5
            say(line)
            assert found(tmp_path).text == text
        assert found(tmp_path).stage_seconds(lambda: now[0]) == 6.0
        assert found(tmp_path).stage_seconds(lambda: 0.0) == 0.0


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
    mine = RunProgress("", os.getpid(), start_mark(os.getpid()), ())
    assert mine.goes_on
    assert not replace(mine, started=f"{mine.started}0").goes_on


def test_a_process_that_was_killed_and_not_waited_for_does_not_go_on(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT)
    try:
        wait_until(lambda: (progress := find_progress(tmp_path)) and not progress.goes_on, "the zombie")
    finally:
        process.wait(60)


def test_a_copy_of_the_folder_is_not_worked_on(tmp_path: Path) -> None:
    with kept_progress(tmp_path, ("deploy",)):
        (tmp_path / "copy").mkdir()
        (tmp_path / "copy" / NAME).write_bytes((tmp_path / NAME).read_bytes())
        assert find_progress(tmp_path / "copy") is None


@pytest.mark.parametrize(
    "change",
    [
        {"pid": -1},
        {"pid": 10**400},
        {"stage_began": float("inf")},
        {"stage_began": -1.0},
        {"seconds": {"deploy": float("nan")}},
        {"text": "x" * 5000},
        {"planned": "deploy"},
    ],
)
def test_progress_that_kennel_cannot_have_written_counts_as_none(tmp_path: Path, change: dict[str, object]) -> None:
    with kept_progress(tmp_path, ("deploy",)):
        content = json.loads((tmp_path / NAME).read_text())
        (tmp_path / NAME).write_text(json.dumps({**content, **change}))
        assert find_progress(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b'{"pid": "x"}', b"[" * 100_000])
def test_a_file_that_cannot_be_read_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    assert find_progress(tmp_path) is None


def test_a_folder_that_cannot_be_written_stops_no_work(tmp_path: Path) -> None:
    with kept_progress(tmp_path / "missing", ("deploy",)):
        log_stage(Stage("deploy", "begins"))
    assert find_progress(tmp_path / "missing") is None
