"""A real Chromium over its pipe: what it draws, and that it ends with its block whatever happens to it."""

import os
import signal
import subprocess
import sys
import time
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
    silent, begun = script(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 600"), time.monotonic()
    with pytest.raises(WaitTimedOut), running_chromium(silent, start_seconds=0.5):
        pass
    assert time.monotonic() - begun < 20
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


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
