"""Ctrl-C, SIGTERM and a closed terminal at every stage: one message, the signal's exit code, nothing left that costs.

A stage is held by an answer of AWS that does not come, so that the signal meets it and nothing has to be trained.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import boto3
import psutil
import pytest

from tests.command_lines import command_line
from tests.counting_proxy import Calls
from tests.kennel.shell import ROOT, Terminal
from tests.kennel.signalled import CODES, check, held, send, started, wait_for_stage
from tests.keys import for_boto3
from tests.polling import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

QUICK = ("--backbone", "efficientnet_lite0", "--epochs", "3", "--views", "1")
ALONE = """
import asyncio, subprocess, sys
from pathlib import Path
from kennel.commands.flow_run import run_flow
from kennel.commands.interrupted import handle_interrupts
from kennel.servers.environment import Environment
from tasks.run.settings import REAL_AWS, Settings
async def flow():
    child = subprocess.Popen(["sleep", "300"], start_new_session=True)
    print(child.pid, flush=True)
    await asyncio.to_thread(child.wait)
handle_interrupts()
settings = Settings.load()
run_flow(flow(), Environment(settings.home, settings.runs, REAL_AWS, {}))
"""


@pytest.mark.parametrize("number", CODES)
def test_each_signal_ends_the_command_at_once_and_its_helpers_with_it(tmp_path: Path, number: signal.Signals) -> None:
    with started(Terminal(tmp_path / "home", tmp_path / "runs"), "-c", ALONE) as process:
        assert process.stdout is not None
        helper = psutil.Process(int(process.stdout.readline()))
        done = send(process, number)
    check(done, number)
    wait_until(lambda: command_line(helper) == "", "the end of its helper")


def test_a_command_without_a_flow_ends_with_the_code_of_the_signal_too(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs")
    run = terminal.runs / "r"
    (run / "ec2").mkdir(parents=True)
    (run / "ledger.jsonl").touch()
    (run / "ec2" / "i-0.log").write_text("a line\n")
    with started(terminal, "-m", "kennel", "logs", "--source", "ec2", "--follow") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "i-0 | a line\n"
        check_code = send(process, signal.SIGTERM)
    assert check_code.code == 143, check_code.err
    assert "kennel: interrupted" in check_code.err and "Traceback" not in check_code.err
    assert "local servers" not in check_code.err, "none was started"


def test_a_command_whose_terminal_was_closed_ends_with_129(tmp_path: Path) -> None:
    program = "import os, signal; from kennel import cli; cli.app.default(lambda: os.kill(os.getpid(), signal.SIGHUP))"
    terminal = Terminal(tmp_path / "home", tmp_path / "runs")
    main, side = os.openpty()
    os.close(main)
    command = [sys.executable, "-c", f"{program}; import sys; sys.argv[1:] = ['--']; cli.main()"]
    done = subprocess.run(command, cwd=ROOT, env=terminal.environment, stderr=side, timeout=60, check=False)
    os.close(side)
    assert done.returncode == 129


@pytest.mark.parametrize("number", CODES)
def test_a_signal_while_the_command_line_is_imported_ends_it_with_its_code_and_a_line(
    tmp_path: Path, number: signal.Signals
) -> None:
    """The entry point of the command, whose import of the command line finds the signal."""
    program = f"""
import os, signal, sys
import kennel_start
class Finder:
    def find_spec(self, name, *_):
        if name == "kennel.cli":
            os.kill(os.getpid(), {number.value})
sys.meta_path.insert(0, Finder())
kennel_start.main()
"""
    with started(Terminal(tmp_path / "home", tmp_path / "runs"), "-P", "-c", program) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (CODES[number], "", "\nkennel: interrupted\n")


def test_while_the_servers_start(terminal: Terminal, photos: Path) -> None:
    with started(terminal, "-m", "kennel", "run", "--data", str(photos), *QUICK) as process:
        record = terminal.home / "processes" / "prefect.json"
        wait_until(lambda: record.exists() or process.poll() is not None, "Prefect's server", seconds=90)
        check(send(process, signal.SIGTERM), signal.SIGTERM)
    assert terminal.kennel("status", "--json").answer["services"]["prefect"], "a local server outlives the command"


@pytest.mark.parametrize(
    ("operation", "number"),
    [("PUT /kennel-", signal.SIGTERM), ("SageMaker.CreateTrainingJob", signal.SIGHUP)],
    ids=["staging", "training"],
)
def test_during_a_stage_of_run(
    terminal: Terminal, calls: Calls, photos: Path, operation: str, number: signal.Signals
) -> None:
    name = f"run-{number.name.lower()}"
    arguments = ("-m", "kennel", "run", "--data", str(photos), "--run-id", name, *QUICK)
    with held(calls, operation) as stage, started(terminal, *arguments) as process:
        wait_for_stage(process, stage)
        check(send(process, number), number)


def instances(calls: Calls, run_id: str) -> list[str]:
    """Return the states of a run's instances, asking EC2."""
    ec2 = boto3.client("ec2", endpoint_url=calls.url, region_name="us-east-1", **for_boto3())
    found = ec2.describe_instances(Filters=[{"Name": "tag:kennel:run", "Values": [run_id]}])["Reservations"]
    return [item["State"]["Name"] for reservation in found for item in reservation["Instances"]]


def test_an_instance_whose_launch_was_not_answered_is_terminated_first(
    terminal: Terminal, calls: Calls, photos: Path
) -> None:
    arguments = ("-m", "kennel", "train-ec2", "--data", str(photos), "--run-id", "launch", *QUICK)
    with held(calls, "RunInstances") as stage, started(terminal, *arguments) as process:
        wait_for_stage(process, stage)
        assert instances(calls, "launch") != []
        done = send(process, signal.SIGTERM)
    check(done, signal.SIGTERM)
    assert "its EC2 instances are terminated first" in done.err
    assert set(instances(calls, "launch")) <= {"shutting-down", "terminated"}


def test_a_third_signal_ends_the_termination_too(terminal: Terminal, calls: Calls, photos: Path) -> None:
    arguments = ("-m", "kennel", "train-ec2", "--data", str(photos), "--run-id", "twice", *QUICK)
    with (
        held(calls, "RunInstances") as launch,
        held(calls, "TerminateInstances") as termination,
        started(terminal, *arguments) as process,
    ):
        wait_for_stage(process, launch)
        process.send_signal(signal.SIGHUP)
        wait_for_stage(process, termination)
        process.send_signal(signal.SIGHUP)  # bash and the kernel each send one when a terminal is closed
        wait_until(lambda: _ends(process, signal.SIGINT), "the end by Ctrl-C", seconds=60)
        done = send(process, signal.SIGINT)
    assert done.code == 129, "the code is the first signal's"
    assert "interrupted again" in done.err and "Traceback" not in done.err


def _ends(process: subprocess.Popen[str], number: signal.Signals) -> bool:
    """Send a signal, and tell whether the command has ended."""
    process.send_signal(number)
    return process.poll() is not None


def test_nothing_of_it_is_left_after_down(terminal: Terminal) -> None:
    assert terminal.kennel("down", "--yes").code == 0
    assert terminal.processes() == []
