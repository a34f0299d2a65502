"""A real localaws in a process of its own, on a free port, with a home of its own: one for all tests.

`--no-processes` leaves out what starts one. No test is marked for it: a test is skipped at the moment when it, or a
fixture that it uses, starts a process.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.model import OperationModel

from tests.shapes import check_reply

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 30.0
STARTS_A_PROCESS = {"subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "os.system"}
"""Audit events of Python: https://docs.python.org/3/library/audit_events.html"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-processes", action="store_true", help="skip each test at the moment it starts a process")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--no-processes"):
        sys.addaudithook(_skip_a_test_that_starts_a_process)


def _skip_a_test_that_starts_a_process(event: str, _: tuple[object, ...]) -> None:
    if event in STARTS_A_PROCESS and "PYTEST_CURRENT_TEST" in os.environ:
        pytest.skip("it starts a process")


@dataclass(frozen=True)
class RunningLocalAws:
    """A server under test. `environment` is a whole environment for a child process that is to use it."""

    url: str
    home: Path
    pid: int
    environment: Mapping[str, str]
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str, **config: Any) -> Any:
        """Return a client that checks every reply against botocore's model; cached when no `config` is given."""
        if not config and service in self._clients:
            return self._clients[service]
        defaults = {"retries": {"mode": "standard", "total_max_attempts": 1}, "read_timeout": 70, "connect_timeout": 5}
        client = boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="localaws",
            aws_secret_access_key="localaws",
            config=Config(**{**defaults, **config}),
        )
        client.meta.events.register("after-call", _check_shape)
        if not config:
            self._clients[service] = client
        return client


def _check_shape(http_response: Any, parsed: dict[str, Any], model: OperationModel, **_: Any) -> None:
    if http_response.status_code < 300:
        check_reply(model, parsed)


def client_environment(url: str) -> dict[str, str]:
    """Return this process's environment without its AWS settings, pointed at `url`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {
        **kept,
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "localaws",
        "AWS_SECRET_ACCESS_KEY": "localaws",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def start_server(home: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `python -m localaws` in the foreground on a free port; it is ready when `wait_for_record` returns."""
    command = [sys.executable, "-m", "localaws", "--home", str(home), "--port", "0", *arguments]
    home.mkdir(parents=True, exist_ok=True)
    with (home / "output.txt").open("a") as output:
        return subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, text=True
        )


def wait_for_url(home: Path, server: subprocess.Popen[str]) -> str:
    """Return the url that the server announces; fails with its output when it ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    output = home / "output.txt"
    while time.monotonic() < deadline and server.poll() is None:
        for line in output.read_text().splitlines():
            if line.startswith("export AWS_ENDPOINT_URL="):
                return line.partition("=")[2]
        time.sleep(0.02)
    raise AssertionError(f"localaws did not start (status {server.poll()}): {output.read_text()}")


@pytest.fixture(scope="session")
def localaws() -> Iterator[RunningLocalAws]:
    """One real server for all tests: name what you make in it so that tests cannot meet."""
    with tempfile.TemporaryDirectory(prefix="localaws-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        server = start_server(home)
        try:
            url = wait_for_url(home, server)
            yield RunningLocalAws(url=url, home=home, pid=server.pid, environment=client_environment(url))
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(20)
