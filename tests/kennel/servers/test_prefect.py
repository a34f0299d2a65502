"""Prefect's server dies while a flow runs: that is said, and it comes back on its port or the command ends."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from kennel.servers import prefect, processes
from kennel.servers.prefect_watch import MOST_STARTS, PrefectWatch
from tasks.run.errors import StageFailed
from tests.kennel.shell import ROOT, Terminal
from tests.polling import wait_until

OUTAGE = """
import os, signal, sys, time
from pathlib import Path
from kennel.servers import environment, prefect
from kennel.terminal import console
console.begin("outage")
where = environment.start_servers(lambda: environment.import_flow("flows.step"))
from prefect import flow
from flows.step import step
from kennel.commands.flow_run import run_flow
from tasks.run.artifacts import publish_markdown
@step("kill the server")
def kill() -> None:
    os.kill(prefect.named_server(where.home).pid, signal.SIGKILL)
@step("add")
def add(number: int) -> int:
    return number + 1
@flow
async def inner(number: int) -> int:
    await publish_markdown("loadtest", "dogs-1", "text", folder=where.home)
    return await add(number)
@flow
async def outer() -> int:
    await kill()
    return await inner(await add(1))
print(run_flow(outer(), where))
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_flow_whose_prefect_server_was_killed_ends_with_its_result(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs", {"KENNEL_ACCOUNT_ID": "111111111111"})
    try:
        done = subprocess.run(
            [sys.executable, "-c", OUTAGE],
            cwd=ROOT,
            env=terminal.environment,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
    finally:
        processes.stop(terminal.home, prefect.NAME)
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
    assert "Prefect's server has ended" in done.stderr
    assert "answers again after" in done.stderr
    assert terminal.processes() == []


def test_a_server_that_cannot_be_started_again_is_an_error_and_not_a_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("PREFECT_API_URL", prefect.api_url(url))
        server = processes.spawn(tmp_path, prefect.NAME, ["/bin/sleep", "300"], environment=os.environ, url=url)
        watch = PrefectWatch(tmp_path, said.append)
        watch.look()
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(StageFailed, match="it was started again 3 times and ended each time"):
            wait_until(watch.look, "the watch to give up", seconds=60)
    assert len(said) == MOST_STARTS
    assert f"process {server.pid}" in said[0]


def test_a_new_server_takes_the_port_of_the_one_before_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    before = processes.spawn(tmp_path, prefect.NAME, ["/bin/true"], environment={}, url=f"http://127.0.0.1:{port}")
    wait_until(lambda: not before.is_alive, "its end")
    try:
        assert prefect.port_of(prefect.begin(tmp_path)) == port
    finally:
        processes.stop(tmp_path, prefect.NAME)
