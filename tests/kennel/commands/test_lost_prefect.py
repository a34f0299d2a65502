"""Prefect's server is killed while a run trains, deploys and is load-tested: it is started again, the run ends well."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kennel.servers import prefect, processes
from tasks.run.ledger_contents import inspect_ledger
from tests.kennel.shell import ROOT, Terminal, prefer_own_prefect_port
from tests.polling import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

RUN = "outage"
SAID = "Prefect's server has ended"
SAID_SECONDS = 60.0
COMMAND = (
    *("run", "--run-id", RUN, "--backbone", "efficientnet_lite0", "--epochs", "1", "--views", "1"),
    *("--load-rate-per-second", "20", "--load-seconds", "2", "--json"),
)


def kill(terminal: Terminal) -> None:
    server = wait_until(lambda: processes.find(terminal.home, prefect.NAME), "Prefect's server", seconds=60)
    os.kill(server.pid, signal.SIGKILL)


def test_a_run_whose_prefect_server_is_killed_in_each_stage_says_so_and_ends_well(
    terminal: Terminal, photos: Path, tmp_path: Path
) -> None:
    folder, err = terminal.runs / RUN, tmp_path / "err.txt"
    prefer_own_prefect_port(terminal.home)

    def has_row_of(kind: str) -> Callable[[], bool]:
        return lambda: any(row.kind == kind for row in inspect_ledger(folder).rows)

    moments = {
        "a training job": has_row_of("training-job"),
        "an endpoint": has_row_of("endpoint"),
        "a load test": (folder / "loadtest" / "plan.json").exists,
    }
    command = [sys.executable, "-m", "kennel", *COMMAND, "--data", str(photos)]
    with err.open("w") as errors:
        process = subprocess.Popen(
            command, cwd=ROOT, env=terminal.environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    with process:
        for number, (what, look) in enumerate(moments.items(), start=1):
            wait_until(lambda: look() or process.poll() is not None, what, seconds=200)  # noqa: B023 called at once
            assert process.poll() is None, err.read_text()
            kill(terminal)
            killed = time.monotonic()
            wait_until(lambda: err.read_text().count(SAID) == number, SAID, seconds=90)  # noqa: B023
            assert time.monotonic() - killed < SAID_SECONDS
        out, _ = process.communicate(timeout=200)
    said = err.read_text()
    assert process.returncode == 0, said
    assert "answers again after" in said and "Traceback" not in said
    assert json.loads(out)["loadtest"]["failures"] == 0
    assert processes.find(terminal.home, prefect.NAME) is not None
