"""An account of the server under test in which scripts run as training jobs, and ways to see what became of them."""

import io
import tarfile
import textwrap
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from botocore.exceptions import ClientError

from tests.conftest import RunningLocalAws, client_environment
from tests.localaws.roles import make_role
from tests.polling import wait_until

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.6.0-cpu-py312"
LOG_GROUP = "/aws/sagemaker/TrainingJobs"
TERMINAL = ("Completed", "Failed", "Stopped")


@dataclass(frozen=True)
class Room:
    """An account with a bucket and a role, and short ways to run a script in it."""

    client: Callable[[str], Any]
    url: str
    home: Path
    bucket: str
    role: str

    def put(self, key: str, content: bytes | str = b"x") -> None:
        body = content.encode() if isinstance(content, str) else content
        self.client("s3").put_object(Bucket=self.bucket, Key=key, Body=body)

    def get(self, key: str) -> bytes:
        body: bytes = self.client("s3").get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return body

    def channel(self, name: str, prefix: str, distribution: str = "FullyReplicated") -> dict[str, Any]:
        source = {
            "S3DataType": "S3Prefix",
            "S3Uri": f"s3://{self.bucket}/{prefix}",
            "S3DataDistributionType": distribution,
        }
        return {"ChannelName": name, "DataSource": {"S3DataSource": source}}

    def request(self, script: str, **changes: Any) -> dict[str, Any]:
        """Return a request that runs `script` (Python); changes: `hosts`, `channels`, `metrics` and fields."""
        name = f"job-{uuid.uuid4().hex[:12]}"
        self.put(f"{name}/code/train.py", textwrap.dedent(script))
        request: dict[str, Any] = {
            "TrainingJobName": name,
            "RoleArn": self.role,
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE,
                "TrainingInputMode": "File",
                "ContainerEntrypoint": ["python"],
                "ContainerArguments": ["/opt/ml/input/data/code/train.py"],
                "MetricDefinitions": list(changes.pop("metrics", ())),
            },
            "InputDataConfig": [self.channel("code", f"{name}/code"), *changes.pop("channels", ())],
            "OutputDataConfig": {"S3OutputPath": f"s3://{self.bucket}/out"},
            "ResourceConfig": {
                "InstanceType": "ml.m5.large",
                "InstanceCount": changes.pop("hosts", 1),
                "VolumeSizeInGB": 1,
            },
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        }
        return {**request, **changes}

    def request_of_image(self, script: str, **changes: Any) -> dict[str, Any]:
        """Return a request of which the image's own entry point runs `script`; changes: `parameters` and as above."""
        request = self.request("", **changes)
        key = f"{request['TrainingJobName']}/sourcedir.tar.gz"
        self.put(key, packed({"train.py": textwrap.dedent(script)}))
        for name in ("ContainerEntrypoint", "ContainerArguments"):
            del request["AlgorithmSpecification"][name]
        request["HyperParameters"] = {
            "sagemaker_program": "train.py",
            "sagemaker_submit_directory": f"s3://{self.bucket}/{key}",
            **request.pop("parameters", {}),
        }
        return request

    def start(self, script: str, **changes: Any) -> str:
        request = self.request(script, **changes)
        self.client("sagemaker").create_training_job(**request)
        name: str = request["TrainingJobName"]
        return name

    def describe(self, name: str) -> dict[str, Any]:
        described: dict[str, Any] = self.client("sagemaker").describe_training_job(TrainingJobName=name)
        return described

    def end_of(self, name: str) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            described = self.describe(name)
            return described if described["TrainingJobStatus"] in TERMINAL else None

        described: dict[str, Any] = wait_until(ended, f"end of {name}", seconds=90)
        return described

    def run(self, script: str, **changes: Any) -> dict[str, Any]:
        return self.end_of(self.start(script, **changes))

    def log(self, name: str, host: str = "algo-") -> list[str]:
        logs = self.client("logs")
        try:
            streams = logs.describe_log_streams(logGroupName=LOG_GROUP, logStreamNamePrefix=f"{name}/{host}")
        except ClientError:
            return []
        lines = []
        for stream in streams["logStreams"]:
            events = logs.get_log_events(
                logGroupName=LOG_GROUP, logStreamName=stream["logStreamName"], startFromHead=True
            )
            lines += [event["message"] for event in events["events"]]
        return lines

    def wait_for_line(self, name: str, line: str, *, times: int = 1) -> None:
        wait_until(lambda: self.log(name).count(line) >= times, f"line {line!r} of {name}")

    def processes(self, name: str) -> list[psutil.Process]:
        """Return the live processes of a job."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("TRAINING_JOB_NAME") == name:
                    found.append(process)
            except psutil.Error:
                continue
        return found


def make_room(server: RunningLocalAws) -> Room:
    client = server.client
    mark = uuid.uuid4().hex[:12]
    client("s3").create_bucket(Bucket=f"training-{mark}")
    role = make_role(client("iam"), f"training-{mark}", "sagemaker")
    return Room(client, server.url, server.home, f"training-{mark}", role)


def room_at(url: str, home: Path, pid: int) -> Room:
    return make_room(RunningLocalAws(url, home, pid, client_environment(url)))


def packed(files: Mapping[str, str]) -> bytes:
    """Return a tar.gz of these texts, as the SDK uploads the source directory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text.encode()), 0o755
            tar.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def names_in(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]


def put_all(room: Room, keys: Sequence[str]) -> None:
    """Put many small objects."""
    s3 = room.client("s3")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=room.bucket, Key=key, Body=b"x"), keys))


def statuses(described: Mapping[str, Any]) -> list[str]:
    return [each["Status"] for each in described["SecondaryStatusTransitions"]]
