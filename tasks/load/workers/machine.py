"""One EC2 instance that sends requests: install Locust there, send it the code and the photos, run its workers.

The workers are a command of the SSH session. They hold no secret: their credentials are those of the instance profile,
and the master's port is at the end of a reverse tunnel.
"""

from __future__ import annotations

import shlex
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.ec2.state import why_ended
from tasks.ec2.worker import PYTHON
from tasks.load.locust_process import HOST
from tasks.load.workers.bundle import LOCUSTFILE, PLAN
from tasks.load.workers.clock import ClockReading, read_clock
from tasks.load.workers.estimate import PREPARE_SECONDS
from tasks.load.workers.requirements import worker_requirements
from tasks.run.aws import Aws
from tasks.run.disk import disk_boundary
from tasks.run.errors import KennelError
from tasks.run.options import MOST_INSTANCES
from tasks.run.record_store import write_atomically
from tasks.run.records import InstanceRef
from tasks.ssh.remote import CommandResult, Remote
from tasks.ssh.transfer import put

FOLDER = "kennel/loadtest"
"""The folder of the load test in the login's home."""

LOG_CHARACTERS = 300


@dataclass
class Machine:
    """One instance with its connection; `before` and `after` are the readings of its clock around the test."""

    aws: Aws
    ref: InstanceRef
    remote: Remote
    before: ClockReading | None = None
    after: ClockReading | None = None

    @property
    def number(self) -> int:
        """The machine's number among the workers, from 1."""
        return self.ref.number - MOST_INSTANCES

    @property
    def label(self) -> str:
        """The machine's name in messages."""
        return f"worker {self.number} ({self.ref.instance_id})"

    def install(self) -> None:
        """Install Locust and what the code needs, by the hashes of the lock; packages that are there stay.

        Raises:
            RemoteFailed: pip failed there, or the connection broke.
            WaitTimedOut: it did not end within 15 minutes.
        """
        self.remote.run(["mkdir", "-p", FOLDER])
        needed = f"{FOLDER}/requirements.txt"
        self.remote.write(needed, worker_requirements().encode())
        pip = f"{PYTHON} -m pip install --quiet --require-hashes --requirement {needed}"
        self.remote.run(f"sudo -n {pip}", deadline_seconds=PREPARE_SECONDS)

    def receive(self, bundle: bytes) -> None:
        """Send the code, the photos and the plan, in place of those of an earlier test.

        Raises:
            RemoteFailed: a command there failed, or the connection broke.
            WaitTimedOut: a command did not end in time.
        """
        with tempfile.TemporaryDirectory(prefix="kennel-") as scratch:
            archive = Path(scratch) / "bundle.tar"
            with disk_boundary("loadtest", archive, len(bundle)):
                archive.write_bytes(bundle)
            self.remote.run(f"rm -rf {FOLDER}/code {FOLDER}/images")
            put(self.remote, archive, f"{FOLDER}/bundle.tar")
        self.remote.run(
            ["tar", "--extract", "--file", f"{FOLDER}/bundle.tar", "--directory", FOLDER, "--no-same-owner"]
        )

    def read_clock(self) -> ClockReading:
        """Compare the machine's clock with this one's.

        Raises:
            RemoteFailed, WaitTimedOut: see `tasks.load.workers.clock.read_clock`.
        """
        return read_clock(self.remote, PYTHON)

    def row(self) -> Mapping[str, Any]:
        """Return what `loadtest.json` says of the machine; times are in milliseconds."""
        clock = self.before or ClockReading(0.0, 0.0)
        ahead, error = 1000 * clock.ahead_seconds, 1000 * clock.error_seconds
        names = {"instance_id": self.ref.instance_id, "instance_type": self.ref.instance_type}
        return {**names, "clock_ahead_ms": ahead, "clock_error_ms": error}


class Session(threading.Thread):
    """The Locust workers of one machine, from their start to their end; `log` gets what they write."""

    def __init__(self, machine: Machine, port: int, processes: int, log: Path, *, deadline_seconds: float) -> None:
        """Prepare the command; `port` is that of the tunnel to the master on the machine's loopback."""
        super().__init__(name=machine.label, daemon=True)
        self.machine = machine
        self._command = workers_command(port, processes, machine.before or ClockReading(0.0, 0.0))
        self._log, self._deadline_seconds = log, deadline_seconds
        self._result: CommandResult | None = None
        self._error: KennelError | None = None

    def run(self) -> None:
        """Run the workers until the master, or the end of the connection, ends them."""
        try:
            result = self.machine.remote.run(self._command, deadline_seconds=self._deadline_seconds, check=False)
            write_atomically(self._log, result.stdout + result.stderr)
            self._result = result
        except KennelError as error:
            self._error = error

    def fault(self) -> str:
        """Return what ended the workers other than the master, "" if nothing did."""
        label = self.machine.label
        if self.is_alive():
            return f"{label}: its workers did not end"
        if self._error is not None:
            return f"{label}: {_reason(self.machine, self._error)}"
        if self._result is not None and self._result.exit_status != 0:
            last = self._result.stderr.decode(errors="replace").strip().splitlines()[-1:]
            said = f": {last[0][-LOG_CHARACTERS:]}" if last else ""
            return f"{label}: its workers ended with status {self._result.exit_status}{said}"
        return ""


def workers_command(port: int, processes: int, clock: ClockReading) -> str:
    """Return the shell command that runs a machine's workers in the foreground."""
    variables = {
        "PYTHONPATH": "code",
        "PYTHONUNBUFFERED": "1",
        "KENNEL_LOADTEST_PLAN": PLAN,
        "KENNEL_LOADTEST_CLOCK_AHEAD_SECONDS": repr(clock.ahead_seconds),
    }
    more = ["--processes", str(processes)] if processes > 1 else []
    locust = [PYTHON, "-m", "locust", "-f", LOCUSTFILE, "--worker", "--master-host", HOST, "--master-port", str(port)]
    setting = [f"{name}={value}" for name, value in variables.items()]
    return f"cd {FOLDER} && exec {shlex.join(['env', *setting, *locust, *more])}"


def _reason(machine: Machine, error: KennelError) -> str:
    """Return why the workers' connection ended: AWS knows more of an instance that has ended."""
    try:
        ended = why_ended(machine.aws, machine.ref.instance_id)
    except KennelError:
        ended = None
    return f"the instance ended: {ended}" if ended else f"{error.what}: {error.why}"
