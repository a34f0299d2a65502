"""Follows a training job on all of its EC2 instances over SSH, stops it, and decides how it ended.

Following is reading: each poll reads the new part of the log and status.json. The length of the local copy of the log
is the offset to read from, so a later process continues where an earlier one stopped. Every heartbeat postpones the
instances' dead-man's switch, which shuts an instance down when no heartbeat comes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.ec2.job import RemoteJob
from tasks.ec2.reconnect import ask_each
from tasks.ec2.worker import (
    FINAL,
    POLL_SECONDS,
    STOP_SECONDS,
    Status,
    Worker,
    is_supervisor_alive,
    read_status,
    send_signal,
)
from tasks.run.command_line import path_argument
from tasks.run.disk import disk_boundary
from tasks.run.errors import RemoteFailed, StageFailed, WaitTimedOut
from tasks.run.own_files import APPEND, open_own
from tasks.run.waiting import REAL_TIME, SILENCE_SECONDS, Say, Waiting, say

ALIVE_SECONDS = 5.0
TAIL_LINES = 20
LINE_CHARACTERS = 400


@dataclass(frozen=True)
class Outcome:
    """How the job ended on all instances; after `interrupted` another attempt can continue from the checkpoints."""

    state: Literal["completed", "interrupted"]
    why: str
    statuses: tuple[Status, ...]


@dataclass(frozen=True)
class Heartbeat:
    """The command that postpones an instance's shutdown, and how often it is sent."""

    command: str
    every_seconds: float


def follow(
    workers: Sequence[Worker],
    job: RemoteJob,
    *,
    heartbeat: Heartbeat,
    deadline_seconds: float,
    waiting: Waiting = REAL_TIME,
) -> Outcome:
    """Follow the job on all instances to its end.

    When the job ends badly on one instance, it is stopped on the others.

    Raises:
        StageFailed: the job failed on an instance; the error has that instance's error and the end of its log.
        WaitTimedOut: the job had not ended after `deadline_seconds`.
        ConnectionLost: an instance that runs was not reached again within 300 s.
    """
    clock, say = waiting.clock, waiting.say
    begun = said = checked = clock()
    beaten = begun - heartbeat.every_seconds
    stopped: float | None = None
    first: list[Worker] = []
    while True:
        now = clock()
        if now - beaten >= heartbeat.every_seconds:
            ask_each(workers, lambda worker: _send_heartbeat(worker, heartbeat.command, say), waiting)
            beaten = now
        if ask_each(workers, lambda worker: _read_progress(worker, job, say), waiting):
            said = now
        if now - checked >= ALIVE_SECONDS:
            ask_each(workers, lambda worker: _check_supervisor(worker, job), waiting)
            checked = now
        if stopped is None and {"failed", "interrupted"} & {worker.state for worker in workers}:
            first, stopped = [worker for worker in workers if worker.state in FINAL], now
            stop([worker for worker in workers if worker not in first], job, say=say)
        has_ended = all(worker.state in FINAL for worker in workers)
        if has_ended or (stopped is not None and now - stopped > STOP_SECONDS):
            return _outcome(workers, first, job)
        if now - begun > deadline_seconds:
            why = f"it is still {_states(workers)}"
            raise WaitTimedOut(
                f"training {job.name}", f"waited {now - begun:.0f} s", why, f"kennel down {job.run_id} --yes"
            )
        if now - said >= SILENCE_SECONDS:
            say(f"training {job.name}: {_states(workers)}, {now - begun:.0f} s")
            said = now
        waiting.sleep(POLL_SECONDS)


def stop(workers: Sequence[Worker], job: RemoteJob, *, say: Say = say) -> None:
    """Ask the job to store its checkpoints and end, on every instance that can still be reached."""
    for worker in workers:
        try:
            send_signal(worker, job, "TERM")
        except (RemoteFailed, WaitTimedOut) as error:
            say(f"{worker.label}: the training could not be asked to stop: {error.what}")


def _read_progress(worker: Worker, job: RemoteJob, say: Say) -> bool:
    """Read the status and then the new part of the log, so that the log is complete when the status is final."""
    status = read_status(worker, job)
    offset = worker.log.stat().st_size if worker.log.exists() else 0
    new = bytearray()
    while part := worker.remote.read_from(f"{job.folder}/log.txt", offset + len(new)):
        new += part
    with disk_boundary("train_ec2", worker.log, len(new)), os.fdopen(open_own(worker.log, APPEND), "ab") as file:
        file.write(new)
    for line in bytes(new).decode(errors="replace").splitlines():
        say(f"{worker.label} | {_shortened(line)}")
    worker.status = status
    return bool(new)


def _send_heartbeat(worker: Worker, command: str, say: Say) -> bool:
    """Postpone the dead-man's switch; when that fails, the training runs on until the switch ends the instance."""
    done = worker.remote.run(command, check=False)
    if done.exit_status != 0:
        answer = done.stderr.decode(errors="replace").strip()
        say(f"{worker.label}: WARNING: its dead-man's switch could not be postponed: {answer}")
    return done.exit_status != 0


def _check_supervisor(worker: Worker, job: RemoteJob) -> bool:
    """Mark the job as failed when its supervisor is gone without a final status: somebody or something killed it."""
    if worker.state in FINAL or is_supervisor_alive(worker, job):
        return False
    worker.status = read_status(worker, job)
    if worker.state not in FINAL:
        worker.status |= {"state": "failed", "error": "the supervisor on the instance is gone (killed, or no memory)"}
    return True


def _outcome(workers: Sequence[Worker], first: Sequence[Worker], job: RemoteJob) -> Outcome:
    """Decide from the statuses; `first` are the workers that ended badly before the others, which were then stopped.

    When EC2 took an instance back, the job counts as interrupted, even if another instance's training failed earlier:
    it failed because it lost that instance.
    """
    taken = [worker for worker in workers if "spot_notice" in worker.status or "instance_ended" in worker.status]
    failed = [worker for worker in first if worker.state == "failed"]
    if failed and not taken:
        raise _failure(failed[0], job)
    statuses = tuple(dict(worker.status) for worker in workers)
    if first:
        return Outcome("interrupted", str((taken or first)[0].status.get("error")), statuses)
    return Outcome("completed", "", statuses)


def _failure(worker: Worker, job: RemoteJob) -> StageFailed:
    lines = worker.log.read_text(errors="replace").splitlines()[-TAIL_LINES:] if worker.log.exists() else []
    tail = "\n".join(f"    {_shortened(line)}" for line in lines) or "    (no log lines arrived)"
    why = f"{_shortened(str(worker.status.get('error')))}\n{tail}"
    look = f"less {path_argument(worker.log)}; then run the same command again"
    return StageFailed(f"training {job.name}", f"it failed on {worker.label}", why, look)


def _shortened(text: str) -> str:
    """Shorten a line for the screen; the log file has all of it."""
    return text if len(text) <= LINE_CHARACTERS else f"{text[:LINE_CHARACTERS]}… ({len(text):,} characters)"


def _states(workers: Sequence[Worker]) -> str:
    return ", ".join(f"{worker.label} {_state(worker)}" for worker in workers)


def _state(worker: Worker) -> str:
    return "not reached" if worker.disconnected_since is not None else worker.state or "starting"
