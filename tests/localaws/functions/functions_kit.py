"""Making functions in a localaws under test."""

import io
import json
import uuid
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from tests.localaws import outer_pid
from tests.localaws.roles import make_role

WHO = f"""
import os
def handler(event, context):
    return {{"pid": {outer_pid.WHO}, "arn": context.invoked_function_arn}}
"""


def zipped(source: str, name: str = "handler.py") -> bytes:
    """Return a zip with one file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(name, source)
    return buffer.getvalue()


@dataclass
class Functions:
    """Creates functions with names of their own in one server."""

    aws: Any
    role: str

    @classmethod
    def of(cls, server: Any) -> "Functions":
        name = f"lambda-{uuid.uuid4().hex[:12]}"
        return cls(server.client("lambda"), make_role(server.client("iam"), name, "lambda"))

    def make(self, source: str = WHO, **config: Any) -> str:
        name = f"f-{uuid.uuid4().hex[:12]}"
        self.create(name, **{"Code": {"ZipFile": zipped(source)}, **config})
        return name

    def create(self, name: str, **config: Any) -> Any:
        defaults = {"Runtime": "python3.11", "Role": self.role, "Handler": "handler.handler", "Timeout": 10}
        return self.aws.create_function(FunctionName=name, **{**defaults, **config})

    def invoke(self, name: str, event: Any = None, **arguments: Any) -> Any:
        reply = self.aws.invoke(FunctionName=name, Payload=json.dumps(event or {}), **arguments)
        body = reply["Payload"].read()
        return {**reply, "Payload": outer_pid.translated(json.loads(body)) if body else None}


def error_of(call: Any, **arguments: Any) -> tuple[str, str, int]:
    """Return code, message and status of the error that a call must raise."""
    try:
        call(**arguments)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        return error.response["Error"]["Code"], error.response["Error"]["Message"], status
    raise AssertionError("the call did not fail")


class Metrics:
    """Reads AWS/Lambda."""

    def __init__(self, localaws: Any) -> None:
        self._aws = localaws.client("cloudwatch")

    def get(self, metric: str, statistic: str, **dimensions: str) -> float | None:
        """Return a statistic over all the time there was, None without a data point."""
        now = datetime.now(UTC)
        points = self._aws.get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName=metric,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(minutes=5),
            Period=60,
            Statistics=[statistic],
        )["Datapoints"]
        values = [float(point[statistic]) for point in points]
        if not values:
            return None
        return sum(values) if statistic in ("Sum", "SampleCount") else max(values)

    def of(self, name: str, qualifier: str, *metrics: str, statistic: str = "Sum") -> dict[str, float | None]:
        """Return a statistic of several metrics of an alias or version."""
        return {each: self.get(each, statistic, FunctionName=name, Resource=f"{name}:{qualifier}") for each in metrics}
