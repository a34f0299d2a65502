"""Starts Locust in its own process group, passes its progress on and ends the whole group.

An environment variable passes the plan's path to the locustfile; LOCUST_ variables of the caller are not passed on.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tasks.load.report import FILES, RETRY, STAGE
from tasks.run.disk import disk_boundary
from tasks.run.errors import Unreachable, WaitTimedOut
from tasks.run.logical_aws import AGAIN
from tasks.run.own_files import ANEW, open_own
from tasks.run.waiting import Say

_ROOT = Path(__file__).resolve().parents[2]
LOCUSTFILE = _ROOT / "loadtest" / "locustfile.py"
HOST = "127.0.0.1"
CONNECT_SECONDS = 60.0
"""The time in which workers on other machines have to connect."""
LOOK_SECONDS = 2.0
SIGNS = 2
"""A busy AWS may refuse a connection; one that does so twice, 2 s apart, has ended."""


def run_locust(
    folder: Path,
    plan_path: Path,
    generators: Sequence[str],
    deadline_seconds: float,
    say: Say,
    is_aws_lost: Callable[[], bool],
) -> int:
    """Run Locust to its end, pass its progress lines to `say` and return its status. No process remains afterwards.

    `generators` are the options that say where its generators are.
    `is_aws_lost` is asked every 2 s; it returns at once or within some seconds.

    Raises:
        Unreachable: the AWS that is tested was lost, and Locust was killed.
        WaitTimedOut: Locust did not end within `deadline_seconds` and was killed.
    """
    path = folder / FILES["log"]
    with disk_boundary("loadtest", path):
        opened = os.fdopen(open_own(path, ANEW), "wb")
    with opened as log:
        process = subprocess.Popen(
            _command(folder, generators),
            cwd=folder,
            env=locust_environment(plan_path),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            encoding="utf-8",
            errors="replace",
        )
    watch = _Watch(process.pid, time.monotonic() + deadline_seconds, is_aws_lost)
    watch.start()
    try:
        with process:
            for line in process.stdout or ():
                say(line.rstrip())
    finally:
        watch.done.set()
        kill_process_group(process.pid)
        process.wait()
    if watch.found == "lost":
        what = "the embedded AWS ended during the load test, and kennel ended the load generator"
        raise Unreachable(STAGE, what, "what it had was in its memory, and is lost", AGAIN)
    if watch.found == "overdue":
        why = f"it was still running after {deadline_seconds:.0f} s; its log says: {log_tail(folder)}"
        raise WaitTimedOut(STAGE, "kennel killed the load generator", why, RETRY)
    return process.returncode


class _Watch(threading.Thread):
    """Kills Locust's process group when its deadline has passed, or when AWS was found lost twice in a row."""

    def __init__(self, leader: int, deadline: float, is_aws_lost: Callable[[], bool]) -> None:
        super().__init__(daemon=True)
        self.done, self.found = threading.Event(), ""
        self._leader, self._deadline, self._is_aws_lost = leader, deadline, is_aws_lost

    def run(self) -> None:
        """Look until the load test is done."""
        signs = 0
        while not self.done.wait(max(0.0, min(LOOK_SECONDS, self._deadline - time.monotonic()))):
            signs = signs + 1 if self._is_aws_lost() else 0
            overdue = time.monotonic() >= self._deadline
            if signs == SIGNS or overdue:
                self.found = "lost" if signs == SIGNS else "overdue"
                kill_process_group(self._leader)
                return


def kill_process_group(leader: int) -> None:
    """Kill the process group that `leader` leads. A group that has ended already is not an error."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def _command(folder: Path, generators: Sequence[str]) -> list[str]:
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"]
    return [*command, "--html", str(folder / FILES["html"]), "--csv", str(folder / "locust"), *generators]


def generators_here(processes: int) -> list[str]:
    """Return Locust's options for generators on this machine: one in its own process, or workers that it starts."""
    if processes == 1:
        return []
    port = free_port()
    return ["--processes", str(processes), *_master(port), "--master-host", HOST, "--master-port", str(port)]


def generators_elsewhere(count: int, port: int) -> list[str]:
    """Return Locust's options for a master whose workers connect to a port of this machine's loopback."""
    wait = str(int(CONNECT_SECONDS))
    return ["--master", *_master(port), "--expect-workers", str(count), "--expect-workers-max-wait", wait]


def _master(port: int) -> list[str]:
    return ["--master-bind-host", HOST, "--master-bind-port", str(port)]


def free_port(port: int = 0) -> int:
    """Return `port` if it is free on loopback, or any free port for 0.

    Raises:
        OSError: the port is taken.
    """
    with socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((HOST, port))
        return int(found.getsockname()[1])


def locust_environment(plan_path: Path) -> dict[str, str]:
    """Return the environment for Locust: ours without LOCUST_ variables, which would override its options.

    The user's PYTHONPATH is not passed on: a file there could take the place of a library.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    added = {"KENNEL_LOADTEST_PLAN": str(plan_path), "PYTHONPATH": str(_ROOT), "PYTHONUNBUFFERED": "1"}
    return {**kept, **added}


def log_tail(folder: Path) -> str:
    """Return the errors in the log, or its last lines when it has none."""
    lines = (folder / FILES["log"]).read_text(errors="replace").splitlines()
    errors = [line for line in lines if "/ERROR/root" in line]
    return " | ".join(line.strip() for line in (errors or lines)[-5:]) or "(it is empty)"
