"""The embedded AWS is stopped while a flow runs: that is told within seconds, again and again, and the flow goes on."""

import json
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest

from kennel.servers import localaws
from tests.kennel.shell import Terminal, terminal_with_servers
from tests.kennel.signalled import started

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

RUN = "paused"
QUICK = ("--backbone", "efficientnet_lite0", "--epochs", "1", "--views", "1", "--no-loadtest", "--json")


class Lines:
    """The lines of a stream, each with the time at which it came."""

    def __init__(self, stream: IO[str]) -> None:
        self._lines: queue.Queue[tuple[float, str]] = queue.Queue()
        self._seen = ""
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def wait_for(self, text: str, *, seconds: float) -> float:
        """Return when the next line with the text came."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            with suppress(queue.Empty):
                at, line = self._lines.get(timeout=left)
                self._seen += line
                if text in line:
                    return at
        raise AssertionError(f"no line with {text!r} in {seconds:g} s: {self._seen}")

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._lines.put((time.monotonic(), line))


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    with terminal_with_servers(tmp_path) as terminal:
        yield terminal


def test_a_stopped_aws_is_told_while_a_flow_runs_and_the_flow_goes_on_when_it_does(
    terminal: Terminal, photos: Path
) -> None:
    server = localaws.find(terminal.home)
    assert server is not None
    told = f"a signal stopped process {server.pid} (SIGSTOP), and kill -CONT {server.pid} lets it go on"
    with started(terminal, "-m", "kennel", "run", "--data", str(photos), "--run-id", RUN, *QUICK) as process:
        assert process.stderr is not None and process.stdout is not None
        lines = Lines(process.stderr)
        lines.wait_for("train on SageMaker: begins", seconds=200)
        os.kill(server.pid, signal.SIGSTOP)
        stopped = time.monotonic()
        try:
            first = lines.wait_for(told, seconds=90)
            second = lines.wait_for(told, seconds=90)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert first - stopped < 60 and second - first < 60, "8 to 10 s each on a machine that is not busy"
        lines.wait_for("localaws answers again after", seconds=90)
        answer = json.loads(process.stdout.read())
        assert process.wait(120) == 0
    assert answer["run_id"] == RUN and answer["test_images"] > 0
