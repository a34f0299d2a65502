"""The embedded AWS is killed while it trains, makes the endpoint and is load-tested: the same command ends well."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tasks.run.ledger_contents import inspect_ledger
from tests.kennel.shell import ROOT, Terminal
from tests.polling import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

RUN, STAGE_SECONDS = "colours", 400.0
ONCE_MORE = (
    "import sys; from kennel.cli import call; [print('ENDED', call(sys.argv[1:]), flush=True) for _ in range(4)]"
)
"""The same command four times in one process, which imports Prefect and the SDK once."""

WHAT = "localaws, the embedded AWS of this home, ended while the command ran (process "
WHY = "all that it had was in its memory and is lost; the first sign was: "
NEXT = "run the same command again: it starts another one and makes anew what was lost"


class Commands:
    """The process that repeats the command, and what it wrote."""

    def __init__(self, terminal: Terminal, folder: Path, *arguments: str) -> None:
        self.terminal, self.ended = terminal, 0
        self.out, self.err = folder / "out.txt", folder / "err.txt"
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-c", ONCE_MORE, *arguments],
                cwd=ROOT,
                env=terminal.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def live_kinds(self) -> set[str]:
        return {row.kind for row in inspect_ledger(self.terminal.runs / RUN).live}

    def kill_server_when(self, look: Callable[[], bool], what: str) -> int:
        """Kill localaws as soon as `look` is true, and return its port."""
        wait_until(lambda: look() or not self._runs(), what, seconds=STAGE_SECONDS)
        assert self._runs(), self.err.read_text()[-3000:]
        record = self.server()
        os.kill(record["pid"], signal.SIGKILL)
        return int(record["port"])

    def server(self) -> dict[str, Any]:
        return dict(json.loads((self.terminal.home / "localaws" / "server.json").read_text()))

    def next_code(self) -> int:
        """Return the exit code of the command that ends next."""
        self.ended += 1
        codes = wait_until(
            self._codes, "the command to end", STAGE_SECONDS, holds=lambda found: len(found) >= self.ended
        )
        return codes[self.ended - 1]

    def _codes(self) -> list[int]:
        lines = self.out.read_text().splitlines()
        return [int(line.removeprefix("ENDED ")) for line in lines if line.startswith("ENDED ")]

    def _runs(self) -> bool:
        return len(self._codes()) == self.ended and self.process.poll() is None


@pytest.fixture
def commands(tmp_path: Path, photos: Path) -> Iterator[Commands]:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs")
    training = ("--backbone", "efficientnet_lite0", "--epochs", "1", "--views", "1")
    load = ("--load-rate-per-second", "20", "--load-seconds", "1")
    commands = Commands(terminal, tmp_path, "run", "--data", str(photos), "--run-id", RUN, *training, *load, "--json")
    try:
        yield commands
    finally:
        commands.process.kill()
        commands.process.wait(60)
        terminal.take_down()


def test_a_server_that_is_killed_in_any_stage_is_followed_by_one_on_which_the_same_command_ends_well(
    commands: Commands,
) -> None:
    plan = commands.terminal.runs / RUN / "loadtest" / "plan.json"
    moments = {
        "a training job": lambda: "training-job" in commands.live_kinds(),
        "an endpoint": lambda: "endpoint" in commands.live_kinds(),
        "a load test": plan.exists,
    }
    ports = set()
    for what, look in moments.items():
        ports.add(commands.kill_server_when(look, what))
        assert commands.next_code() == 5, commands.err.read_text()[-3000:]
    assert commands.next_code() == 0, commands.err.read_text()[-3000:]
    assert ports == {commands.server()["port"]}, "the next server takes the port of the killed one"

    said = commands.err.read_text()
    for error in errors_of(commands):
        assert error["kind"] == "Unreachable" and error["what"].startswith(WHAT), error
        assert error["why"].startswith(WHY) and error["next"] == NEXT
    assert said.count("lost with the embedded AWS, which was started again") == 3
    assert "Traceback" not in said
    answer = json.loads(commands.out.read_text().splitlines()[-2])
    assert answer["loadtest"]["failures"] == 0 and answer["test_accuracy"] >= 0.5
    endpoint = client(commands, "sagemaker").describe_endpoint(EndpointName=answer["endpoint"])
    assert endpoint["EndpointStatus"] == "InService"
    assert inspect_ledger(commands.terminal.runs / RUN).faults == ()
    down_after_another_kill(commands)


def errors_of(commands: Commands) -> list[dict[str, str]]:
    """Return the errors that the commands printed as JSON."""
    lines = [json.loads(line) for line in commands.out.read_text().splitlines() if line.startswith("{")]
    errors = [line["error"] for line in lines if "error" in line]
    assert len(errors) == 3
    return errors


def down_after_another_kill(commands: Commands) -> None:
    """Rows of the dead server are closed, and what it left running is ended."""
    os.kill(commands.server()["pid"], signal.SIGKILL)
    assert commands.terminal.processes(), "nothing was left: the test would prove nothing"
    done = commands.terminal.kennel("down", "--yes", "--json")
    assert done.code == 0, done.err
    assert f"endpoint kennel-{RUN}-endpoint" in done.answer["forgotten"]
    assert commands.terminal.processes() == []
    assert commands.terminal.kennel("status", "--json").answer["runs"][0]["lost"] == []


def client(commands: Commands, service: str) -> Any:
    server = commands.server()
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{server['port']}",
        aws_access_key_id=server["access_key_id"],
        aws_secret_access_key=server["secret_access_key"],
    )
