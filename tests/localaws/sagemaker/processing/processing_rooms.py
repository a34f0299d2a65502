"""Scripts that run as processing jobs in an account of the server under test, and what became of them."""

import textwrap
import uuid
from dataclasses import dataclass
from typing import Any

from tests.localaws.sagemaker.training.training_rooms import IMAGE, TERMINAL, Room
from tests.polling import wait_until

LOG_GROUP = "/aws/sagemaker/ProcessingJobs"
CODE = "/opt/ml/processing/input/code"


@dataclass(frozen=True)
class ProcessingRoom:
    """Short ways to run a script as a processing job in an account."""

    account: Room

    @property
    def sagemaker(self) -> Any:
        return self.account.client("sagemaker")

    def source(self, name: str, prefix: str, *, folder: str = "data", **changes: str) -> dict[str, Any]:
        """Return an input that brings what is below `prefix` to a folder of /opt/ml/processing."""
        source = {
            "S3Uri": f"s3://{self.account.bucket}/{prefix}",
            "LocalPath": f"/opt/ml/processing/{folder}",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
        }
        return {"InputName": name, "S3Input": {**source, **changes}}

    def target(self, name: str, prefix: str, mode: str = "EndOfJob") -> dict[str, Any]:
        """Return an output that takes /opt/ml/processing/`name` to `prefix`."""
        uri = f"s3://{self.account.bucket}/{prefix}"
        path = f"/opt/ml/processing/{name}"
        return {"OutputName": name, "S3Output": {"S3Uri": uri, "LocalPath": path, "S3UploadMode": mode}}

    def request(self, script: str, **changes: Any) -> dict[str, Any]:
        """Return a request that runs `script` (Python); changes: `hosts`, `inputs`, `outputs`, `arguments`, fields."""
        name = f"processing-{uuid.uuid4().hex[:12]}"
        self.account.put(f"{name}/code/process.py", textwrap.dedent(script))
        code = self.source("code", f"{name}/code/process.py")
        code["S3Input"]["LocalPath"] = CODE
        request: dict[str, Any] = {
            "ProcessingJobName": name,
            "RoleArn": self.account.role,
            "AppSpecification": {
                "ImageUri": IMAGE,
                "ContainerEntrypoint": ["python3", f"{CODE}/process.py"],
                "ContainerArguments": list(changes.pop("arguments", ("--go",))),
            },
            "ProcessingInputs": [code, *changes.pop("inputs", ())],
            "ProcessingOutputConfig": {"Outputs": list(changes.pop("outputs", ()))},
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceType": "ml.m5.large",
                    "InstanceCount": changes.pop("hosts", 1),
                    "VolumeSizeInGB": 1,
                }
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        }
        return {**request, **changes}

    def start(self, script: str, **changes: Any) -> str:
        request = self.request(script, **changes)
        self.sagemaker.create_processing_job(**request)
        name: str = request["ProcessingJobName"]
        return name

    def describe(self, name: str) -> dict[str, Any]:
        described: dict[str, Any] = self.sagemaker.describe_processing_job(ProcessingJobName=name)
        return described

    def end_of(self, name: str) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            described = self.describe(name)
            return described if described["ProcessingJobStatus"] in TERMINAL else None

        described: dict[str, Any] = wait_until(ended, f"end of {name}", seconds=90)
        return described

    def run(self, script: str, **changes: Any) -> dict[str, Any]:
        return self.end_of(self.start(script, **changes))

    def log(self, name: str) -> list[str]:
        """Return the lines of all hosts, by the streams' names."""
        logs = self.account.client("logs")
        try:
            streams = logs.describe_log_streams(logGroupName=LOG_GROUP, logStreamNamePrefix=f"{name}/")["logStreams"]
        except logs.exceptions.ResourceNotFoundException:
            return []
        return [
            event["message"]
            for stream in streams
            for event in logs.get_log_events(
                logGroupName=LOG_GROUP, logStreamName=stream["logStreamName"], startFromHead=True
            )["events"]
        ]

    def wait_for_line(self, name: str, line: str) -> None:
        wait_until(lambda: line in self.log(name), f"line {line!r} of {name}")

    def keys(self, prefix: str) -> list[str]:
        listed = self.account.client("s3").list_objects_v2(Bucket=self.account.bucket, Prefix=prefix)
        return [each["Key"].removeprefix(prefix) for each in listed.get("Contents", ())]
