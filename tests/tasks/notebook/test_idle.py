"""Tests of the idle check of notebook instances: its decisions, against a server like Jupyter, and its installation."""

import ast
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tasks.account.prices import choose_notebook_instance
from tasks.account.roles import ensure_role
from tasks.notebook.idle import Activity, NotUnderstood, decide, read_activities
from tasks.notebook.instance import ensure_notebook, list_notebooks
from tasks.notebook.lifecycle import IDLE_SOURCE, SCRIPT_LIMIT, encode_script, on_start_script
from tasks.notebook.records import NotebookPlan
from tasks.notebook.role import notebook_name, notebook_role
from tasks.run.aws import Aws
from tasks.run.errors import SettingsRefused
from tasks.run.handle import Run
from tasks.run.settings import Settings
from tests.conftest import RunningLocalAws
from tests.polling import wait_until
from tests.tasks.notebook.jupyter_server import Jupyter, jupyter_server, kernel, stamp

NOW, LIMIT = 1_000_000.0, 3600.0
HOUR_AGO, MINUTE_AGO, DAY_AGO = NOW - 3600, NOW - 60, NOW - 86_400
RUN = "idle"


@pytest.fixture
def jupyter(tmp_path: Path) -> Iterator[Jupyter]:
    with jupyter_server(tmp_path) as server:
        yield server


# --- the decision -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("activities", "booted", "remembered", "should_stop"),
    [
        pytest.param([], DAY_AGO, 0.0, True, id="nothing since a start long ago"),
        pytest.param([], MINUTE_AGO, 0.0, False, id="nothing yet, but it has just started"),
        pytest.param([], DAY_AGO, MINUTE_AGO, False, id="a kernel shut down a minute ago is remembered"),
        pytest.param([], DAY_AGO, HOUR_AGO, True, id="a kernel shut down an hour ago"),
        pytest.param([Activity("k", DAY_AGO, is_busy=True)], DAY_AGO, 0.0, False, id="a cell that runs for a day"),
        pytest.param([Activity("k", DAY_AGO)], DAY_AGO, 0.0, True, id="an idle kernel in a forgotten tab"),
        pytest.param([Activity("k", DAY_AGO), Activity("t", MINUTE_AGO)], DAY_AGO, 0.0, False, id="one in use of two"),
        pytest.param([Activity("k", HOUR_AGO)], DAY_AGO, 0.0, True, id="exactly at the limit"),
        pytest.param([Activity("k", HOUR_AGO + 1)], DAY_AGO, 0.0, False, id="a second before the limit"),
        pytest.param([Activity("k", DAY_AGO)], MINUTE_AGO, 0.0, False, id="stamps older than the start do not count"),
    ],
)
def test_it_stops_at_the_limit_after_the_last_activity(
    activities: list[Activity], booted: float, remembered: float, should_stop: bool
) -> None:
    decided = decide(activities, now=NOW, booted=booted, remembered=remembered, limit_seconds=LIMIT)
    assert decided.should_stop is should_stop


def test_a_busy_kernel_counts_as_activity_now_and_a_stamp_in_the_future_too() -> None:
    busy = decide([Activity("k", DAY_AGO, is_busy=True)], now=NOW, booted=DAY_AGO, remembered=0.0, limit_seconds=LIMIT)
    ahead = decide([Activity("k", NOW + 9e9)], now=NOW, booted=DAY_AGO, remembered=0.0, limit_seconds=LIMIT)
    assert (busy.last_active, busy.reason) == (NOW, "k is busy")
    assert (ahead.last_active, ahead.should_stop) == (NOW, False)


# --- what Jupyter says ------------------------------------------------------------------------------------------------


def test_kernels_are_named_by_their_notebook_and_terminals_count(jupyter: Jupyter) -> None:
    jupyter.has([kernel("k", HOUR_AGO, "busy")], [{"name": "1", "last_activity": stamp(MINUTE_AGO)}])
    assert read_activities(jupyter.url) == [
        Activity("kernel of k.ipynb", HOUR_AGO, is_busy=True),
        Activity("terminal 1", MINUTE_AGO),
    ]


def test_a_jupyter_without_terminals_is_understood(jupyter: Jupyter) -> None:
    jupyter.has([])
    assert read_activities(jupyter.url) == []


def test_nothing_that_answers_is_told_from_an_answer() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert read_activities(f"https://localhost:{closed.getsockname()[1]}") is None


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        pytest.param("/api/sessions", 403, id="refused"),
        pytest.param("/api/kernels", 500, id="failed"),
        pytest.param("/api/kernels", b"<html>login</html>", id="a page instead of JSON"),
        pytest.param("/api/kernels", {"message": "no"}, id="an object instead of a list"),
        pytest.param("/api/kernels", [{"id": "k"}], id="a kernel without a stamp"),
        pytest.param("/api/kernels", [{"id": "k", "last_activity": "soon"}], id="a stamp that is none"),
    ],
)
def test_an_answer_that_is_not_jupyters_is_not_taken_for_idleness(jupyter: Jupyter, path: str, answer: Any) -> None:
    jupyter.has([])
    jupyter.answers[path] = answer
    with pytest.raises(NotUnderstood):
        read_activities(jupyter.url)


# --- the program ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Machine:
    """A notebook instance of localaws, and a folder with the files of its machine."""

    aws: Aws
    environment: dict[str, str]
    folder: Path
    jupyter: Jupyter

    def check(
        self, *more: str, up_minutes: float = 1440, jupyter: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the idle check with a limit of 60 minutes."""
        (self.folder / "uptime").write_text(f"{up_minutes * 60:.2f} 0.00\n")
        where = ["--state", str(self.folder / "state"), "--uptime", str(self.folder / "uptime")]
        named = ["--name", notebook_name(RUN), "--region", "us-east-1", "--idle-minutes", "60"]
        command = [sys.executable, str(IDLE_SOURCE), *named, *where, "--jupyter", jupyter or self.jupyter.url, *more]
        return subprocess.run(
            command, env=self.environment, cwd="/", capture_output=True, text=True, timeout=60, check=False
        )

    @property
    def status(self) -> str:
        """The instance's status, once it does not move."""
        return wait_until(
            lambda: list_notebooks(self.aws, RUN)[0].status,
            "a status that stays",
            holds=lambda status: status not in {"Pending", "Stopping"},
        )


@pytest.fixture
def machine(localaws: RunningLocalAws, tmp_path: Path, jupyter: Jupyter) -> Machine:
    aws = Aws(Settings(endpoint_url=localaws.url, runs=tmp_path / "runs", region="us-east-1"))
    run = Run(aws, RUN)
    role_arn = ensure_role(run, notebook_role(aws, RUN, None))
    made = ensure_notebook(run, NotebookPlan(RUN, role_arn, choose_notebook_instance("us-east-1"), 60))
    if made.state.status == "Stopped":
        aws.client("sagemaker").start_notebook_instance(NotebookInstanceName=notebook_name(RUN))
    return Machine(aws, dict(localaws.environment), tmp_path, jupyter)


def test_an_idle_instance_is_stopped_and_one_in_use_is_not(machine: Machine) -> None:
    machine.jupyter.has([kernel("k", time.time() - 7200, "busy")])
    done = machine.check()
    assert (done.returncode, machine.status) == (0, "InService"), done.stdout + done.stderr
    assert "keep running: kernel of k.ipynb is busy" in done.stdout
    machine.jupyter.has([])
    done = machine.check()
    assert "an activity that an earlier check recorded" in done.stdout
    assert machine.status == "InService"
    (machine.folder / "state").write_text(str(time.time() - 3601))
    done = machine.check("--dry-run")
    assert (done.stdout.startswith("notebook_idle: stop"), machine.status) == (True, "InService")
    done = machine.check()
    assert (done.returncode, machine.status) == (0, "Stopped"), done.stdout + done.stderr
    done = machine.check()
    assert done.returncode == 1
    assert "could not stop kennel-idle-notebook" in done.stdout


def test_a_jupyter_that_is_not_understood_stops_nothing_and_one_that_is_silent_for_the_limit_does(
    machine: Machine,
) -> None:
    machine.jupyter.answers = dict.fromkeys(["/api/sessions", "/api/kernels", "/api/terminals"], 403)
    done = machine.check()
    assert (done.returncode, machine.status) == (1, "InService")
    assert "not stopped, because Jupyter's answer was not understood: /api/sessions answered 403" in done.stdout
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        silent = f"https://localhost:{closed.getsockname()[1]}"
        assert "keep running" in machine.check(jupyter=silent, up_minutes=59).stdout
        (machine.folder / "state").unlink()
        assert "Jupyter does not answer" in machine.check(jupyter=silent, up_minutes=61).stdout
    assert machine.status == "Stopped"


def test_another_machines_jupyter_is_refused_for_its_certificate_would_not_be_checked(machine: Machine) -> None:
    done = machine.check(jupyter="https://jupyter.example.com:8443")
    assert done.returncode == 2
    assert "is not this machine" in done.stderr


def test_the_check_is_written_in_the_python_that_notebook_images_have() -> None:
    ast.parse(IDLE_SOURCE.read_text(), feature_version=(3, 8))


# --- how it gets there ------------------------------------------------------------------------------------------------


def test_the_script_fits_for_the_longest_names() -> None:
    script = on_start_script(notebook_name("a" * 24), "ap-southeast-1", 1440)
    assert len(encode_script(script)) <= SCRIPT_LIMIT
    with pytest.raises(SettingsRefused, match=r"notebook: lifecycle script: 1\d{4} characters"):
        encode_script(script + "#" * (SCRIPT_LIMIT // 4 * 3 - len(script.encode()) + 1))


def programs(folder: Path, **sources: str) -> str:
    """Write shell programs to `folder` and return a PATH on which they come first."""
    folder.mkdir()
    for name, source in sources.items():
        program = folder / name.replace("_", "-")
        program.write_text(f"#!/bin/bash\n{source}\n")
        program.chmod(0o755)
    return f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"


TIMER = """echo "$@" > "$TIMER_SAW"
"${@: -3}" """
"""A substitute for systemd-run: it stores its arguments and runs once what the timer would run every five minutes."""


def on_start(
    machine: Machine, *, path: str, idle_minutes: int = 60, more: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    root = str(machine.folder / "root")
    script = on_start_script(notebook_name(RUN), "us-east-1", idle_minutes, jupyter=machine.jupyter.url, root=root)
    (machine.folder / "on-start.sh").write_text(script)
    environment = {**machine.environment, "PATH": path, "TIMER_SAW": str(machine.folder / "timer"), **(more or {})}
    command = ["bash", str(machine.folder / "on-start.sh")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_script_puts_the_check_there_and_has_it_run_every_five_minutes(machine: Machine) -> None:
    machine.jupyter.has([kernel("k", time.time() - 60)])
    done = on_start(machine, path=programs(machine.folder / "bin", systemd_run=TIMER, systemctl="true"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (machine.folder / "root/opt/kennel/notebook_idle.py").read_text() == IDLE_SOURCE.read_text()
    assert "--on-calendar=*:0/5" in (machine.folder / "timer").read_text()
    log = (machine.folder / "root/var/log/jupyter.log").read_text()
    assert log.startswith("notebook_idle: keep running: the last activity was")
    assert machine.status == "InService"


def test_what_the_timer_runs_stops_the_instance(machine: Machine) -> None:
    machine.jupyter.has([])
    path = programs(machine.folder / "bin", systemd_run=TIMER, systemctl="true")
    done = on_start(machine, path=path, idle_minutes=0)
    assert done.returncode == 0, done.stdout + done.stderr
    assert machine.status == "Stopped"


def test_an_instance_without_a_python_that_could_stop_it_does_not_start(machine: Machine) -> None:
    (machine.folder / "broken").mkdir()
    (machine.folder / "broken" / "boto3.py").write_text("raise ImportError")
    path = programs(machine.folder / "bin", systemd_run=TIMER, systemctl="true")
    done = on_start(machine, path=path, more={"PYTHONPATH": str(machine.folder / "broken")})
    assert done.returncode == 1
    assert "it has no Python 3.8 with boto3" in done.stderr
    assert not (machine.folder / "timer").exists()


def test_an_instance_whose_timer_does_not_run_does_not_start(machine: Machine) -> None:
    machine.jupyter.has([])
    done = on_start(machine, path=programs(machine.folder / "bin", systemd_run="true", systemctl="exit 3"))
    assert done.returncode == 3
