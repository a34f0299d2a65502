"""Compare a localaws that is full of state with one that has next to none: what each List, Describe and start takes.

`python -m benchmarks.crowded` fills one server with 10,000 objects in a bucket, 1,000 functions, 100 training jobs that
have nothing to do, and 200 instances, which are stopped then; and another with ten of each, by the same
requests. Then the same requests go to both in turns. A List asks for a page of ten, so that both have the same to say.
A row shows the medians and their ratio. The exit status is 1 if a ratio is above 2 and the difference above 2 ms: less
is what a busy machine makes of two equal servers. `--objects`, `--functions`, `--jobs` and `--instances` change the
numbers.
"""

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.lambda_invoke import archive_of
from benchmarks.localaws_front import IMAGE, TRUST, client, localaws, make_role, wait_until
from benchmarks.localaws_s3 import BUCKET, send_all, signed
from tasks.run.machine import hardware

FEW = {"objects": 10, "functions": 10, "jobs": 10, "instances": 10}
MANY = {"objects": 10_000, "functions": 1_000, "jobs": 100, "instances": 200}
AT_ONCE = 10  # of jobs and instances: the quotas allow 20 and 640 vCPUs
ROUNDS = 15
MOST_RATIO, LEAST_MS = 2.0, 2.0
TRAINING_IMAGE = IMAGE.replace("inference", "training")
AMI = "/aws/service/deeplearning/ami/x86_64/oss-nvidia-driver-gpu-pytorch-2.7-ubuntu-22.04/latest/ami-id"
HANDLER = "def handler(event, context):\n    return 'done'\n"

Call = Callable[[], object]


@dataclass(frozen=True)
class Compared:
    """What one kind of request takes, in milliseconds, with few and with many things there."""

    what: str
    few: float
    many: float

    @property
    def is_slower(self) -> bool:
        """Whether it is slower than it may be with many things there."""
        return self.many > self.few * MOST_RATIO and self.many - self.few > LEAST_MS

    @property
    def line(self) -> str:
        """A row of the table."""
        ratio = f"{self.many / self.few:6.2f}"
        return f"{self.what:44} {self.few:9.2f} {self.many:9.2f} {ratio}{'  too slow' if self.is_slower else ''}"


class Filled:
    """A server with so many things of each kind."""

    def __init__(self, url: str, numbers: Mapping[str, int]) -> None:
        self._url = url
        self._names = (f"new-{number}" for number in itertools.count())
        self._lambda_role = make_role(url, "functions", TRUST.replace("sagemaker", "lambda"))
        self._job_role = make_role(url, "jobs")
        self._image = client("ssm", url).get_parameter(Name=AMI)["Parameter"]["Value"]
        self._instances: list[str] = []
        client("s3", url).create_bucket(Bucket=BUCKET)
        send_all(url, [signed(url, "PUT", f"object/{each:06}", b"x") for each in range(numbers["objects"])])
        for number in range(numbers["functions"]):
            self.create_function(f"function-{number:05}")
        for first in range(0, numbers["jobs"], AT_ONCE):
            self._run_jobs([f"job-{number:05}" for number in range(first, first + AT_ONCE)])
        for _ in range(0, numbers["instances"], AT_ONCE):
            self._stop_instances(AT_ONCE)

    def create_function(self, name: str) -> None:
        """Create a function."""
        client("lambda", self._url).create_function(
            FunctionName=name,
            Runtime="python3.11",
            Handler="handler.handler",
            Role=self._lambda_role,
            Code={"ZipFile": archive_of(HANDLER)},
        )

    def create_job(self, name: str) -> None:
        """Start a training job that has one object and nothing to do."""
        source = {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/object/000007"}
        client("sagemaker", self._url).create_training_job(
            TrainingJobName=name,
            RoleArn=self._job_role,
            AlgorithmSpecification={
                "TrainingImage": TRAINING_IMAGE,
                "TrainingInputMode": "File",
                "ContainerEntrypoint": ["true"],
            },
            InputDataConfig=[{"ChannelName": "data", "DataSource": {"S3DataSource": source}}],
            OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/out"},
            ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            StoppingCondition={"MaxRuntimeInSeconds": 60},
        )

    def launch(self, count: int = 1) -> list[str]:
        """Launch instances; return their ids."""
        launched = client("ec2", self._url).run_instances(
            ImageId=self._image, InstanceType="c5.large", MinCount=count, MaxCount=count
        )
        self._instances += (ids := [str(each["InstanceId"]) for each in launched["Instances"]])
        return ids

    def _run_jobs(self, names: Sequence[str]) -> None:
        for each in names:
            self.create_job(each)
        wait_until(lambda: all(self._status(each) in ("Completed", "Failed") for each in names))

    def _status(self, job: str) -> str:
        described = client("sagemaker", self._url).describe_training_job(TrainingJobName=job)
        return str(described["TrainingJobStatus"])

    def _stop_instances(self, count: int) -> None:
        ids = self.launch(count)
        wait_until(lambda: self._are(ids, "running"))
        client("ec2", self._url).stop_instances(InstanceIds=ids)
        wait_until(lambda: self._are(ids, "stopped"))

    def _are(self, ids: Sequence[str], state: str) -> bool:
        found = client("ec2", self._url).describe_instances(InstanceIds=list(ids))["Reservations"]
        return all(each["State"]["Name"] == state for group in found for each in group["Instances"])

    def end(self) -> None:
        """Terminate every instance."""
        client("ec2", self._url).terminate_instances(InstanceIds=self._instances)

    def calls(self) -> dict[str, Call]:
        """Return what is compared, by name."""
        s3, functions, logs = (client(each, self._url) for each in ("s3", "lambda", "logs"))
        sagemaker, ec2, iam = (client(each, self._url) for each in ("sagemaker", "ec2", "iam"))
        here, metrics, one = {"Bucket": BUCKET}, client("cloudwatch", self._url), self._instances[0]
        return {
            "S3 ListObjectsV2": lambda: s3.list_objects_v2(**here, MaxKeys=10),
            "S3 ListObjectsV2, common prefixes": lambda: s3.list_objects_v2(**here, Delimiter="/"),
            "S3 ListObjectsV2, one object": lambda: s3.list_objects_v2(**here, Prefix="object/000007"),
            "S3 ListObjects": lambda: s3.list_objects(**here, MaxKeys=10),
            "S3 ListObjectVersions": lambda: s3.list_object_versions(**here, MaxKeys=10),
            "S3 HeadObject": lambda: s3.head_object(**here, Key="object/000007"),
            "S3 PutObject": lambda: s3.put_object(**here, Key="object/000007", Body=b"x"),
            "S3 ListBuckets": lambda: s3.list_buckets(),
            "Lambda ListFunctions": lambda: functions.list_functions(MaxItems=10),
            "Lambda GetFunction": lambda: functions.get_function(FunctionName="function-00007"),
            "Lambda Invoke, warm": lambda: functions.invoke(FunctionName="function-00007", Payload=b"{}"),
            "Lambda CreateFunction": lambda: self.create_function(next(self._names)),
            "SageMaker ListTrainingJobs": lambda: sagemaker.list_training_jobs(MaxResults=10),
            "SageMaker DescribeTrainingJob": lambda: sagemaker.describe_training_job(TrainingJobName="job-00007"),
            "SageMaker CreateTrainingJob": lambda: self.create_job(next(self._names)),
            "EC2 DescribeInstances, a page": lambda: ec2.describe_instances(MaxResults=10),
            "EC2 DescribeInstances, one": lambda: ec2.describe_instances(InstanceIds=[one]),
            "EC2 DescribeSecurityGroups": lambda: ec2.describe_security_groups(MaxResults=10),
            "EC2 DescribeVolumes": lambda: ec2.describe_volumes(MaxResults=10),
            "Logs DescribeLogGroups": lambda: logs.describe_log_groups(limit=10),
            "IAM ListRoles": lambda: iam.list_roles(MaxItems=10),
            "CloudWatch ListMetrics": lambda: metrics.list_metrics(Namespace="AWS/Lambda"),
        }


def main(arguments: Sequence[str]) -> int:
    """Fill, measure and print; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crowded", description=__doc__)
    for name, number in MANY.items():
        parser.add_argument(f"--{name}", type=int, default=number)
    numbers = vars(parser.parse_args(arguments))
    print(f"{hardware()}\nmany: {', '.join(f'{number:,} {name}' for name, number in numbers.items())}")
    with filled(FEW) as few, filled(numbers) as many:
        rows = compared(few.calls(), many.calls())
    print(f"{'':44} {'few, ms':>9} {'many, ms':>9}  ratio")
    print("\n".join(each.line for each in rows))
    return int(any(each.is_slower for each in rows))


@contextmanager
def filled(numbers: Mapping[str, int]) -> Iterator[Filled]:
    """Run a server and fill it; its instances are terminated in the end."""
    with localaws() as url:
        begun = time.perf_counter()
        server = Filled(url, numbers)
        print(f"filled in {time.perf_counter() - begun:.0f} s", flush=True)
        try:
            yield server
        finally:
            server.end()


def compared(few: Mapping[str, Call], many: Mapping[str, Call]) -> list[Compared]:
    """Make the same calls of both servers in turns."""
    rows = []
    for what, call in few.items():
        taken = [(_milliseconds(call), _milliseconds(many[what])) for _ in range(ROUNDS + 1)][1:]
        rows.append(Compared(what, *(statistics.median(each) for each in zip(*taken, strict=True))))
    return rows


def _milliseconds(call: Call) -> float:
    before = time.perf_counter()
    call()
    return (time.perf_counter() - before) * 1e3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
