"""One instance that works on a training job: upload the job, start it, read its status, stop it.

The job runs under a supervisor that is detached from the SSH session, so it continues when the connection breaks or
this process ends; `tasks.ec2.reconnect` makes it again, to the same pinned host key.
"""

from __future__ import annotations

import io
import shlex
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.ec2.job import RemoteJob
from tasks.run.disk import disk_boundary, source_boundary
from tasks.run.sealed import parse_json
from tasks.ssh.remote import Remote
from tasks.ssh.transfer import put

PYTHON = "/opt/pytorch/bin/python"
"""The Deep Learning AMI's interpreter that can import torch."""

POLL_SECONDS = 1.0
STOP_SECONDS = 150.0  # the supervisor gives the training 120 s
FINAL = frozenset({"completed", "failed", "interrupted"})
"""The states after which a job says nothing more."""
Status = Mapping[str, Any]


@dataclass
class Worker:
    """One instance: its connection, the local copy of its log, and the last status that it reported.

    `why_gone` asks AWS why the instance has ended, and returns None while it has not. `disconnected_since` is the time
    at which the connection was lost, None while there is one.
    """

    remote: Remote
    label: str
    log: Path
    why_gone: Callable[[], str | None]
    status: dict[str, Any] = field(default_factory=dict)
    disconnected_since: float | None = None

    @property
    def state(self) -> str | None:
        """The job's state in the last status, None before there is one."""
        return self.status.get("state")


def upload_job(worker: Worker, job: RemoteJob, spec: bytes) -> None:
    """Upload the code and spec.json to the instance, unless an earlier command did.

    Raises:
        RemoteFailed: a command on the instance failed.
        ConnectionLost: the connection broke.
        WaitTimedOut: a command did not end in time.
    """
    remote, folder = worker.remote, job.folder
    present = remote.read_from(f"{folder}/spec.json", 0)
    if present == spec:
        return
    if present and parse_json(present)["hosts"] != parse_json(spec)["hosts"]:
        _stop_job_of_other_hosts(worker, job)
    with tempfile.TemporaryDirectory(prefix="kennel-") as scratch:
        archive = Path(scratch) / "code.tar"
        content = io.BytesIO()
        with source_boundary("train_ec2", job.code_dir), tarfile.open(fileobj=content, mode="w") as tar:
            tar.add(job.code_dir / "training", "training")
        with disk_boundary("train_ec2", archive, len(content.getbuffer())):
            archive.write_bytes(content.getbuffer())
        remote.run(["mkdir", "-p", f"{folder}/code"])
        put(remote, archive, f"{folder}/code.tar")
    remote.run(["tar", "--extract", "--file", f"{folder}/code.tar", "--directory", f"{folder}/code", "--no-same-owner"])
    remote.write(f"{folder}/spec.json", spec)


def _stop_job_of_other_hosts(worker: Worker, job: RemoteJob) -> None:
    """Stop a job that waits for hosts that no longer exist; its checkpoints stay on the instance."""
    send_signal(worker, job, "TERM")
    wait_for_end = f"while {_signal_command(job, '0')} 2>/dev/null; do sleep 0.2; done"
    worker.remote.run(f"{wait_for_end}; rm -f {shlex.quote(job.folder)}/status.json", deadline_seconds=STOP_SECONDS)


def start(worker: Worker, job: RemoteJob) -> bool:
    """Start the job detached; return False when it runs already, or has finished, after an earlier command.

    Raises:
        RemoteFailed: a command on the instance failed.
        ConnectionLost: the connection broke.
        WaitTimedOut: a command did not end in time.
    """
    worker.status = read_status(worker, job)
    if worker.state == "completed" or (worker.status and is_supervisor_alive(worker, job)):
        return False
    begin = f"PYTHONPATH=code setsid nohup {PYTHON} -m training.on_instance spec.json >> log.txt 2>&1 < /dev/null &"
    # In braces, so that only the command itself is in the background: a shell that waited there would hold our channel.
    worker.remote.run(f"cd {shlex.quote(job.folder)} && rm -f status.json && {{ {begin} echo $! > pid; }}")
    worker.status = {}
    return True


def read_status(worker: Worker, job: RemoteJob) -> dict[str, Any]:
    """Return status.json of an instance, {} when there is none yet.

    Raises:
        RemoteFailed: the file could not be read.
        ConnectionLost: the connection broke.
        WaitTimedOut: the instance did not answer in time.
    """
    content = worker.remote.read_from(f"{job.folder}/status.json", 0).strip()
    found: dict[str, Any] = parse_json(content) if content else {}
    return found


def is_supervisor_alive(worker: Worker, job: RemoteJob) -> bool:
    """Tell whether the job's supervisor runs.

    Raises:
        ConnectionLost: the connection broke.
        WaitTimedOut: the instance did not answer in time.
    """
    return send_signal(worker, job, "0")


def send_signal(worker: Worker, job: RemoteJob, signal: str) -> bool:
    """Send a signal to the job's supervisor; tell whether it received it.

    Raises:
        ConnectionLost: the connection broke.
        WaitTimedOut: the instance did not answer in time.
    """
    return worker.remote.run(_signal_command(job, signal), check=False).exit_status == 0


def _signal_command(job: RemoteJob, signal: str) -> str:
    return f'kill -{signal} "$(cat {shlex.quote(job.folder)}/pid)"'
