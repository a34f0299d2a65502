"""A training on EC2 instances, over SSH: shipped, started detached, followed, stopped, its model brought back.

The training does not need this process: it runs on when the connection breaks or this process ends. So following is
reading: the log by byte offset (the local copy's length is the offset, also for a later process) and status.json. A
connection that breaks is made again to the same pinned host. Every heartbeat puts the instances' dead-man's switch off.
"""

from __future__ import annotations

import json
import shlex
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tasks.ec2.job import RemoteJob
from tasks.run.errors import ConnectionLost, RemoteFailed, StageFailed, WaitTimedOut
from tasks.run.waiting import SILENCE_SECONDS, Say, say
from tasks.ssh.remote import Remote
from tasks.ssh.transfer import get, put

PYTHON = "/opt/pytorch/bin/python"
"""Where the Deep Learning AMI has the interpreter that imports torch."""

POLL_SECONDS = 1.0
ALIVE_SECONDS = 5.0
RECONNECT_SECONDS = 300.0
STOP_SECONDS = 150.0  # the supervisor gives the training 120 s
TAIL_LINES = 20
LINE_CHARACTERS = 400
FINAL = frozenset({"completed", "failed", "interrupted"})
Status = Mapping[str, Any]


@dataclass
class Worker:
    """One instance that works on the job: its connection, its log here, and the state it told last.

    `is_gone` asks AWS whether the instance has ended, and why; None means that it has not.
    """

    remote: Remote
    label: str
    log: Path
    is_gone: Callable[[], str | None]
    status: dict[str, Any] = field(default_factory=dict)
    unheard_since: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How the job ended on all instances; `interrupted` means that another attempt can go on from the checkpoints."""

    state: Literal["completed", "interrupted"]
    why: str
    statuses: tuple[Status, ...]


# --- before -----------------------------------------------------------------------------------------------------------


def ship(worker: Worker, job: RemoteJob, spec: bytes) -> None:
    """Put the code and spec.json on the instance; what is there already is left alone.

    Raises:
        RemoteFailed, ConnectionLost, WaitTimedOut: as the connection says.
    """
    remote, folder = worker.remote, job.folder
    there = remote.read_from(f"{folder}/spec.json", 0)
    if there == spec:
        return
    if there and json.loads(there)["hosts"] != json.loads(spec)["hosts"]:
        _leave_old_gang(worker, job)
    with tempfile.TemporaryDirectory(prefix="kennel-") as scratch:
        archive = Path(scratch) / "code.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(job.code_dir / "training", "training")
        remote.run(["mkdir", "-p", f"{folder}/code"])
        put(remote, archive, f"{folder}/code.tar")
    remote.run(["tar", "--extract", "--file", f"{folder}/code.tar", "--directory", f"{folder}/code", "--no-same-owner"])
    remote.write(f"{folder}/spec.json", spec)


def _leave_old_gang(worker: Worker, job: RemoteJob) -> None:
    """End what waits for hosts that are no more; what it has embedded stays as checkpoints on the instance."""
    worker.remote.run(_to_supervisor(job, "TERM"), check=False)
    gone = f"while {_to_supervisor(job, '0')} 2>/dev/null; do sleep 0.2; done"
    worker.remote.run(f"{gone}; rm -f {shlex.quote(job.folder)}/status.json", deadline_seconds=STOP_SECONDS)


def start(worker: Worker, job: RemoteJob) -> bool:
    """Start the job detached; False when it runs already or has a model, after an earlier command.

    Raises:
        RemoteFailed, ConnectionLost, WaitTimedOut: as the connection says.
    """
    worker.status = read_status(worker, job)
    if worker.status.get("state") == "completed" or (worker.status and _is_alive(worker, job)):
        return False
    begin = f"PYTHONPATH=code setsid nohup {PYTHON} -m training.on_instance spec.json >> log.txt 2>&1 < /dev/null &"
    # In braces, so that only the command itself is in the background: a shell that waited there would hold our channel.
    worker.remote.run(f"cd {shlex.quote(job.folder)} && rm -f status.json && {{ {begin} echo $! > pid; }}")
    worker.status = {}
    return True


# --- meanwhile --------------------------------------------------------------------------------------------------------


def follow(
    workers: Sequence[Worker],
    job: RemoteJob,
    *,
    heartbeat: str,
    heartbeat_seconds: float,
    deadline_seconds: float,
    say: Say = say,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Outcome:
    """Follow the job on all instances to its end; `heartbeat` is a command run on each every `heartbeat_seconds`.

    Raises:
        StageFailed: it failed on an instance; with that instance's error and the end of its log.
        WaitTimedOut: it had not ended after `deadline_seconds`.
        ConnectionLost: an instance that runs was not reached again within 300 s.
    """
    begun = said = alive = clock()
    beaten = begun - heartbeat_seconds
    ending: float | None = None
    first: list[Worker] = []
    while True:
        now = clock()
        if now - beaten >= heartbeat_seconds:
            _each(workers, lambda worker: _beat(worker, heartbeat, say), clock, say)
            beaten = now
        if _each(workers, lambda worker: _hear(worker, job, say), clock, say):
            said = now
        if now - alive >= ALIVE_SECONDS:
            _each(workers, lambda worker: _check_alive(worker, job), clock, say)
            alive = now
        if ending is None and {"failed", "interrupted"} & {worker.status.get("state") for worker in workers}:
            first, ending = [worker for worker in workers if worker.status.get("state") in FINAL], now
            stop([worker for worker in workers if worker not in first], job, say=say)
        if _have_ended(workers) or (ending is not None and now - ending > STOP_SECONDS):
            return _judge(workers, first, job)
        if now - begun > deadline_seconds:
            why = f"it is still {_states(workers)}"
            raise WaitTimedOut(f"training {job.name}", f"waited {now - begun:.0f} s", why, "kennel down --yes")
        if now - said >= SILENCE_SECONDS:
            say(f"training {job.name}: {_states(workers)}, {now - begun:.0f} s")
            said = now
        sleep(POLL_SECONDS)


def stop(workers: Sequence[Worker], job: RemoteJob, *, say: Say = say) -> None:
    """Have the job end with its checkpoints stored, on every instance that can still be reached."""
    for worker in workers:
        try:
            worker.remote.run(_to_supervisor(job, "TERM"), check=False)
        except (RemoteFailed, WaitTimedOut) as error:
            say(f"{worker.label}: could not be told to stop: {error.what}")


def read_status(worker: Worker, job: RemoteJob) -> dict[str, Any]:
    """Return status.json of an instance, {} when there is none yet."""
    content = worker.remote.read_from(f"{job.folder}/status.json", 0).strip()
    found: dict[str, Any] = json.loads(content) if content else {}
    return found


def _each(workers: Sequence[Worker], ask: Callable[[Worker], object], clock: Callable[[], float], say: Say) -> bool:
    """Ask every worker that has not ended; a broken connection is made again. Tell whether any had something."""
    heard = False
    for worker in workers:
        if worker.status.get("state") in FINAL:
            continue
        try:
            if worker.unheard_since is not None:
                worker.remote.reconnect()
                say(f"{worker.label}: connected again; the training went on meanwhile")
                worker.unheard_since = None
            heard = bool(ask(worker)) or heard
        except (ConnectionLost, WaitTimedOut) as error:
            heard = _lost(worker, error, clock, say) or heard
    return heard


def _lost(worker: Worker, error: RemoteFailed | WaitTimedOut, clock: Callable[[], float], say: Say) -> bool:
    """Note a lost connection; an instance that has ended is an interruption, one that runs is tried for 300 s."""
    reason = worker.is_gone()
    if reason is not None:
        worker.status |= {"state": "interrupted", "instance_ended": reason, "error": f"the instance ended: {reason}"}
        return False
    if worker.unheard_since is None:
        worker.unheard_since = clock()
        say(f"{worker.label}: connection lost ({error.what}); what runs there goes on; connecting again")
        return True
    if clock() - worker.unheard_since > RECONNECT_SECONDS:
        raise error
    return False


def _hear(worker: Worker, job: RemoteJob, say: Say) -> bool:
    """Take the new part of the log, and the status after it, so that a final status finds its log complete."""
    status = read_status(worker, job)
    offset = worker.log.stat().st_size if worker.log.exists() else 0
    new = bytearray()
    while part := worker.remote.read_from(f"{job.folder}/log.txt", offset + len(new)):
        new += part
    with worker.log.open("ab") as file:
        file.write(new)
    for line in bytes(new).decode(errors="replace").splitlines():
        say(f"{worker.label} | {_cut(line)}")
    worker.status = status
    return bool(new)


def _beat(worker: Worker, heartbeat: str, say: Say) -> bool:
    """Put the dead-man's switch off; if that is refused, the training runs on until the switch ends the instance."""
    done = worker.remote.run(heartbeat, check=False)
    if done.exit_status != 0:
        said = done.stderr.decode(errors="replace").strip()
        say(f"{worker.label}: WARNING: its dead-man's switch could not be put off: {said}")
    return done.exit_status != 0


def _check_alive(worker: Worker, job: RemoteJob) -> bool:
    """A supervisor that is gone without a final state was killed."""
    if worker.status.get("state") in FINAL or _is_alive(worker, job):
        return False
    worker.status = read_status(worker, job)
    if worker.status.get("state") not in FINAL:
        worker.status |= {"state": "failed", "error": "the supervisor on the instance is gone (killed, or no memory)"}
    return True


def _is_alive(worker: Worker, job: RemoteJob) -> bool:
    return worker.remote.run(_to_supervisor(job, "0"), check=False).exit_status == 0


def _to_supervisor(job: RemoteJob, signal: str) -> str:
    return f'kill -{signal} "$(cat {shlex.quote(job.folder)}/pid)"'


def _have_ended(workers: Sequence[Worker]) -> bool:
    return all(worker.status.get("state") in FINAL for worker in workers)


def _judge(workers: Sequence[Worker], first: Sequence[Worker], job: RemoteJob) -> Outcome:
    """Decide from what the workers told; `first` ended badly before the others, which were then told to stop.

    An instance that was taken back is an interruption for all, also if another one's training noticed it earlier.
    """
    taken = [worker for worker in workers if "spot_notice" in worker.status or "instance_ended" in worker.status]
    failed = [worker for worker in first if worker.status.get("state") == "failed"]
    if failed and not taken:
        raise _failure(failed[0], job)
    statuses = tuple(dict(worker.status) for worker in workers)
    if first:
        return Outcome("interrupted", str((taken or first)[0].status.get("error")), statuses)
    return Outcome("completed", "", statuses)


def _failure(worker: Worker, job: RemoteJob) -> StageFailed:
    lines = worker.log.read_text(errors="replace").splitlines()[-TAIL_LINES:] if worker.log.exists() else []
    tail = "\n".join(f"    {_cut(line)}" for line in lines) or "    (no log lines arrived)"
    why = f"{_cut(str(worker.status.get('error')))}\n{tail}"
    look = f"less {worker.log}; then run the same command again"
    return StageFailed(f"training {job.name}", f"it failed on {worker.label}", why, look)


def _cut(text: str) -> str:
    """Shorten what is for a person; the log file has it whole."""
    return text if len(text) <= LINE_CHARACTERS else f"{text[:LINE_CHARACTERS]}… ({len(text):,} characters)"


def _states(workers: Sequence[Worker]) -> str:
    return ", ".join(f"{worker.label} {_state(worker)}" for worker in workers)


def _state(worker: Worker) -> str:
    return "not reached" if worker.unheard_since is not None else str(worker.status.get("state", "starting"))


# --- after ------------------------------------------------------------------------------------------------------------


def collect(
    worker: Worker,
    job: RemoteJob,
    archive: Path,
    *,
    say: Say = say,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Bring the model back to `archive`, its sha256 held against what the instance measured; return the sha256.

    A connection that breaks is made again for as long as while following: the instance has the only copy.

    Raises:
        RemoteFailed: it arrived otherwise than it was packed.
        ConnectionLost: the instance was not reached again within 300 s, or it has ended.
    """
    told = worker.status["model"]
    archive.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    while True:
        try:
            if worker.unheard_since is not None:
                worker.remote.reconnect()
            moved = get(worker.remote, f"{job.folder}/model.tar.gz", archive)
            break
        except ConnectionLost as error:
            if worker.is_gone() is not None:
                raise
            _lost(worker, error, clock, say)
            sleep(POLL_SECONDS)
    worker.unheard_since = None
    if moved.sha256 != told["sha256"]:
        what = f"model.tar.gz has sha256 {moved.sha256[:12]}…, the instance packed {told['sha256'][:12]}…"
        raise RemoteFailed(worker.label, what, "it was changed on the instance after it was packed", "run it again")
    return moved.sha256
