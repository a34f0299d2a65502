"""Which host of a training job failed first, and the FailureReason that the job gets from it."""

import time
from collections.abc import Sequence

from localaws.sagemaker.jobs.hosts import Host, HostProcess
from localaws.sagemaker.training.record import FAILURE_REASON_CHARACTERS

SETTLE_SECONDS = 5.0  # for a host that has written its failure file to end by itself
POLL_SECONDS = 0.02
FAILURE_TAIL_LINES = 20


def first_to_fail(running: Sequence[HostProcess]) -> HostProcess:
    """Return the host that failed first; the first to fail need not be the first to end.

    Hosts that have written a failure file get time to end by themselves.
    """
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline and any(each.status() is None and failure_of(each.host) for each in running):
        time.sleep(POLL_SECONDS)
    return min(running, key=_failed_at)


def failure_reason(ended: HostProcess, failure: str | None) -> str:
    """Return AWS's FailureReason: what the failure file says, without one the end of the log, and the exit code."""
    text = failure if failure is not None else "\n".join(list(ended.tail)[-FAILURE_TAIL_LINES:])
    suffix = f", exit code: {ended.status()}"
    return f"AlgorithmError: {text[: FAILURE_REASON_CHARACTERS - len('AlgorithmError: ') - len(suffix)]}{suffix}"


def failure_of(host: Host) -> tuple[float, str] | None:
    """Return when the failure file was written (Unix time) and how it begins; None without one or if empty."""
    found = host.left("failure")
    text = found[1].decode(errors="replace").strip() if found else ""
    return (found[0], text) if found and text else None


def _failed_at(running: HostProcess) -> float:
    """Return when a host failed: when it said so, else when it ended; a host that did neither comes last."""
    failure, status = failure_of(running.host), running.status()
    times = [failure[0]] if failure else []
    if status not in (None, 0) and running.ended is not None:
        times.append(running.ended)
    return min(times, default=float("inf"))
