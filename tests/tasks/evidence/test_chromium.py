"""A real Chromium over its pipe: what it draws, and that it ends with its block whatever happens to it."""

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tasks.evidence.chromium import find_chromium, running_chromium
from tasks.run.errors import StageFailed, WaitTimedOut
from tests.browser import needs_browser
from tests.polling import wait_until

PAGE = "<!doctype html><style>body{{margin:0}} div{{height:{0}px;background:#f00}}</style><div></div>"
PROFILE = "kennel-chromium-"


def started(by: int | None = None) -> list[psutil.Process]:
    """Return the browser that a process (this one) has started, and what that started."""
    return [each for each in psutil.Process(by).children(recursive=True) if PROFILE in " ".join(told(each))]


def told(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):  # it has ended
        return list(process.cmdline())
    return []


def listening(process: psutil.Process) -> list[object]:
    with suppress(psutil.Error):
        return [each for each in process.net_connections() if each.status == "LISTEN"]
    return []


def are_gone(processes: list[psutil.Process]) -> bool:
    return not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes)


def page(folder: Path, height: int = 500) -> Path:
    file = folder / "page.html"
    file.write_text(PAGE.format(height))
    return file


@needs_browser
def test_a_picture_is_as_high_as_its_page_within_bounds(tmp_path: Path) -> None:
    program = find_chromium()
    assert program is not None
    with running_chromium(program) as browser:
        taken = [browser.picture(page(tmp_path, height)) for height in (500, 10, 9_000)]
    assert [(each.width_px, each.height_px, each.is_cut) for each in taken] == [
        (1_400, 700, False),
        (1_400, 336, False),
        (1_400, 4_200, True),
    ]
    assert all(each.png.startswith(b"\x89PNG") for each in taken)


@needs_browser
def test_no_process_of_a_browser_is_left_and_it_listens_on_no_port(tmp_path: Path) -> None:
    program = find_chromium()
    assert program is not None
    with running_chromium(program) as browser:
        browser.picture(page(tmp_path))
        running = started()
        assert running and [each for process in running for each in listening(process)] == []
    wait_until(lambda: are_gone(running), "the end of the browser")


@needs_browser
def test_a_browser_that_hangs_is_given_up_at_the_deadline_and_ended(tmp_path: Path) -> None:
    program = find_chromium()
    assert program is not None
    with pytest.raises(WaitTimedOut, match="it does not answer"), running_chromium(program) as browser:
        browser.picture(page(tmp_path))
        running = started()
        for process in running:
            process.send_signal(signal.SIGSTOP)
        browser.picture(page(tmp_path), seconds=0.5)
    wait_until(lambda: are_gone(running), "the end of the browser")


@needs_browser
def test_a_browser_ends_with_the_process_that_started_it_even_if_that_is_killed() -> None:
    code = (
        "import sys, time\nfrom tasks.evidence.chromium import find_chromium, running_chromium\n"
        "with running_chromium(find_chromium()):\n    print('runs', flush=True)\n    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-P", "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "runs\n"
        running = started(holder.pid)
        holder.send_signal(signal.SIGKILL)
    assert running
    wait_until(lambda: are_gone(running), "the end of the browser", 60)


def script(folder: Path, text: str) -> str:
    path = folder / "chromium"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


def test_a_program_that_says_nothing_is_given_up_and_ended(tmp_path: Path) -> None:
    silent, said = script(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 600"), tmp_path / "pid"
    with pytest.raises(WaitTimedOut), running_chromium(silent, clock=clock_that_waits_for(said)):
        pass
    with pytest.raises(ProcessLookupError):
        os.kill(int(said.read_text()), 0)


def clock_that_waits_for(file: Path) -> Callable[[], float]:
    """Return a clock that stands still until a program has written a file, and then shows a later day."""
    times = itertools.chain([0.0], itertools.repeat(86_400.0))

    def clock() -> float:
        wait_until(lambda: file.exists() and file.read_text().strip(), f"the program's {file.name}")
        return next(times)

    return clock


@pytest.mark.parametrize(
    "answer",
    [
        "junk",
        "[1]",
        '{"id": 1}',
        '{"id": 1, "result": 5}',
        '{"id": 1, "result": {}}',
        '{"id": 1, "error": "no"}',
        '{"id": 1, "result": {"targetId": 1}}\\000{"id": 2, "result": {"sessionId": []}}\\000{"id": 3, "result": "x"}',
    ],
)
def test_a_program_that_answers_junk_is_refused_and_ended(tmp_path: Path, answer: str) -> None:
    lying = script(tmp_path, f"echo $$ > {tmp_path}/pid; printf '{answer}\\000' >&4; exec sleep 600")
    with pytest.raises(StageFailed, match="its answer is not of its protocol"), running_chromium(lying):
        pass
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_program_that_writes_without_end_is_given_up_at_a_limit(tmp_path: Path) -> None:
    with (
        pytest.raises(StageFailed, match=r"its answer has more than 67,108,864 bytes"),
        running_chromium(script(tmp_path, "exec cat /dev/zero | tr '\\000' x >&4")),
    ):
        pass


def test_a_program_that_tells_events_without_end_is_given_up_at_the_deadline(tmp_path: Path) -> None:
    chatty = script(tmp_path, f"touch {tmp_path}/begun; while :; do printf '{{}}\\000'; done >&4")
    began = itertools.count()
    with pytest.raises(WaitTimedOut), running_chromium(chatty, start_seconds=50, clock=lambda: float(next(began))):
        pass


LIAR = """#!{python} -I
import json, os
answers = {{"Target.createTarget": {{"targetId": "t"}}, "Target.attachToTarget": {{"sessionId": "s"}},
    "Page.getLayoutMetrics": {{"cssContentSize": {{"height": {height}}}}},
    "Page.captureScreenshot": {{"data": "{data}"}}}}
received = b""
while part := os.read(3, 65536):
    *whole, received = (received + part).split(b"\\0")
    for asked in map(json.loads, whole):
        told = json.dumps({{"id": asked["id"], "result": answers.get(asked["method"], {{}})}}).encode() + b"\\0"
        os.write(4, told + b'{{"method": "Page.loadEventFired"}}\\0')
"""


@pytest.mark.parametrize(
    ("height", "data", "why"),
    [
        ("500", "R0lGODlh", "its picture is no PNG"),
        ("500", "a", "its answer is not of its protocol"),
        ("Infinity", "R0lGODlh", "its answer is not of its protocol"),
        ('"high"', "R0lGODlh", "its answer is not of its protocol"),
    ],
)
def test_a_program_that_lies_about_a_page_is_refused(tmp_path: Path, height: str, data: str, why: str) -> None:
    program = tmp_path / "chromium"
    text = LIAR.format(python=sys.executable, height=height if height != "Infinity" else "float('inf')", data=data)
    program.write_text(text)
    program.chmod(0o700)
    with running_chromium(str(program)) as browser, pytest.raises(StageFailed, match=why):
        browser.picture(page(tmp_path))


def test_a_temporary_folder_that_is_missing_is_told_as_the_reason(tmp_path: Path) -> None:
    code = (
        "import tempfile\nfrom tasks.evidence.chromium import running_chromium\n"
        "from tasks.run.errors import StageFailed\n"
        f"tempfile.tempdir = {str(tmp_path / 'gone')!r}\n"
        "try:\n    running_chromium('/bin/true').__enter__()\nexcept StageFailed as error:\n    print(error)\n"
    )
    told = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=90)
    assert "/bin/true cannot be started" in told.stdout and "No such file" in told.stdout


def test_a_program_that_ends_or_is_none_is_named_with_its_last_words(tmp_path: Path) -> None:
    with (
        pytest.raises(StageFailed, match="no usable sandbox"),
        running_chromium(script(tmp_path, "echo no usable sandbox")),
    ):
        pass
    with pytest.raises(StageFailed, match="cannot be started"), running_chromium(str(tmp_path / "nothing")):
        pass


def test_the_program_is_looked_for_by_its_usual_names(tmp_path: Path) -> None:
    assert find_chromium(str(tmp_path)) is None
    other = tmp_path / "google-chrome"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o700)
    assert find_chromium(str(tmp_path)) == str(other)
