"""Terminates a run's EC2 instances when the flow run of a `prefect worker` that uses them ends before it did so itself.

A worker runs Prefect's hooks for its flow runs, so nobody does when the worker ends, too. This process has a session of
its own, so that no signal to the worker's job reaches it. A pipe tells it of the flow run: a byte when the instances
need it no more, and its end when the process is gone. Where the worker has ended and the flow run has not, it is ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import psutil

from tasks.run.escaping import terminal_text
from tasks.run.handle import Run
from tasks.run.ledger_contents import live_rows
from tasks.run.own_files import APPEND, open_own

FLOW_RUN = "PREFECT__FLOW_RUN_ID"
"""What Prefect sets in the environment of the process of a worker's flow run; our commands do not have it."""

LOOK_SECONDS = 0.5
END_SECONDS = 5.0
WORKER_SECONDS = 30.0
"""How long a worker that still runs has for its hooks, which terminate the instances as well."""


@contextlib.contextmanager
def guarded(run: Run) -> Iterator[None]:
    """Have the run's instances terminated if this process, or the worker that started it, ends inside the block.

    An error ends the block as usual: who raised it has terminated the instances, or keeps them as asked.

    Raises:
        OSError: no process can be started.
    """
    flow_run = os.environ.get(FLOW_RUN, "")
    if not flow_run:
        yield
        return
    end = _start(run, flow_run)
    try:
        yield
    except Exception:  # not an interruption: after that the guard looks whether the instances are gone
        _release(end)
        raise
    _release(end)


def _start(run: Run, flow_run: str) -> int:
    """Start the guard and return the end of the pipe that has to stay open while it is needed."""
    settings = run.settings
    paths = {"KENNEL_HOME": str(settings.home.resolve()), "KENNEL_RUNS": str(settings.runs.resolve())}
    read_end, write_end = os.pipe()
    log = open_own(run.folder / "guard.log", APPEND)
    command = [sys.executable, "-P", "-m", "tasks.ec2.guard", run.id, flow_run, str(os.getpid())]
    try:
        subprocess.Popen(
            command, stdin=read_end, stdout=log, stderr=log, env={**os.environ, **paths}, start_new_session=True
        )
    finally:
        os.close(read_end)
        os.close(log)
    return write_end


def _release(end: int) -> None:
    with contextlib.suppress(OSError):  # the guard was killed
        os.write(end, b".")
    os.close(end)


# --- the guard's process ----------------------------------------------------------------------------------------------


def main(run_id: str, flow_run: str, pid: int) -> None:
    """Wait for the end of the flow run with this process id, and terminate what it left."""
    flow = _process(pid)
    starters = [] if flow is None else _starters(flow, flow_run)
    if not _has_ended_early(starters):
        return
    if flow is not None:
        _end(flow, is_told=not all(map(_runs, starters)))
    run = Run.load(run_id)
    deadline = time.monotonic() + WORKER_SECONDS
    while _has_instances(run) and any(map(_runs, starters[-1:])) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    _try(partial(_terminate, run, flow_run))
    if not any(map(_runs, starters[-1:])):
        _try(partial(_mark_crashed, flow_run))  # a worker that runs knows whether it was cancelled


def _try(step: Callable[[], None]) -> None:
    try:
        step()
    except Exception as error:  # noqa: BLE001  nobody is there who would catch it
        _log(f"{type(error).__name__}: {error}")


def _terminate(run: Run, flow_run: str) -> None:
    """Terminate what is left, under the run's lock: a process that has it by now looks after the instances itself."""
    from tasks.ec2.terminate import end_instances

    with run.lock():
        if _has_instances(run):
            ended = end_instances(run)
            _log(f"flow run {flow_run} ended before its training: {len(ended)} EC2 instances terminated")


def _log(text: str) -> None:
    sys.stderr.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {terminal_text(text)}\n")


def _has_ended_early(starters: list[psutil.Process]) -> bool:
    """Wait for the flow run's byte, its end or the end of the worker; tell whether there was no byte."""
    while all(map(_runs, starters)):
        if select.select([0], [], [], LOOK_SECONDS)[0]:
            return not os.read(0, 1)
    return not (select.select([0], [], [], 0)[0] and os.read(0, 1))


def _starters(flow: psutil.Process, flow_run: str) -> list[psutil.Process]:
    """Return the processes between a flow run and its worker, and the worker last."""
    found: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        for parent in flow.parents():
            found.append(parent)
            if parent.environ().get(FLOW_RUN) != flow_run:
                break
    return found


def _process(pid: int) -> psutil.Process | None:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid)
    return None


def _runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _end(process: psutil.Process, *, is_told: bool) -> None:
    """Wait until a flow run has ended; one that `is_told` to has lost its worker, which marked and cancelled it."""
    deadline = time.monotonic() + END_SECONDS
    with contextlib.suppress(psutil.Error):
        if is_told:
            process.terminate()
        while _runs(process) and time.monotonic() < deadline:
            time.sleep(0.05)
        if _runs(process):
            process.kill()


def _has_instances(run: Run) -> bool:
    return any(row.kind == "instance" for row in live_rows(run.folder))


def _mark_crashed(flow_run: str) -> None:
    """Give the flow run its last state, unless it has one."""
    from prefect.client.orchestration import get_client
    from prefect.states import Crashed

    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(flow_run)).state
        if state is None or not state.is_final():
            message = "Its process or its worker ended; kennel terminated its EC2 instances."
            client.set_flow_run_state(UUID(flow_run), Crashed(message=message), force=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
