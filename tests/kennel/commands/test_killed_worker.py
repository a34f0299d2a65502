"""The worker of a scheduled retraining and its process are killed: the run is settled, and the next one begins."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from kennel.servers import reaper
from tasks.registry.packages import ModelVersion
from tasks.run.options import TrainingOptions
from tasks.run.training_choice import TrainingChoice
from tests.counting_proxy import Calls
from tests.kennel.prefect_worker import PrefectServer, process_of, worker
from tests.kennel.shell import Terminal, exported
from tests.kennel.signalled import held
from tests.polling import wait_until
from tests.tasks.registry.trained_runs import account, trained_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

RUN = "dogs"
FIRST_CALL = "GetCallerIdentity"
LEAST_SECONDS, LOOKS_SECONDS, BUSY_SECONDS = 10, 5, 30
"""What Prefect allows an automation to wait at least, and how often it looks."""

PUT = """
import sys
from prefect.client.orchestration import get_client
from kennel.servers import reaper
with get_client(sync_client=True) as client:
    reaper.put(client, reaper.Limits(*map(float, sys.argv[1:])))
    for each in client.read_automations():
        print(each.name, each.id, each.trigger.within.total_seconds(), sep=";")
"""


def test_a_run_that_was_killed_in_pending_or_running_is_crashed_and_the_next_one_runs(
    terminal: Terminal, calls: Calls, tmp_path: Path
) -> None:
    make_run(terminal, calls, tmp_path)
    for _ in range(2):
        assert terminal.kennel("schedule", "set", RUN).code == 0
    variables = exported(terminal.kennel("up").out)
    usual = reaper.Limits()
    made = automations(terminal, variables, usual)
    assert {name: seconds for name, (_, seconds) in made.items()} == {
        reaper.SILENT: usual.silent_seconds,
        reaper.PENDING: usual.pending_seconds,
    }
    server = PrefectServer(variables["PREFECT_API_URL"], variables["PREFECT_API_AUTH_STRING"], calls)

    changed = automations(terminal, variables, reaper.Limits(usual.silent_seconds, LEAST_SECONDS))
    assert {name: one for name, (one, _) in changed.items()} == {name: one for name, (one, _) in made.items()}
    with worker(terminal, variables, tmp_path / "log") as running:
        pending = server.begin("retrain", RUN)
        wait_until(lambda: server.state(pending) == "PENDING", "Pending", seconds=120, every=0.05)
        kill(running, pending)
        assert server.state(pending) == "PENDING"
        assert settled(server, pending, within=LEAST_SECONDS)

    automations(terminal, variables, reaper.Limits(LEAST_SECONDS, usual.pending_seconds))
    with held(calls, FIRST_CALL) as look, worker(terminal, variables, tmp_path / "log") as running:
        dead = server.begin("retrain", RUN)
        wait_until(look.met.is_set, "the first call", seconds=120)
        process = process_of(dead)
        assert process is not None
        assert reaper.ENVIRONMENT.items() <= process.environ().items()
        kill(running, dead)
        assert server.state(dead) == "RUNNING"
        assert settled(server, dead, within=LEAST_SECONDS)

    with held(calls, FIRST_CALL) as look, worker(terminal, variables, tmp_path / "log") as running:
        following = server.begin("retrain", RUN)
        wait_until(look.met.is_set, "the first call of the next run", seconds=120)
        assert server.state(following) == "RUNNING"
        kill(running, following)


def make_run(terminal: Terminal, calls: Calls, folder: Path) -> None:
    aws = account(calls.url, folder)
    run = trained_run(type(aws)(aws.settings.model_copy(update={"runs": terminal.runs})), RUN, "dogs")
    arn = run.aws.arn("sagemaker", "model-package/kennel-dogs/1")
    run.keep(ModelVersion("kennel-dogs", 1, arn, "kennel-dogs/dogs-1", RUN, "i", "s3://b/m", "s3://b/m", "d" * 64))
    run.keep(TrainingChoice.of(TrainingOptions(views=1)))


def automations(terminal: Terminal, variables: dict[str, str], limits: reaper.Limits) -> dict[str, tuple[str, float]]:
    """Put the automations with these limits, and return the id and the seconds of each that the server has."""
    arguments = (str(limits.silent_seconds), str(limits.pending_seconds))
    done = terminal.program("-c", PUT, *arguments, more=variables)
    assert done.code == 0, done.err
    rows = [line.split(";") for line in done.out.splitlines()]
    assert len(rows) == 2, "one of each kind"
    return {name: (one, float(seconds)) for name, one, seconds in rows}


def kill(running: subprocess.Popen[bytes], flow_run: str) -> None:
    """Kill the worker and the flow run's process, which has a session of its own."""
    os.killpg(running.pid, signal.SIGKILL)
    running.wait(60)
    while process := process_of(flow_run):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
            process.wait(60)


def settled(server: PrefectServer, flow_run: str, *, within: float) -> bool:
    """Tell whether the server set the run Crashed in the time that it has for that."""
    begun = time.monotonic()
    state = wait_until(lambda: server.final_state(flow_run), "the end", seconds=within + LOOKS_SECONDS + BUSY_SECONDS)
    return state == "CRASHED" and time.monotonic() - begun < within + LOOKS_SECONDS + BUSY_SECONDS
