"""A localaws whose emulated minute lasts half a second, with AWS's view of the time."""

import json
import signal
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tasks.run.settings import Settings
from tests.conftest import STOP_SECONDS, RunningLocalAws, client_environment, start_server, wait_for_url
from tests.keys import bearer

SCALE = 120


@dataclass(frozen=True)
class ScaledServer:
    """A server under test whose time runs faster: at scale 120 an emulated minute is half a second."""

    localaws: RunningLocalAws

    def client(self, service: str) -> Any:
        return self.localaws.client(service)

    def clock(self) -> dict[str, float]:
        """Return what the server says of its clock."""
        told: dict[str, float] = self.ask("/_localaws/clock")
        return told

    def settings(self, folder: Path) -> Settings:
        """Return settings for this server and its clock, with home and runs in a folder."""
        clock = self.clock()
        return Settings(
            endpoint_url=self.localaws.url,
            home=folder / "home",
            runs=folder / "runs",
            max_attempts=1,
            time_scale=clock["scale"],
            clock_origin=clock["origin"],
        )

    def now(self) -> float:
        """Return the emulated time in Unix seconds."""
        return self.clock()["now"]

    def ask(self, path: str, body: Any = None) -> Any:
        """GET, or POST `body` as JSON, from one of localaws's own paths."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.localaws.url + path, data, dict(bearer()))
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def sums(
        self, namespace: str, metric: str, dimensions: dict[str, str], statistic: str = "Sum", period: int = 60
    ) -> dict[int, float]:
        """Return a metric's statistic by the period of emulated time, all of it."""
        clock = self.clock()
        points = self.client("cloudwatch").get_metric_statistics(
            Namespace=namespace,
            MetricName=metric,
            Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
            StartTime=moment(clock["origin"] - 3600),
            EndTime=moment(clock["now"] + 3600),
            Period=period,
            Statistics=[statistic],
        )["Datapoints"]
        return {int(point["Timestamp"].timestamp()): point[statistic] for point in points}

    def alarm(self, name: str) -> dict[str, Any]:
        """Return an alarm as CloudWatch describes it."""
        (found,) = self.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
        described: dict[str, Any] = found
        return described


def moment(second: float) -> datetime:
    """Return a Unix time as boto3 takes it."""
    return datetime.fromtimestamp(second, UTC)


@contextmanager
def scaled_server(*arguments: str, scale: int = SCALE) -> Iterator[ScaledServer]:
    """Run a server at a time scale."""
    with tempfile.TemporaryDirectory(prefix="localaws-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        server = start_server(home, "--time-scale", str(scale), *arguments)
        try:
            url = wait_for_url(home, server)
            yield ScaledServer(RunningLocalAws(url, home, server.pid, client_environment(url)))
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(STOP_SECONDS)
