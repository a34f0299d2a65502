"""A `prefect worker` on the pool of a home, and what Prefect's server says of its flow runs."""

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import boto3
import psutil

from tests.counting_proxy import Calls
from tests.kennel.shell import ROOT, Terminal
from tests.kennel.signalled import held
from tests.keys import for_boto3
from tests.polling import wait_until


@dataclass(frozen=True)
class PrefectServer:
    """Prefect's API, asked over HTTP, and the AWS that the worker's flows use."""

    url: str
    password: str
    calls: Calls

    def end_while_an_instance_starts(
        self, flow: str, parameters: dict[str, object], how: str | Callable[[], None]
    ) -> str:
        """Begin a flow run, end it while it waits for its instance, and return the type of its last state.

        Its instances have to be terminated, and its process has to be gone without waiting for its work.
        """
        with held(self.calls, "RunInstances") as launch:
            run = self.begin(flow, flow, parameters)
            wait_until(launch.met.is_set, "the launch", seconds=120)
            process = wait_until(lambda: process_of(run), "the flow run's process")
            assert self._ask(f"flow_runs/{run}")["name"] == f"{parameters['run_id']} {flow}"
            if how == "cancel":
                self.cancel(run)
            elif isinstance(how, str):
                process.send_signal(signal.Signals[how])
            else:
                how()
            state = wait_until(lambda: self.final_state(run), "a final state", seconds=120, every=0.5)
            wait_until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE, "its end")
            wait_until(self._have_instances_ended, "the end of the instances")
        return state

    def _have_instances_ended(self) -> bool:
        ec2 = boto3.client("ec2", endpoint_url=self.calls.url, region_name="us-east-1", **for_boto3())
        found = [item for group in ec2.describe_instances()["Reservations"] for item in group["Instances"]]
        assert found, "no instance was launched: the test would prove nothing"
        return {item["State"]["Name"] for item in found} <= {"shutting-down", "terminated"}

    def begin(self, flow: str, deployment: str, parameters: dict[str, object] | None = None) -> str:
        """Begin a flow run of a deployment, and return its id."""
        found = self._ask(f"deployments/name/{flow}/{deployment}")["id"]
        return str(self._ask(f"deployments/{found}/create_flow_run", {"parameters": parameters or {}})["id"])

    def cancel(self, run: str) -> None:
        """Have the worker end a flow run."""
        self._ask(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})

    def state(self, run: str) -> str:
        """Return the type of a flow run's state."""
        return str(self._ask(f"flow_runs/{run}")["state"]["type"])

    def final_state(self, run: str) -> str | None:
        """Return the type of a flow run's last state, None while it is not over."""
        state = self.state(run)
        return state if state in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} else None

    def _ask(self, path: str, content: object = None) -> dict[str, Any]:
        data = None if content is None else json.dumps(content).encode()
        password = base64.b64encode(self.password.encode()).decode()
        headers = {"Content-Type": "application/json", "Authorization": f"Basic {password}"}
        request = urllib.request.Request(f"{self.url}/{path}", data, headers)
        return wait_until(lambda: _answer_to(request), f"Prefect's answer to {path}", every=0.5)


def _answer_to(request: urllib.request.Request) -> dict[str, Any] | None:
    """Return the answer; None for a 503, by which Prefect says that its database was locked, and to ask again."""
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
            raise
        return None


def process_of(flow_run: str) -> psutil.Process | None:
    """Return the process of a flow run of the worker."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("PREFECT__FLOW_RUN_ID") == flow_run and "prefect.engine" in process.cmdline():
                return process
    return None


GUARD = "tasks.ec2.guard"
"""What terminates the instances of a flow run that was ended: it has the run's lock, for which `down` does not wait."""


class worker:  # noqa: N801  used like a function, with `with`
    """A process worker on the pool `kennel`, ended with its group."""

    def __init__(self, terminal: Terminal, prefect: dict[str, str], log: Path) -> None:
        self._terminal, self._prefect, self._log = terminal, prefect, log

    def __enter__(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "kennel", "--name", "test"]
        with self._log.open("w") as output:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**self._terminal.environment, **self._prefect, "PREFECT_WORKER_QUERY_SECONDS": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, 9)
            self._process.wait(60)
        wait_until(lambda: not any(GUARD in each for each in self._terminal.processes()), "the end of the guards")
