"""Scalable variants in a server at time scale 60, and the metric and load that make them scale."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSRequest

from tests.keys import signed
from tests.localaws.sagemaker.endpoints.endpoint_models import Workbench
from tests.localaws.scaled_server import ScaledServer, moment
from tests.polling import wait_until

DIMENSION = "sagemaker:variant:DesiredInstanceCount"
OWN_METRIC = {"Namespace": "scaling", "MetricName": "Load", "Statistic": "Average"}


@dataclass(frozen=True)
class Variant:
    """The variant of an endpoint in service, to be scaled."""

    server: ScaledServer
    bench: Workbench
    endpoint: str

    @property
    def aws(self) -> Any:
        return self.server.client("application-autoscaling")

    @property
    def id(self) -> dict[str, str]:
        resource = f"endpoint/{self.endpoint}/variant/AllTraffic"
        return {"ServiceNamespace": "sagemaker", "ResourceId": resource, "ScalableDimension": DIMENSION}

    def register(self, least: int | None = None, most: int | None = None, **more: Any) -> str:
        limits = {"MinCapacity": least, "MaxCapacity": most}
        given = {name: value for name, value in limits.items() if value is not None}
        arn: str = self.aws.register_scalable_target(**self.id, **given, **more)["ScalableTargetARN"]
        return arn

    def track(self, target_value: float, *, predefined: str = "", **more: Any) -> dict[str, Any]:
        """Put a target tracking policy on the variant's own metric `Load`, or on a predefined one."""
        specification = (
            {"PredefinedMetricSpecification": {"PredefinedMetricType": predefined}}
            if predefined
            else {"CustomizedMetricSpecification": {**OWN_METRIC, "Dimensions": self._rows}}
        )
        configuration = {"TargetValue": target_value, "ScaleOutCooldown": 60, "ScaleInCooldown": 60, **more}
        answer: dict[str, Any] = self.aws.put_scaling_policy(
            PolicyName="track",
            **self.id,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={**configuration, **specification},
        )
        return answer

    def load(self, value: float, *, minutes: int = 30, back: int = 0) -> None:
        """Have the metric `Load` be `value` in the present minute, those to come, and `back` that have passed."""
        first = int(self.server.now()) // 60 * 60
        data = [
            {"MetricName": "Load", "Dimensions": self._rows, "Timestamp": moment(first + 60 * number), "Value": value}
            for number in range(-back, minutes)
        ]
        self.server.client("cloudwatch").put_metric_data(Namespace="scaling", MetricData=data)

    @property
    def described(self) -> dict[str, Any]:
        endpoint = self.bench.sagemaker.describe_endpoint(EndpointName=self.endpoint)
        variant: dict[str, Any] = endpoint["ProductionVariants"][0]
        return variant

    @property
    def desired(self) -> int:
        return int(self.described["DesiredInstanceCount"])

    @property
    def serving(self) -> int:
        return int(self.described["CurrentInstanceCount"])

    def until_serving(self, count: int, seconds: float = 20.0) -> None:
        wait_until(lambda: self.serving == count, f"{count} instances of {self.endpoint}", seconds=seconds)

    def activities(self, **more: Any) -> list[dict[str, Any]]:
        """Return the scaling activities, oldest first."""
        found = self.aws.describe_scaling_activities(
            ServiceNamespace="sagemaker", ResourceId=self.id["ResourceId"], **more
        )
        listed: list[dict[str, Any]] = found["ScalingActivities"]
        return listed[::-1]

    def until_activity(self, matches: Callable[[dict[str, Any]], bool], **more: Any) -> dict[str, Any]:
        return wait_until(
            lambda: next((each for each in self.activities(**more) if matches(each)), None), what="an activity"
        )

    def alarms(self) -> dict[str, dict[str, Any]]:
        """Return the alarms of the variant's policies: `High` and `Low`."""
        prefix = f"TargetTracking-{self.id['ResourceId']}-Alarm"
        found = self.server.client("cloudwatch").describe_alarms(AlarmNamePrefix=prefix)["MetricAlarms"]
        return {each["AlarmName"].removeprefix(prefix).partition("-")[0]: each for each in found}

    def pass_minutes(self, count: float) -> None:
        """Return when so many emulated minutes have passed."""
        end = self.server.now() + 60 * count
        wait_until(lambda: self.server.now() >= end, seconds=count + 5)

    @property
    def _rows(self) -> list[dict[str, str]]:
        return [{"Name": "EndpointName", "Value": self.endpoint}]


@dataclass
class Sent:
    """What a load sent and got."""

    answered: int = 0
    failures: list[int] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def requests(server: ScaledServer, endpoint: str, *, clients: int, per_second: float | None = None) -> Iterator[Sent]:
    """Invoke until the block ends, at a rate over all clients or each request after the last."""
    sent, ended = Sent(), threading.Event()
    interval = clients / per_second if per_second else 0.0

    def client(number: int) -> None:
        connection, due = connect(server), time.monotonic() + interval * number / clients
        while not ended.wait(max(0.0, due - time.monotonic()) if interval else 0.0):
            status = invoke_once(connection, endpoint)
            due += interval
            with sent.lock:
                sent.answered += status == 200
                sent.failures += [status] if status != 200 else []
        connection.close()

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(client, number) for number in range(clients)]
        try:
            yield sent
        finally:
            ended.set()
    for each in running:
        each.result()


def invoke_once(connection: http.client.HTTPConnection, endpoint: str) -> int:
    """Return the status of one InvokeEndpoint, without an SDK's cost."""
    return invoke(connection, endpoint)[0]


def invoke(connection: http.client.HTTPConnection, endpoint: str) -> tuple[int, bytes]:
    """Return the status and body of one InvokeEndpoint, without an SDK's cost."""
    url = f"http://{connection.host}:{connection.port}/endpoints/{endpoint}/invocations"
    request = AWSRequest("POST", url, {"Content-Type": "application/octet-stream"}, b"x")
    connection.request("POST", urlsplit(url).path, b"x", signed(request, "sagemaker"))
    answer = connection.getresponse()
    return answer.status, answer.read()


def connect(server: ScaledServer) -> http.client.HTTPConnection:
    address = urlsplit(server.localaws.url)
    return http.client.HTTPConnection(str(address.hostname), address.port, timeout=70)
