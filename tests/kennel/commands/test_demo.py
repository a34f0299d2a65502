"""`kennel demo`: the measured pace is that of the server, is used by repetitions, and is refused on real AWS."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kennel.commands import demo
from localaws.capacity import parse_rule
from tasks.load.pace import STEPS
from tasks.run.sealed import unseal


def run_demo(home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "KENNEL_", "PREFECT_"))}
    command = [sys.executable, "-m", "kennel", "demo"]
    return subprocess.run(
        command, env={**kept, **environment}, cwd=home, capture_output=True, text=True, timeout=60, check=False
    )


def test_real_aws_is_refused_at_once_and_nothing_is_measured(tmp_path: Path) -> None:
    done = run_demo(tmp_path, KENNEL_ACCOUNT_ID="123456789012")
    assert done.returncode == 2 and "on real AWS it would cost money" in done.stderr
    assert not (tmp_path / ".kennel").exists() and not (tmp_path / "runs").exists()


@pytest.mark.parametrize("share", STEPS)
def test_what_the_embedded_aws_is_started_with_keeps_the_story(share: float) -> None:
    options = demo.options_at(share)
    assert options.time_scale is not None and options.instance_startup_seconds == demo.STARTUP_SECONDS
    ((name, rule),) = [parse_rule(text) for text in options.capacity]
    assert name == demo.TYPE and rule.concurrency == demo.CONCURRENCY
    a_minute = 60 / options.time_scale
    assert rule.floor_ms / 1000 / a_minute == pytest.approx(demo.FLOOR_MS * demo.TIME_SCALE / 60_000, rel=0.02)


def test_the_pace_is_measured_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "KENNEL_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KENNEL_HOME", str(tmp_path))
    pace = demo.prepare()
    kept = unseal((tmp_path / demo.RECORD).read_bytes())
    assert kept == {"units": pace.units, "processors": pace.processors, "share": pace.share} and pace.units > 0
    assert demo.prepare() != pace, "no server runs that was started for it: it is measured again"
