"""Tiny models for endpoint tests: an `inference.py` in a tar.gz in S3, and one line to make an endpoint of it."""

import io
import json
import secrets
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil

from tests.command_lines import command_line
from tests.conftest import RunningLocalAws
from tests.localaws import outer_pid
from tests.localaws.roles import make_role

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6.0-cpu-py312-ubuntu22.04-sagemaker"
BUCKET = "endpoint-models"
WAIT_SECONDS = 90.0  # on a machine that does something else at the same time
ECHO = """
import os
def model_fn(model_dir):
    return os.path.basename(os.getcwd())
def input_fn(data, content_type):
    return data
def predict_fn(data, model):
    return {"instance": model, "pid": PID, "size": len(data), "version": os.environ.get("VERSION", "")}
def output_fn(prediction, accept):
    import json
    return json.dumps(prediction), "application/json"
""".replace("PID", outer_pid.WHO)


def pack(files: dict[str, str]) -> bytes:
    """Return a tar.gz of text files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def variant_row(**variant: Any) -> dict[str, Any]:
    """Return a variant of an endpoint configuration, of one small instance unless it says otherwise."""
    return {"VariantName": "AllTraffic", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1, **variant}


@dataclass
class Workbench:
    """Makes models, configurations and endpoints under one unique prefix and deletes the endpoints."""

    localaws: RunningLocalAws
    role_arn: str
    prefix: str = field(default_factory=lambda: "kennel-t" + secrets.token_hex(4))
    _count: int = 0

    @property
    def sagemaker(self) -> Any:
        return self.localaws.client("sagemaker")

    @property
    def runtime(self) -> Any:
        return self.localaws.client("sagemaker-runtime")

    def name(self) -> str:
        self._count += 1
        return f"{self.prefix}-{self._count}"

    def upload(self, archive: bytes) -> str:
        key = f"{self.name()}/model.tar.gz"
        self.localaws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=archive)
        return f"s3://{BUCKET}/{key}"

    def model(self, code: str = ECHO, *, environment: dict[str, str] | None = None, data: str | None = None) -> str:
        name = self.name()
        url = data or self.upload(pack({"code/inference.py": code}))
        container = {"Image": IMAGE, "ModelDataUrl": url, "Environment": environment or {}}
        self.sagemaker.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=self.role_arn)
        return name

    def config(self, *variants: dict[str, Any], **parameters: Any) -> str:
        name = self.name()
        rows = [variant_row(**variant) for variant in variants]
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=rows, **parameters)
        return name

    def start(self, config: str) -> str:
        name = self.name()
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        return name

    def endpoint(self, model: str, *, instances: int = 1) -> str:
        """Return the name of an endpoint that is in service."""
        name = self.start(self.config({"ModelName": model, "InitialInstanceCount": instances}))
        assert self.settled(name)["EndpointStatus"] == "InService"
        return name

    def log(self, endpoint: str) -> list[str]:
        """Return the lines that its log has until now: they arrive a little after what they tell of."""
        events = self.localaws.client("logs").filter_log_events(logGroupName=_log_group(endpoint))["events"]
        return [event["message"] for event in events]

    def log_streams(self, endpoint: str) -> list[str]:
        """Return their names; nothing if there is no log yet."""
        try:
            found = self.localaws.client("logs").describe_log_streams(logGroupName=_log_group(endpoint))
        except self.localaws.client("logs").exceptions.ResourceNotFoundException:
            return []
        return [stream["logStreamName"] for stream in found["logStreams"]]

    def settled(self, endpoint: str) -> dict[str, Any]:
        """Return the description once the endpoint is neither Creating, Updating nor RollingBack."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            described: dict[str, Any] = self.sagemaker.describe_endpoint(EndpointName=endpoint)
            if described["EndpointStatus"] not in {"Creating", "Updating", "RollingBack"}:
                return described
            time.sleep(0.02)
        raise AssertionError(f"{endpoint} is still {described['EndpointStatus']} after {WAIT_SECONDS} s")

    def delete(self, endpoint: str) -> None:
        """Delete an endpoint and wait until it is gone."""
        self.settled(endpoint)
        self.sagemaker.delete_endpoint(EndpointName=endpoint)
        deadline = time.monotonic() + WAIT_SECONDS
        while self.sagemaker.list_endpoints(NameContains=endpoint)["Endpoints"]:
            assert time.monotonic() < deadline, f"{endpoint} is still there"
            time.sleep(0.02)

    def invoke(self, endpoint: str, body: bytes = b"x", **parameters: Any) -> Any:
        """Return the decoded JSON answer."""
        answer = self.runtime.invoke_endpoint(EndpointName=endpoint, Body=body, **parameters)
        return outer_pid.translated(json.loads(answer["Body"].read()))

    def metric_points(self, endpoint: str, metric: str, variant: str = "AllTraffic") -> list[dict[str, Any]]:
        """Return the last hour's datapoints of a variant, by the minute."""
        now = datetime.now(UTC)
        answer = self.localaws.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(minutes=2),
            Period=60,
            Statistics=["Sum", "SampleCount", "Average"],
        )
        points: list[dict[str, Any]] = answer["Datapoints"]
        return points


def model_servers(localaws: RunningLocalAws) -> set[int]:
    """Return the process ids of all model servers that run, spares among them."""
    children = psutil.Process(localaws.pid).children(recursive=True)
    return {child.pid for child in children if "localaws.sagemaker.model_server" in command_line(child)}


def _log_group(endpoint: str) -> str:
    return f"/aws/sagemaker/Endpoints/{endpoint}"


@contextmanager
def workbench(localaws: RunningLocalAws) -> Iterator[Workbench]:
    """Yield a workbench; its endpoints are deleted afterwards."""
    localaws.client("s3").create_bucket(Bucket=BUCKET)
    role_arn = make_role(localaws.client("iam"), "kennel-endpoints-" + secrets.token_hex(4), "sagemaker")
    bench = Workbench(localaws, role_arn)
    yield bench
    for endpoint in bench.sagemaker.list_endpoints(NameContains=bench.prefix)["Endpoints"]:
        bench.delete(endpoint["EndpointName"])
