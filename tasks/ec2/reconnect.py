"""Meets lost SSH connections during a training: reconnects for up to 300 s, because the job goes on without us."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tasks.ec2.job import RemoteJob
from tasks.ec2.worker import FINAL, POLL_SECONDS, Worker
from tasks.run.errors import ConnectionLost, RemoteFailed, WaitTimedOut
from tasks.run.waiting import REAL_TIME, Waiting
from tasks.ssh.transfer import get

RECONNECT_SECONDS = 300.0


def ask_each(workers: Sequence[Worker], ask: Callable[[Worker], object], waiting: Waiting) -> bool:
    """Ask every worker that has not ended, after reconnecting where that is needed; tell whether any had news."""
    has_news = False
    for worker in workers:
        if worker.state in FINAL:
            continue
        try:
            if worker.disconnected_since is not None:
                worker.remote.reconnect()
                waiting.say(f"{worker.label}: connected again; the training continued meanwhile")
                worker.disconnected_since = None
            has_news = bool(ask(worker)) or has_news
        except (ConnectionLost, WaitTimedOut) as error:
            has_news = handle_lost_connection(worker, error, waiting) or has_news
    return has_news


def handle_lost_connection(worker: Worker, error: RemoteFailed | WaitTimedOut, waiting: Waiting) -> bool:
    """Record that the connection is lost, as an interruption if the instance has ended; tell whether that is news.

    Raises:
        ConnectionLost, WaitTimedOut: the instance runs and could not be reached for 300 s; this is `error` itself.
    """
    reason = worker.why_gone()
    if reason is not None:
        worker.status |= {"state": "interrupted", "instance_ended": reason, "error": f"the instance ended: {reason}"}
        return False
    if worker.disconnected_since is None:
        worker.disconnected_since = waiting.clock()
        waiting.say(f"{worker.label}: connection lost ({error.what}); the training there continues; connecting again")
        return True
    if waiting.clock() - worker.disconnected_since > RECONNECT_SECONDS:
        raise error
    return False


def download_model(worker: Worker, job: RemoteJob, archive: Path, *, waiting: Waiting = REAL_TIME) -> str:
    """Download the model to `archive`, check its sha256 against the instance's, and return the sha256.

    Only the instance has the model, so a broken connection is made again for as long as while following the job.

    Raises:
        RemoteFailed: the file differs from the one that the instance packed.
        ConnectionLost: the instance was not reached again within 300 s, or it has ended.
    """
    packed = worker.status["model"]
    archive.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    while True:
        try:
            if worker.disconnected_since is not None:
                worker.remote.reconnect()
            received = get(worker.remote, f"{job.folder}/model.tar.gz", archive)
            break
        except ConnectionLost as error:
            if worker.why_gone() is not None:
                raise
            handle_lost_connection(worker, error, waiting)
            waiting.sleep(POLL_SECONDS)
    worker.disconnected_since = None
    if received.sha256 != packed["sha256"]:
        what = f"model.tar.gz has sha256 {received.sha256[:12]}…, the instance packed {packed['sha256'][:12]}…"
        why = "the file was changed on the instance after it was packed"
        raise RemoteFailed(worker.label, what, why, "run the same command again")
    return received.sha256
