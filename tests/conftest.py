"""A real localaws in a process of its own, on a free port, with a home of its own: one for all tests.

`--no-processes` leaves out what starts one. No test is marked for it: a test is skipped at the moment when it, or a
fixture that it uses, starts a process.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.model import OperationModel
from hypothesis import HealthCheck, settings

from tests.keys import for_boto3, for_environment, give_keys
from tests.polling import wait_until
from tests.shapes import check_reply

ROOT = Path(__file__).resolve().parents[1]
STOP_SECONDS = 60.0
STARTS_A_PROCESS = {"subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "os.system"}
"""Audit events of Python: https://docs.python.org/3/library/audit_events.html"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-processes", action="store_true", help="skip each test at the moment it starts a process")


settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")  # how long an example takes is not what these tests are about


def pytest_configure(config: pytest.Config) -> None:
    os.environ.update(for_environment())
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job, and so its children, ignores it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if config.getoption("--no-processes"):
        sys.addaudithook(_skip_a_test_that_starts_a_process)
        signal.signal(signal.SIGUSR1, lambda *_: _skip_if_running(_started_by))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with slow tests first: a long file that one process begins last leaves the others idle."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


_started_by: list[str] = []
"""The tests, with their phase, of which another thread started a process."""


def _skip_a_test_that_starts_a_process(event: str, _: tuple[object, ...]) -> None:
    if event not in STARTS_A_PROCESS or "PYTEST_CURRENT_TEST" not in os.environ:
        return
    if threading.current_thread() is not threading.main_thread():  # what it raises does not end the test, which waits
        _started_by.append(os.environ["PYTEST_CURRENT_TEST"])
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
    pytest.skip("it starts a process")


def _skip_if_running(tests: list[str]) -> None:
    if os.environ.get("PYTEST_CURRENT_TEST") in tests:
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
            **for_boto3(),
            config=Config(**{**defaults, **config}),
        )
        client.meta.events.register("after-call", _check_shape)
        if not config:
            self._clients[service] = client
        return client

    def metric_sum(self, namespace: str, metric: str, dimensions: Mapping[str, str]) -> float:
        """Return the sum of a metric over the hour before now and the one after."""
        now, hour = datetime.now(UTC), timedelta(hours=1)
        points = self.client("cloudwatch").get_metric_statistics(
            Namespace=namespace,
            MetricName=metric,
            Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
            StartTime=now - hour,
            EndTime=now + hour,
            Period=60,
            Statistics=["Sum"],
        )["Datapoints"]
        return float(sum(point["Sum"] for point in points))


def _check_shape(http_response: Any, parsed: dict[str, Any], model: OperationModel, **_: Any) -> None:
    if http_response.status_code < 300:
        check_reply(model, parsed)


def client_environment(url: str) -> dict[str, str]:
    """Return this process's environment without its AWS settings, pointed at `url`, with the root user's key."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return {
        **kept,
        "AWS_ENDPOINT_URL": url,
        **for_environment(),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def start_server(home: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `python -m localaws` in the foreground on a free port; it is ready when `wait_for_record` returns."""
    command = [sys.executable, "-m", "localaws", "--home", str(home), "--port", "0", *arguments]
    give_keys(home)
    with (home / "output.txt").open("a") as output:
        return subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, text=True
        )


def wait_for_url(home: Path, server: subprocess.Popen[str]) -> str:
    """Return the url that the server announces; fails with its output when it ends or takes too long."""
    marker = "export AWS_ENDPOINT_URL="

    def read() -> str:
        said = (home / "output.txt").read_text()
        assert server.poll() is None, f"localaws did not start (status {server.poll()}): {said}"
        return said

    said = wait_until(read, "localaws to start", holds=lambda said: marker in said, seconds=120)
    return next(line.removeprefix(marker) for line in said.splitlines() if line.startswith(marker))


@contextmanager
def running_localaws(*arguments: str) -> Iterator[RunningLocalAws]:
    """Run a server with a home of its own until the block ends."""
    with tempfile.TemporaryDirectory(prefix="localaws-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        server = start_server(home, *arguments)
        try:
            url = wait_for_url(home, server)
            yield RunningLocalAws(url=url, home=home, pid=server.pid, environment=client_environment(url))
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(STOP_SECONDS)


@pytest.fixture(scope="session")
def localaws() -> Iterator[RunningLocalAws]:
    """One real server for all tests: name what you make in it so that tests cannot meet."""
    with running_localaws() as server:
        yield server


@pytest.fixture(scope="module")
def own_localaws() -> Iterator[RunningLocalAws]:
    """A server of the module's own: for tests that remove everything of kennel's, or count all that there is."""
    with running_localaws() as server:
        yield server
