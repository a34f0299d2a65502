"""Tests that the machine watch measures real events: busy programs, a stopped process, a slow disk."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.load.disturbance import Bounds, MachineSample, worst_values
from tasks.load.machine_watch import (
    PERIOD_SECONDS,
    KernelFigures,
    MachineWatch,
    OwnProcesses,
    embedded_aws_home,
    own_process_marks,
    read_pulse,
    samples_at_rest,
)
from tasks.run.machine import usable_processors
from tasks.run.settings import Settings
from tests.conftest import RunningLocalAws
from tests.polling import wait_until

SETTINGS = Settings(endpoint_url=None)
OURS = (b"\0KENNEL_OWNER=us\0",)
SPIN = "while True: pass"
HAS_PRESSURE = Path("/proc/pressure/cpu").exists()


@contextmanager
def busy(count: int, **environment: str) -> Iterator[None]:
    """Run so many programs that only compute, with `environment` as their whole environment."""
    programs = [subprocess.Popen([sys.executable, "-c", SPIN], env=environment) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def watched(seconds: float) -> list[MachineSample]:
    with MachineWatch(SETTINGS) as watch:
        time.sleep(seconds)
    return watch.samples


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_busy_programs_of_others_are_seen() -> None:
    with busy(2 * usable_processors()):
        seen = worst_values(watched(2.5))
    assert seen["other_cpu"] > 0.4
    if HAS_PRESSURE:
        assert seen["cpu_pressure"] > 0.6, "somebody waited most of the time"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_what_we_have_started_ourselves_is_not_of_others() -> None:
    family = OwnProcesses(OURS)
    family.cpu_seconds()
    with busy(1), busy(1, KENNEL_OWNER="us"), busy(1, KENNEL_OWNER="us-not"):
        before, begun = family.cpu_seconds(), time.perf_counter()
        time.sleep(1.0)
        used = wait_until(lambda: family.cpu_seconds() - before, "its processor time", holds=lambda used: used > 0.1)
        seconds = time.perf_counter() - begun
    assert used < 1.1 * seconds, "one of the three, and this process, which sleeps"


def test_the_marks_are_those_of_this_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KENNEL_OWNER", raising=False)
    settings = Settings(home=tmp_path / "home", runs=tmp_path / "runs")
    marks = own_process_marks(settings)
    assert f"\0KENNEL_OWNER={tmp_path}/home\0".encode() in marks
    assert f"\0LOCALAWS_OWNER={tmp_path}/home/localaws\0".encode() in marks


def test_the_embedded_aws_that_answers_names_its_home(localaws: RunningLocalAws) -> None:
    assert embedded_aws_home(Settings(endpoint_url=localaws.url)) == str(localaws.home.resolve())


def own_samples(watch: MachineWatch) -> list[MachineSample]:
    """Return what the watch itself saw, without the embedded AWS's pulse."""
    return [look for look in watch.samples if "watch_late_ms" in look.values]


def test_samples_follow_each_other_without_a_gap() -> None:
    with MachineWatch(SETTINGS) as watch:
        wait_until(lambda: own_samples(watch), "three looks", holds=lambda looks: len(looks) >= 3)
    looks = own_samples(watch)
    assert all(look.seconds >= PERIOD_SECONDS for look in looks[:-1])
    for before, after in itertools.pairwise(looks):
        assert after.at - after.seconds == pytest.approx(before.at, abs=PERIOD_SECONDS / 2)


def test_a_watch_that_is_kept_from_running_is_late() -> None:
    script = (
        "import sys, time\n"
        "from tasks.load.machine_watch import *\n"
        "from tasks.run.settings import Settings\n"
        "with MachineWatch(Settings(endpoint_url=None)) as watch:\n"
        "    while not watch.samples: time.sleep(0.01)\n"
        "    print('watching', flush=True)\n"
        "    sys.stdin.readline()\n"
        "print(max(sample.values['watch_late_ms'] for sample in watch.samples))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    ) as program:
        assert program.stdout is not None and program.stdin is not None
        assert program.stdout.readline() == "watching\n"
        program.send_signal(19)  # SIGSTOP
        threading.Event().wait(0.4)
        program.send_signal(18)  # SIGCONT
        program.stdin.write("\n")
        program.stdin.flush()
        assert float(program.stdout.readline()) >= 300


def test_the_pulse_of_the_embedded_aws_is_among_the_samples(localaws: RunningLocalAws) -> None:
    settings = Settings(endpoint_url=localaws.url)
    since = time.time()
    samples = samples_at_rest(settings, 1.2)
    assert any("loop_late_ms" in sample.values for sample in samples)
    os.kill(localaws.pid, 19)
    threading.Event().wait(0.4)
    os.kill(localaws.pid, 18)
    wait_until(
        lambda: worst_values(read_pulse(settings, since)).get("loop_late_ms", 0.0),
        "the stopped server to show in its pulse",
        holds=lambda late_ms: late_ms >= 300,
    )


def test_an_aws_without_a_pulse_is_simply_not_asked_for_it(tmp_path: Path) -> None:
    assert read_pulse(Settings(endpoint_url=None), 0.0) == []
    assert read_pulse(Settings(endpoint_url="http://127.0.0.1:9"), 0.0) == []


BLKIO = Path("/sys/fs/cgroup/blkio")


@contextmanager
def slowed_disk(folder: Path, bytes_per_second: int) -> Iterator[Path]:
    """Yield a control group in which writing under `folder` is slow; programs join it through its file `tasks`."""
    device = folder.stat().st_dev
    group = BLKIO / f"kennel-test-{os.getpid()}"
    group.mkdir()
    try:
        limit = f"{os.major(device)}:{os.minor(device)} {bytes_per_second}"
        (group / "blkio.throttle.write_bps_device").write_text(limit)
        yield group
    finally:
        group.rmdir()


@pytest.mark.skipif(not HAS_PRESSURE, reason="this kernel has no pressure stall information")
@pytest.mark.skipif(not os.access(BLKIO, os.W_OK), reason="a disk is slowed by a control group, as root")
def test_a_slowed_disk_shows(tmp_path: Path) -> None:
    script = (
        "import mmap, os, sys\n"
        "open(sys.argv[2], 'w').write(str(os.getpid()))\n"
        "file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_DIRECT)\n"
        "page = mmap.mmap(-1, 65536)\n"
        "while True: os.pwrite(file, page, 0)\n"
    )
    with slowed_disk(tmp_path, 131_072) as group:
        command = [sys.executable, "-c", script, str(tmp_path / "written"), str(group / "tasks")]
        with subprocess.Popen(command) as program:
            try:
                seen = worst_values(watched(3.0))
            finally:
                program.kill()
                program.wait()
    assert seen["io_pressure"] > 0.4, seen


def test_processor_time_of_a_process_that_ended_is_not_taken_back() -> None:
    family = OwnProcesses(OURS)
    before = family.cpu_seconds()
    with busy(1, KENNEL_OWNER="us"):
        during = wait_until(family.cpu_seconds, "its processor time", holds=lambda used: used - before >= 0.2)
    assert family.cpu_seconds() >= during - 0.05 > before


def test_shares_are_shares() -> None:
    kernel = KernelFigures(SETTINGS)
    time.sleep(0.1)
    for name, share in kernel.read().items():
        assert 0.0 <= share <= 1.0, name


def test_bounds_are_of_what_was_watched() -> None:
    bounds = Bounds.from_rest(samples_at_rest(SETTINGS, 1.0))
    assert "watch_late_ms" in bounds.floor and "loop_late_ms" not in bounds.floor
