"""Which host of a training job failed first, and the FailureReason that the job gets from it."""

import time
from collections.abc import Sequence

from localaws.container_view import as_in_container
from localaws.sagemaker.training.hosts import HostProcess
from localaws.sagemaker.training.record import FAILURE_REASON_CHARACTERS
from localaws.sagemaker.training.requests import ML

SETTLE_SECONDS = 5.0  # for a host that has written its failure file to end by itself
POLL_SECONDS = 0.02
FAILURE_TAIL_LINES = 20


def first_to_fail(running: Sequence[HostProcess]) -> HostProcess:
    """Return the host that failed first; the first to fail need not be the first to end.

    Hosts that have written a failure file get time to end by themselves.
    """
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline and any(each.status() is None and each.host.failure() for each in running):
        time.sleep(POLL_SECONDS)
    return min(running, key=_failed_at)


def failure_reason(ended: HostProcess, failure: str | None) -> str:
    """Return AWS's FailureReason: what the failure file says, without one the end of the log, and the exit code."""
    text = failure if failure is not None else "\n".join(list(ended.tail)[-FAILURE_TAIL_LINES:])
    suffix = f", exit code: {ended.status()}"
    return f"AlgorithmError: {text[: FAILURE_REASON_CHARACTERS - len('AlgorithmError: ') - len(suffix)]}{suffix}"


def as_hosts_see(text: str, running: Sequence[HostProcess]) -> str:
    """Return a text with the paths at which the hosts see their files, in place of those of this machine."""
    for each in running:
        text = as_in_container(text, each.host.ml, str(ML))
    return text


def _failed_at(running: HostProcess) -> float:
    """Return when a host failed: when it said so, else when it ended; a host that did neither comes last."""
    failure, status = running.host.failure(), running.status()
    times = [failure[0]] if failure else []
    if status not in (None, 0) and running.ended is not None:
        times.append(running.ended)
    return min(times, default=float("inf"))
