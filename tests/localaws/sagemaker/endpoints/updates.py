"""Updates under load: guarded deployments, what clients got meanwhile, and what DescribeEndpoint told of each step."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import pytest

from tests.localaws import outer_pid
from tests.localaws.autoscaling.autoscaling_kit import connect, invoke
from tests.localaws.sagemaker.endpoints.endpoint_models import ECHO, Workbench, workbench
from tests.localaws.scaled_server import ScaledServer

CLIENTS = 2
DEVIATIONS = 4.5  # of a binomial share: one false alarm in 150,000 shares
LOOK_SECONDS = 0.05
PAUSE_SECONDS = 0.004  # between two requests of a client: instances that start need the processors too
LEAST_REQUESTS = 40  # to tell a share from; some 150 a second are sent on two quiet cores
SLOW_ECHO = ECHO.replace("return {", "__import__('time').sleep(SECONDS)\n    return {")
THIRD_FAILS = ECHO.replace(
    "def predict_fn(data, model):",
    "photos = __import__('itertools').count(1)\n"
    "def predict_fn(data, model):\n    if next(photos) % 3 == 0: raise ValueError('a third photo')",
)


def slow(seconds: float) -> str:
    """Return the code of a model that takes so long for each request."""
    return SLOW_ECHO.replace("SECONDS", str(seconds))


@dataclass(frozen=True)
class Answer:
    """One request: when it was sent and answered, its status, and which model answered on which instance."""

    sent: float
    answered: float
    status: int
    version: str
    home: str


@dataclass(frozen=True)
class Look:
    """What DescribeEndpoint told, between two moments."""

    asked: float
    told: float
    described: dict[str, Any]

    @property
    def status(self) -> str:
        return str(self.described["EndpointStatus"])

    @property
    def pending(self) -> dict[str, Any]:
        """The first variant of the deployment in progress."""
        variants = self.described.get("PendingDeploymentSummary", {}).get("ProductionVariants", [])
        return dict(variants[0]) if variants else {}

    @property
    def step(self) -> str:
        """What is being done to the new variant, in AWS's words."""
        (told,) = self.pending.get("VariantStatus") or [{"StatusMessage": ""}]
        return str(told["StatusMessage"])


@dataclass
class Seen:
    """What the clients and the watcher of an update have seen."""

    answers: list[Answer] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)

    @property
    def failures(self) -> list[Answer]:
        return [each for each in self.answers if each.status != 200]

    @property
    def steps(self) -> list[str]:
        """The steps told, each once, in order."""
        return list(dict.fromkeys(each.step for each in self.looks if each.step))

    @property
    def statuses(self) -> list[str]:
        """The endpoint's statuses, each once, in order."""
        return list(dict.fromkeys(each.status for each in self.looks))

    def during(self, step: str) -> list[Answer]:
        """Return the requests that were sent and answered within a step, whose words begin so."""
        looks = [each for each in self.looks if each.step.startswith(step)]
        return [each for each in self.answers if looks[0].told <= each.sent and each.answered <= looks[-1].asked]

    def since(self, moment: float) -> list[Answer]:
        return [each for each in self.answers if each.sent >= moment]

    def first(self, status: str) -> Look:
        """Return the first look that saw an endpoint's status."""
        return next(each for each in self.looks if each.status == status)


def versions(answers: Sequence[Answer]) -> Counter[str]:
    return Counter(each.version for each in answers)


def is_share(answers: Sequence[Answer], version: str, share: float) -> bool:
    """Return whether about this share of the requests went to a version, as far as chance allows."""
    return binomial([each.version for each in answers], version, share)


def binomial(drawn: Sequence[Any], what: Any, share: float) -> bool:
    """Return whether about this share of what was drawn is `what`, as far as chance allows."""
    expected = share * len(drawn)
    bound = DEVIATIONS * sqrt(expected * (1 - share)) + 1e-9
    return len(drawn) >= LEAST_REQUESTS and abs(drawn.count(what) - expected) <= bound


@contextmanager
def watched(server: ScaledServer, bench: Workbench, endpoint: str) -> Iterator[Seen]:
    """Invoke from two clients, each request soon after the last, and look at the endpoint, until the block ends."""
    seen, ended = Seen(), threading.Event()

    def client() -> None:
        connection = connect(server)
        while not ended.wait(PAUSE_SECONDS):
            sent = time.monotonic()
            status, body = invoke(connection, endpoint)
            told = json.loads(body) if status == 200 else {}
            seen.answers.append(
                Answer(sent, time.monotonic(), status, told.get("version", ""), str(told.get("instance")))
            )
        connection.close()

    def watcher() -> None:
        while not ended.wait(LOOK_SECONDS):
            asked = time.monotonic()
            described = bench.sagemaker.describe_endpoint(EndpointName=endpoint)
            seen.looks.append(Look(asked, time.monotonic(), described))

    with ThreadPoolExecutor(CLIENTS + 1) as pool:
        running = [*(pool.submit(client) for _ in range(CLIENTS)), pool.submit(watcher)]
        try:
            yield seen
        finally:
            ended.set()
    for each in running:
        each.result()


def blue_green(kind: str, *, wait: int, end: int = 0, limit: int | None = None, **sizes: Any) -> dict[str, Any]:
    """Return a DeploymentConfig; `wait`, `end` and `limit` in emulated seconds."""
    routing = {"Type": kind, "WaitIntervalInSeconds": wait, **sizes}
    limits = {"MaximumExecutionTimeoutInSeconds": limit} if limit else {}
    policy = {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": end, **limits}
    return {"BlueGreenUpdatePolicy": policy}


def rolling(size: dict[str, Any], *, wait: int, limit: int | None = None, **more: Any) -> dict[str, Any]:
    """Return a DeploymentConfig of batches; `wait` and `limit` in emulated seconds."""
    limits = {"MaximumExecutionTimeoutInSeconds": limit} if limit else {}
    return {"RollingUpdatePolicy": {"MaximumBatchSize": size, "WaitIntervalInSeconds": wait, **limits, **more}}


def percent(value: int) -> dict[str, Any]:
    return {"Type": "CAPACITY_PERCENT", "Value": value}


def instances(value: int) -> dict[str, Any]:
    return {"Type": "INSTANCE_COUNT", "Value": value}


def with_alarms(config: dict[str, Any], *names: str) -> dict[str, Any]:
    return {**config, "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in names]}}


def put_alarm(
    bench: Workbench, endpoint: str, metric: str, statistic: str, threshold: float, *, config: str | None = None
) -> str:
    """Make an alarm on an endpoint's variant, or on its fleet of one configuration; return its name."""
    dimensions = {"EndpointName": endpoint, "VariantName": "AllTraffic"}
    dimensions |= {"EndpointConfigName": config} if config else {}
    name = bench.name()
    bench.localaws.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/SageMaker",
        MetricName=metric,
        Statistic=statistic,
        Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
        Period=60,
        EvaluationPeriods=1,
        Threshold=threshold,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="notBreaching",
    )
    return name


def put_own_alarm(bench: Workbench) -> str:
    """Make an alarm that no endpoint trips, only `trip`; return its name, which its metric has too."""
    name = bench.name()
    bench.localaws.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Namespace="updates",
        MetricName=name,
        Statistic="Sum",
        Period=10,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="ignore",
    )
    return name


def trip(bench: Workbench, alarm: str) -> None:
    """Have an own alarm be in ALARM soon and for good."""
    bench.localaws.client("cloudwatch").put_metric_data(
        Namespace="updates", MetricData=[{"MetricName": alarm, "Value": 1.0}]
    )


def version(bench: Workbench, number: str, code: str = ECHO, *, count: int = 1, **more: Any) -> str:
    """Return the name of a configuration whose model answers with its version."""
    model = bench.model(code, environment={"VERSION": number})
    return bench.config({"ModelName": model, "InitialInstanceCount": count, **more})


def start(bench: Workbench, config: str) -> str:
    """Return the name of an endpoint in service."""
    endpoint = bench.start(config)
    assert bench.settled(endpoint)["EndpointStatus"] == "InService"
    return endpoint


def update(bench: Workbench, endpoint: str, config: str, deployment: dict[str, Any] | None = None, **more: Any) -> None:
    given = {"DeploymentConfig": deployment} if deployment else {}
    bench.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=config, **given, **more)


@pytest.fixture(scope="module")
def bench(fast_server: ScaledServer) -> Iterator[Workbench]:
    """What makes models and endpoints on the server whose time runs faster."""
    with workbench(fast_server.localaws) as made:
        yield made


@pytest.fixture(autouse=True)
def no_endpoint_outlives_its_test(bench: Workbench) -> Iterator[None]:
    """Delete the endpoints of the bench after each test."""
    yield
    for endpoint in bench.sagemaker.list_endpoints(NameContains=bench.prefix)["Endpoints"]:
        bench.delete(endpoint["EndpointName"])


def homes(seen: Seen, number: str) -> set[str]:
    """Return which instances answered with a version."""
    return {each.home for each in seen.answers if each.version == number}


def is_gone(homes: set[str]) -> bool:
    """Return whether no model server of these homes runs."""
    return not any(outer_pid.processes_with(home) for home in homes)
