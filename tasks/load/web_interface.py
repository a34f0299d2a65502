"""Locust's web interface on loopback, with the target and rates of a load test: a person presses Start.

The same locustfile as headless runs: its plan goes in by a file, and what it measured is in `loadtest-ui/` of the run
when the interface is ended. Nothing of it outlives the call.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tasks.load.generator import (
    LOCUSTFILE,
    GeneratorOptions,
    LoadStage,
    generator_plan,
    kill_process_group,
    locust_environment,
)
from tasks.run.errors import SettingsRefused, StageFailed, WaitTimedOut
from tasks.run.handle import Run
from tasks.run.records import EndpointRef, FunctionRef
from tasks.run.waiting import Say, say

FOLDER = "loadtest-ui"
HOST = "127.0.0.1"
PORT = 8089
START_SECONDS = 60.0


class LocustInterface:
    """A running interface; `url` is where it is. Ends with its `with` block."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
        """Keep what was started."""
        self.process = process
        self.url = f"http://{HOST}:{port}"
        self.folder = folder

    def __enter__(self) -> LocustInterface:
        """Return the interface."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it, with everything that it started."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
        kill_process_group(self.process.pid)
        self.process.wait()

    def wait(self) -> int:
        """Return Locust's exit status when somebody has ended it."""
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
    """Start the interface and return when it answers; port 0 is any free one.

    Raises:
        SettingsRefused: the port is taken, or a rate, time or image is out of bounds.
        StageFailed: the target is dead, or Locust ended.
        WaitTimedOut: it did not answer within a minute.
    """
    folder = (run.folder / FOLDER).resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    chosen, stages = replace(options or GeneratorOptions(), processes=1), (LoadStage(rate_per_second, seconds),)
    plan_path = folder / "plan.json"
    plan_path.write_text(json.dumps(generator_plan(run.aws, target, images, stages, chosen, folder), indent=1))
    free = _free_port(port)
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--web-host", HOST, "--web-port", str(free)]
    with (folder / "locust.log").open("wb") as log:
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
    say(f"Locust's page is at {started.url}; press Start there, Ctrl-C here ends it")
    return started


def _await_answer(ui: LocustInterface) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if ui.process.poll() is not None:
            tail = (ui.folder / "locust.log").read_text(errors="replace")[-1500:]
            raise StageFailed("loadtest --ui", f"Locust ended with {ui.process.returncode}", tail, "kennel status")
        try:
            socket.create_connection((HOST, int(ui.url.rpartition(":")[2])), timeout=1.0).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise WaitTimedOut(
        "loadtest --ui", "Locust's page", f"no answer in {START_SECONDS:g} s", f"less {ui.folder}/locust.log"
    )


def _free_port(port: int) -> int:
    with socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((HOST, port))
        except OSError as error:
            raise SettingsRefused("loadtest --ui", f"port {port}", str(error), "choose another: --port 0") from error
        return int(found.getsockname()[1])
