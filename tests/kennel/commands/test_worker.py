"""A `prefect worker` or its flow run ends while an instance starts: nothing that costs is left."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.counting_proxy import Calls
from tests.kennel.prefect_worker import PrefectServer, worker
from tests.kennel.shell import Terminal
from tests.kennel.signalled import held, send, started, wait_for_stage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

TRAINING = {"backbone": "efficientnet_lite0", "epochs": 3, "views": 1}


def test_the_end_of_a_worker_or_of_its_flow_run_terminates_the_instances(
    terminal: Terminal, calls: Calls, photos: Path, tmp_path: Path
) -> None:
    stage(terminal, calls, photos)
    exported = terminal.kennel("up")
    prefect = dict(line.removeprefix("export ").split("=", 1) for line in exported.out.splitlines())
    deployed = terminal.program("-m", "prefect", "--no-prompt", "deploy", "--name", "train_ec2", more=prefect)
    assert deployed.code == 0, deployed.out + deployed.err
    server = PrefectServer(prefect["PREFECT_API_URL"], prefect["PREFECT_API_AUTH_STRING"], calls)
    end = partial(server.end_while_an_instance_starts, "train_ec2", {"run_id": "staged", "training": TRAINING})
    for kill, number in ((os.kill, signal.SIGKILL), (os.kill, signal.SIGTERM), (os.killpg, signal.SIGTERM)):
        with worker(terminal, prefect, tmp_path / "worker.log") as running:
            assert end(partial(kill, running.pid, number)) in {"CRASHED", "CANCELLED"}, f"{kill.__name__} {number.name}"
    with worker(terminal, prefect, tmp_path / "worker.log"):
        assert end("SIGKILL") == "CRASHED"
    (status,) = terminal.kennel("status", "staged", "--json").answer["runs"]
    assert (status["doing"], status["interrupted"]) == (None, "train_ec2")
    said = (terminal.runs / "staged" / "guard.log").read_text()
    assert "1 EC2 instances terminated" in said
    assert "Traceback" not in said


def stage(terminal: Terminal, calls: Calls, photos: Path) -> None:
    """Stage the photos as the run `staged`, whose command ends at its launch."""
    training = ("--backbone", "efficientnet_lite0", "--epochs", "3", "--views", "1")
    arguments = ("-m", "kennel", "train-ec2", "--data", str(photos), "--run-id", "staged", *training)
    with held(calls, "RunInstances") as launch, started(terminal, *arguments) as process:
        wait_for_stage(process, launch)
        (status,) = terminal.kennel("status", "staged", "--json").answer["runs"]
        assert (status["doing"]["pid"], status["doing"]["stage"]) == (process.pid, "train_ec2")
        assert set(status["doing"]["seconds"]) == {"stage_data"}
        send(process, signal.SIGTERM)
