"""Runs Locust's web interface on loopback with a load test's target and rates; a person starts the test there.

It uses the same locustfile as headless runs. A file passes the plan to it; its results are in the run's `loadtest-ui/`
folder when the interface is closed. No process remains after the call.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tasks.load.generator import GeneratorOptions, LoadStage, generator_plan
from tasks.load.locust_process import HOST, LOCUSTFILE, free_port, kill_process_group, locust_environment
from tasks.run.command_line import path_argument
from tasks.run.disk import disk_boundary
from tasks.run.errors import SettingsRefused, StageFailed, WaitTimedOut
from tasks.run.handle import Run
from tasks.run.own_files import ANEW, open_own
from tasks.run.record_store import write_atomically
from tasks.run.records import EndpointRef, FunctionRef
from tasks.run.waiting import Say, say

FOLDER = "loadtest-ui"
PORT = 8089
START_SECONDS = 60.0


class LocustInterface:
    """A running web interface at `url`. It is closed when its `with` block ends."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
        """Store the started process, the address of its page and its folder."""
        self.process = process
        self.url = f"http://{HOST}:{port}"
        self.folder = folder

    def __enter__(self) -> LocustInterface:
        """Return the interface."""
        return self

    def __exit__(self, *_: object) -> None:
        """End Locust and every process that it started."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
        kill_process_group(self.process.pid)
        self.process.wait()

    def wait(self) -> int:
        """Wait until Locust ends and return its exit status."""
        return self.process.wait()


def start_locust_interface(
    run: Run,
    *,
    target: EndpointRef | FunctionRef,
    images: Sequence[Path],
    rate_per_second: float,
    seconds: float,
    port: int = PORT,
    options: GeneratorOptions | None = None,
    say: Say = say,
) -> LocustInterface:
    """Start the interface and return when it answers. Port 0 means any free port.

    Raises:
        OwnershipRefused: the target belongs to another account.
        SettingsRefused: the port is taken, or a rate, time or image is out of bounds.
        StageFailed: the target accepts no connections, or Locust ended.
        WaitTimedOut: the interface did not answer within a minute.
    """
    folder = (run.folder / FOLDER).resolve()
    with disk_boundary("loadtest", folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    chosen, stages = replace(options or GeneratorOptions(), processes=1), (LoadStage(rate_per_second, seconds),)
    plan_path = folder / "plan.json"
    plan = generator_plan(run.aws, target, images, stages, chosen, folder)
    write_atomically(plan_path, json.dumps(plan, indent=1).encode())
    free = _require_free(port)
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--web-host", HOST, "--web-port", str(free)]
    with os.fdopen(open_own(folder / "locust.log", ANEW), "wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=locust_environment(plan_path),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started = LocustInterface(process, free, folder)
    try:
        _await_answer(started)
    except BaseException:
        started.__exit__()
        raise
    say(f"Locust's page is at {started.url}; press Start there to begin and Ctrl-C here to end")
    return started


def _await_answer(ui: LocustInterface) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if ui.process.poll() is not None:
            tail = (ui.folder / "locust.log").read_text(errors="replace")[-1500:]
            what = f"Locust ended with exit code {ui.process.returncode}"
            raise StageFailed("loadtest --ui", what, tail, f"less {path_argument(ui.folder / 'locust.log')}")
        try:
            socket.create_connection((HOST, int(ui.url.rpartition(":")[2])), timeout=1.0).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise WaitTimedOut(
        "loadtest --ui",
        "Locust's page",
        f"it gave no answer in {START_SECONDS:g} s",
        f"less {path_argument(ui.folder / 'locust.log')}",
    )


def _require_free(port: int) -> int:
    try:
        return free_port(port)
    except OSError as error:
        raise SettingsRefused("loadtest --ui", f"port {port}", str(error), "use another port: --port 0") from error
