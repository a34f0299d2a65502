"""Training jobs through boto3: every script here really runs, on hosts of its own."""

import asyncio
import io
import json
import signal
import tarfile
import textwrap
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
import psutil
import pytest
from botocore.exceptions import ClientError
from obstore.store import S3Store

from tests.conftest import RunningLocalAws, client_environment, start_server, wait_for_url

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.6.0-cpu-py312"
LOG_GROUP = "/aws/sagemaker/TrainingJobs"
TERMINAL = ("Completed", "Failed", "Stopped")
JOB_SECONDS = 30.0


def wait_until(condition: Callable[[], Any], what: str, seconds: float = JOB_SECONDS) -> Any:
    """Poll until `condition` gives something true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


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

        described: dict[str, Any] = wait_until(ended, f"end of {name}")
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
    trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    client("s3").create_bucket(Bucket=f"training-{mark}")
    role = client("iam").create_role(RoleName=f"training-{mark}", AssumeRolePolicyDocument=document)["Role"]
    return Room(client, server.url, server.home, f"training-{mark}", role["Arn"])


@pytest.fixture(scope="module")
def room(localaws: RunningLocalAws) -> Room:
    return make_room(localaws)


@pytest.fixture(scope="module")
def hasty_room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """A server whose 120 seconds of grace last 1.5."""
    home = tmp_path_factory.mktemp("hasty")
    server = start_server(home, "--time-scale", "80")
    try:
        yield room_at(wait_for_url(home, server), home, server.pid)
    finally:
        server.terminate()
        server.wait(20)


def room_at(url: str, home: Path, pid: int) -> Room:
    return make_room(RunningLocalAws(url, home, pid, client_environment(url)))


def names_in(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}  # type: ignore[union-attr]


async def put_all(room: Room, keys: Sequence[str]) -> None:
    """Put many small objects, with less of the processor than boto3 takes."""
    store = S3Store(
        room.bucket,
        endpoint=room.url,
        access_key_id="x",
        secret_access_key="x",
        region="us-east-1",
        client_options={"allow_http": True},
    )
    for start in range(0, len(keys), 32):
        await asyncio.gather(*(obstore.put_async(store, key, b"x") for key in keys[start : start + 32]))


def statuses(described: Mapping[str, Any]) -> list[str]:
    return [each["Status"] for each in described["SecondaryStatusTransitions"]]


# --- a job that ends well ---------------------------------------------------------------------------------------------


def test_a_job_trains_and_leaves_its_model_output_metrics_and_log(room: Room) -> None:
    script = """
        import json, os, pathlib
        parameters = json.load(open("/opt/ml/input/config/hyperparameters.json"))
        pathlib.Path("/opt/ml/model/sub").mkdir()
        pathlib.Path("/opt/ml/model/sub/weights").write_text(parameters["rate"])
        pathlib.Path("/opt/ml/output/data/curve.csv").write_text("1,2")
        for loss in (0.5, 0.25):
            print(f"epoch done loss={loss} accuracy=0.{int(loss * 4)}5")
        print(os.environ["TRAINING_JOB_NAME"], os.environ["MINE"], os.environ["AWS_REGION"])
    """
    metrics = [{"Name": "loss", "Regex": r"loss=([0-9.]+)"}, {"Name": "unseen", "Regex": r"unseen=(\d+)"}]

    described = room.run(script, metrics=metrics, HyperParameters={"rate": "0.1"}, Environment={"MINE": "yes"})

    name = described["TrainingJobName"]
    assert described["TrainingJobStatus"] == described["SecondaryStatus"] == "Completed"
    assert statuses(described) == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert described["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{room.bucket}/out/{name}/output/model.tar.gz"
    assert names_in(room.get(f"out/{name}/output/model.tar.gz")) == {"sub/weights": b"0.1"}
    assert names_in(room.get(f"out/{name}/output/output.tar.gz")) == {"curve.csv": b"1,2"}
    assert [(each["MetricName"], each["Value"]) for each in described["FinalMetricDataList"]] == [("loss", 0.25)]
    assert room.log(name, "algo-1-")[-1] == f"{name} yes us-east-1"
    assert described["TrainingStartTime"] < described["TrainingEndTime"]
    assert described["TrainingTimeInSeconds"] >= 1
    assert described["BillableTimeInSeconds"] >= 1


def test_metrics_of_a_job_are_in_cloudwatch(room: Room) -> None:
    name = room.run("print('loss=0.75')", metrics=[{"Name": "loss", "Regex": "loss=([0-9.]+)"}])["TrainingJobName"]

    found = room.client("cloudwatch").get_metric_statistics(
        Namespace=LOG_GROUP,
        MetricName="loss",
        Dimensions=[{"Name": "TrainingJobName", "Value": name}],
        StartTime=time.time() - 300,
        EndTime=time.time() + 60,
        Period=60,
        Statistics=["Average"],
    )

    assert [point["Average"] for point in found["Datapoints"]] == [0.75]


def test_a_job_acts_on_aws_with_its_role_and_leaves_nothing_behind(room: Room) -> None:
    script = """
        import boto3, os, pathlib
        print(boto3.client("sts").get_caller_identity()["Arn"])
        pathlib.Path(os.environ["TMPDIR"], "x").write_text("x")
    """

    name = room.run(script)["TrainingJobName"]

    assert room.role.rpartition("/")[2] in room.log(name)[-1]
    folder = room.home / "jobs" / name
    wait_until(lambda: [path.name for path in folder.rglob("*")] == ["algo-1.log"], f"a tidy {folder}")
    assert room.processes(name) == []


# --- several hosts ----------------------------------------------------------------------------------------------------


def test_hosts_know_each_other_and_each_has_its_own_opt_ml(room: Room) -> None:
    script = """
        import json, pathlib, socket, time
        config = json.load(open("/opt/ml/input/config/resourceconfig.json"))
        me = config["current_host"]
        pathlib.Path("/opt/ml/model", me).write_text(",".join(config["hosts"]))
        if me == "algo-1":
            with socket.create_server(("algo-1", 7777)) as server:
                print("heard", server.accept()[0].recv(100).decode())
        else:
            while True:
                try:
                    socket.create_connection(("algo-1", 7777)).sendall(socket.gethostname().encode())
                    break
                except ConnectionRefusedError:
                    time.sleep(0.01)
    """

    name = room.run(script, hosts=2)["TrainingJobName"]

    assert room.log(name, "algo-1-") == ["heard algo-2"]
    model = names_in(room.get(f"out/{name}/output/model.tar.gz"))
    assert model == {"algo-1": b"algo-1,algo-2", "algo-2": b"algo-1,algo-2"}


def test_two_jobs_at_once_may_use_the_same_port(room: Room) -> None:
    script = """
        import os, socket, time
        server = socket.create_server(("", 7777))
        print("bound", flush=True)
        time.sleep(float(os.environ["SECONDS"]))
    """
    first = room.start(script, Environment={"SECONDS": "60"})
    room.wait_for_line(first, "bound")

    second = room.run(script, Environment={"SECONDS": "0"})

    assert second["TrainingJobStatus"] == "Completed"
    assert room.describe(first)["TrainingJobStatus"] == "InProgress"
    room.client("sagemaker").stop_training_job(TrainingJobName=first)
    assert room.end_of(first)["TrainingJobStatus"] == "Stopped"


def test_channels_of_more_than_a_thousand_objects_arrive_whole_and_shards_are_dealt_in_key_order(room: Room) -> None:
    prefix = uuid.uuid4().hex
    keys = [f"{prefix}/part-{number:04d}" for number in range(1002)]
    asyncio.run(put_all(room, keys))
    script = """
        import pathlib
        for channel in ("whole", "dealt"):
            files = sorted(path.name for path in pathlib.Path("/opt/ml/input/data", channel).iterdir())
            print(channel, len(files), files[0], files[1], files[-1])
    """
    channels = [room.channel("whole", prefix), room.channel("dealt", f"{prefix}/", "ShardedByS3Key")]

    name = room.run(script, hosts=2, channels=channels)["TrainingJobName"]

    whole = "whole 1002 part-0000 part-0001 part-1001"
    assert room.log(name, "algo-1-") == [whole, "dealt 501 part-0000 part-0002 part-1000"]
    assert room.log(name, "algo-2-") == [whole, "dealt 501 part-0001 part-0003 part-1001"]


def test_two_hosts_share_the_processors(room: Room) -> None:
    script = "import os; print(os.environ['OMP_NUM_THREADS'], sorted(os.sched_getaffinity(0)))"
    available = sorted(psutil.Process().cpu_affinity())
    half = len(available) // 2

    name = room.run(script, hosts=2)["TrainingJobName"]

    assert room.log(name, "algo-1-") == [f"{max(1, half)} {available[:half] or available}"]
    assert room.log(name, "algo-2-") == [f"{max(1, half)} {available[half : 2 * half] or available}"]


def test_a_manifest_names_the_objects_of_a_channel(room: Room) -> None:
    prefix = uuid.uuid4().hex
    for name in ("a/one", "b/two", "b/three"):
        room.put(f"{prefix}/{name}", name)
    room.put(f"{prefix}/list.json", json.dumps([{"prefix": f"s3://{room.bucket}/{prefix}/"}, "a/one", "b/three"]))
    channel = room.channel("data", f"{prefix}/list.json")
    channel["DataSource"]["S3DataSource"]["S3DataType"] = "ManifestFile"
    script = """
        import pathlib
        root = pathlib.Path("/opt/ml/input/data/data")
        print(sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()))
    """

    name = room.run(script, channels=[channel])["TrainingJobName"]

    assert room.log(name) == ["['a/one', 'b/three']"]


def test_an_isolated_job_reaches_nothing_and_has_no_credentials(room: Room) -> None:
    script = """
        import os, socket
        print(sorted(name for name in os.environ if name.startswith("AWS_")))
        socket.create_connection(("127.0.0.1", int(os.environ["PORT"])))
    """
    port = room.url.rpartition(":")[2]

    described = room.run(script, EnableNetworkIsolation=True, Environment={"PORT": port})

    assert room.log(described["TrainingJobName"])[0] == (
        "['AWS_DEFAULT_REGION', 'AWS_EC2_METADATA_DISABLED', 'AWS_REGION']"
    )
    assert described["FailureReason"].endswith("ConnectionRefusedError: [Errno 111] Connection refused, exit code: 1")


# --- failure ----------------------------------------------------------------------------------------------------------


def test_the_failure_file_of_the_first_host_that_failed_is_the_reason_and_the_gang_ends(room: Room) -> None:
    script = """
        import pathlib, socket, sys, time
        failure = pathlib.Path("/opt/ml/output/failure")
        if socket.gethostname() == "algo-2":  # fails first, ends second
            failure.write_text("the data is spoiled")
            time.sleep(0.5)
            sys.exit(3)
        if socket.gethostname() == "algo-1":
            time.sleep(0.25)
            failure.write_text("lost a peer")
            sys.exit(1)
        time.sleep(60)
    """
    started = time.monotonic()

    described = room.run(script, hosts=3)

    assert time.monotonic() - started < 15
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Failed", "Failed")
    assert described["FailureReason"] == "AlgorithmError: the data is spoiled, exit code: 3"
    assert room.processes(described["TrainingJobName"]) == []


def test_without_a_failure_file_the_reason_is_the_end_of_the_log(room: Room) -> None:
    described = room.run("raise RuntimeError('out of luck')")

    assert described["FailureReason"].startswith("AlgorithmError: Traceback")
    assert described["FailureReason"].endswith("RuntimeError: out of luck, exit code: 1")
    assert len(described["FailureReason"]) <= 1024


def test_a_killed_host_fails_the_job(room: Room) -> None:
    described = room.run("import os; os.kill(os.getpid(), 9)")

    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"].endswith("exit code: 137")


def test_processes_that_a_script_detaches_end_with_it(room: Room) -> None:
    script = """
        import subprocess
        subprocess.Popen(["sleep", "600"], start_new_session=True)
    """

    described = room.run(script)

    assert described["TrainingJobStatus"] == "Completed"
    assert room.processes(described["TrainingJobName"]) == []


def test_a_key_that_leads_out_of_its_channel_fails_the_download(room: Room) -> None:
    prefix = uuid.uuid4().hex
    room.put(f"{prefix}/../../escaped")

    described = room.run("print('never')", channels=[room.channel("data", f"{prefix}/")])

    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"].startswith("ClientError: Data download failed: channel data:")
    assert "leads out of the channel's folder" in described["FailureReason"]
    assert statuses(described) == ["Starting", "Downloading", "Failed"]


# --- stopping ---------------------------------------------------------------------------------------------------------

WAITS_FOR_SIGTERM = """
    import pathlib, signal, sys, time
    def leave(*_):
        pathlib.Path("/opt/ml/model/half").write_text("half")
        print("asked to stop")
        sys.exit(0)
    signal.signal(signal.SIGTERM, leave)
    print("running", flush=True)
    time.sleep(60)
"""


def test_a_stopped_job_has_its_time_to_save_and_keeps_its_model(room: Room) -> None:
    name = room.start(WAITS_FOR_SIGTERM)
    room.wait_for_line(name, "running")

    room.client("sagemaker").stop_training_job(TrainingJobName=name)

    described = room.end_of(name)
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert statuses(described) == ["Starting", "Downloading", "Training", "Stopping", "Uploading", "Stopped"]
    assert names_in(room.get(f"out/{name}/output/model.tar.gz")) == {"half": b"half"}
    assert room.log(name)[-1] == "asked to stop"
    with pytest.raises(ClientError, match="rejected because the training job is in status Stopped"):
        room.client("sagemaker").stop_training_job(TrainingJobName=name)


def test_a_job_that_ignores_sigterm_is_killed_after_its_grace(hasty_room: Room) -> None:
    name = hasty_room.start(
        """
        import signal, time
        signal.signal(signal.SIGTERM, lambda *_: print("no", flush=True))
        print("running", flush=True)
        while True:
            time.sleep(1)
        """
    )
    hasty_room.wait_for_line(name, "running")
    asked = time.monotonic()

    hasty_room.client("sagemaker").stop_training_job(TrainingJobName=name)

    assert hasty_room.end_of(name)["TrainingJobStatus"] == "Stopped"
    assert 1.5 <= time.monotonic() - asked < 10
    assert hasty_room.log(name) == ["running", "no"]
    assert hasty_room.processes(name) == []


def test_max_runtime_is_stopped_and_not_completed(hasty_room: Room) -> None:
    described = hasty_room.run(WAITS_FOR_SIGTERM, StoppingCondition={"MaxRuntimeInSeconds": 1})

    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_max_wait_ends_a_spot_job_that_took_too_long(room: Room) -> None:
    limits = {"MaxRuntimeInSeconds": 1, "MaxWaitTimeInSeconds": 1}

    described = room.run(WAITS_FOR_SIGTERM, EnableManagedSpotTraining=True, StoppingCondition=limits)

    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")


# --- checkpoints and spot ---------------------------------------------------------------------------------------------

COUNTS_WITH_CHECKPOINTS = """
    import pathlib, time
    store = pathlib.Path("/opt/ml/checkpoints/step")
    step = int(store.read_text()) if store.exists() else 0
    print(f"from step {step}", flush=True)
    if step == 0:
        store.write_text("7")
        time.sleep(60)
    pathlib.Path("/opt/ml/model/step").write_text(str(step))
"""


def interrupt(room: Room, name: str, host: str = "algo-1") -> None:
    request = urllib.request.Request(
        f"{room.url}/_localaws/training-jobs/{name}/interrupt?host={host}", method="POST", data=b""
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.status == 202


def test_an_interrupted_spot_job_goes_on_from_its_checkpoint(room: Room) -> None:
    name = room.start(
        COUNTS_WITH_CHECKPOINTS,
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120},
        CheckpointConfig={"S3Uri": f"s3://{room.bucket}/spot-checkpoints"},
    )
    room.wait_for_line(name, "from step 0")
    wait_until(  # uploaded while the job runs
        lambda: room.client("s3").list_objects_v2(Bucket=room.bucket, Prefix="spot-checkpoints/").get("KeyCount"),
        "a checkpoint in S3",
    )

    interrupt(room, name)

    described = room.end_of(name)
    assert described["TrainingJobStatus"] == "Completed"
    attempt = ["Starting", "Downloading", "Training"]
    assert statuses(described) == [*attempt, "Interrupted", *attempt, "Uploading", "Completed"]
    assert room.log(name) == ["from step 0", "from step 7"]
    assert names_in(room.get(f"out/{name}/output/model.tar.gz")) == {"step": b"7"}
    assert room.get("spot-checkpoints/step") == b"7"


def test_only_a_running_spot_job_can_be_interrupted(room: Room) -> None:
    name = room.start(WAITS_FOR_SIGTERM)
    with pytest.raises(urllib.error.HTTPError, match="409"):
        interrupt(room, name)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        interrupt(room, name, "algo-2")
    room.client("sagemaker").stop_training_job(TrainingJobName=name)
    room.end_of(name)


# --- refusal ----------------------------------------------------------------------------------------------------------


def without(request: dict[str, Any], *path: str, **values: Any) -> dict[str, Any]:
    """Return the request with `values` put in at `path`."""
    if not path:
        return {**request, **values}
    return {**request, path[0]: without(request[path[0]], *path[1:], **values)}


ALGORITHM, RESOURCES = ("AlgorithmSpecification",), ("ResourceConfig",)
REFUSALS: Sequence[tuple[str, tuple[str, ...], dict[str, Any], str]] = (
    ("image", ALGORITHM, {"TrainingImage": "registry/xgboost:1.7"}, "training image 'registry/xgboost:1.7'"),
    ("mode", ALGORITHM, {"TrainingInputMode": "Pipe"}, "TrainingInputMode 'Pipe'"),
    ("regex", ALGORITHM, {"MetricDefinitions": [{"Name": "m", "Regex": "("}]}, "Invalid metric regex '('"),
    ("no hosts", RESOURCES, {"InstanceCount": 0}, "'resourceConfig.instanceCount' failed to satisfy constraint"),
    ("type", RESOURCES, {"InstanceType": "ml.none"}, "'resourceConfig.instanceType' failed to satisfy constraint"),
    ("warm pool", RESOURCES, {"KeepAlivePeriodInSeconds": 60}, "ResourceConfig.KeepAlivePeriodInSeconds"),
    ("name", (), {"TrainingJobName": "under_score"}, "Value 'under_score' at 'trainingJobName' failed to satisfy"),
    ("network", (), {"VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1"]}}, "support VpcConfig"),
    ("role", (), {"RoleArn": "arn:aws:iam::123456789012:role/nobody"}, "Could not assume role arn:aws:iam::"),
    ("output", (), {"OutputDataConfig": {"S3OutputPath": "s3://no-such-bucket-here/x"}}, "'no-such-bucket-here'"),
    ("wait", (), {"EnableManagedSpotTraining": True}, "Invalid MaxWaitTimeInSeconds"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("path", "values", "message"), [each[1:] for each in REFUSALS], ids=[each[0] for each in REFUSALS]
)
def test_a_request_that_cannot_be_carried_out_is_refused_by_name(
    room: Room, path: tuple[str, ...], values: dict[str, Any], message: str
) -> None:
    request = without(room.request("print()"), *path, **values)

    with pytest.raises(ClientError) as refusal:
        room.client("sagemaker").create_training_job(**request)

    assert refusal.value.response["Error"]["Code"] == "ValidationException"
    assert message in refusal.value.response["Error"]["Message"]


def test_an_empty_channel_is_refused_before_anything_starts(room: Room) -> None:
    request = room.request("print()", channels=[room.channel("data", "nothing/here/")])

    with pytest.raises(ClientError, match=r'No S3 objects found under S3 URL "s3://.*/nothing/here/"') as refusal:
        room.client("sagemaker").create_training_job(**request)

    assert refusal.value.response["Error"]["Code"] == "ValidationException"


def test_more_instances_than_the_quota_are_refused(room: Room) -> None:
    with pytest.raises(ClientError) as refusal:
        room.start("print()", hosts=21)

    assert refusal.value.response["Error"]["Code"] == "ResourceLimitExceeded"


# --- the other operations ---------------------------------------------------------------------------------------------


def test_names_are_unique_listed_tagged_and_free_again_after_delete(room: Room) -> None:
    sagemaker = room.client("sagemaker")
    request = room.request("print('once')", Tags=[{"Key": "kennel:run", "Value": "r1"}])
    arn = sagemaker.create_training_job(**request)["TrainingJobArn"]
    name = request["TrainingJobName"]

    with pytest.raises(ClientError) as refusal:
        sagemaker.create_training_job(**request)
    assert refusal.value.response["Error"]["Code"] == "ResourceInUse"
    room.end_of(name)
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "kennel:run", "Value": "r2"}])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "kennel:run", "Value": "r2"}]
    (summary,) = sagemaker.list_training_jobs(NameContains=name, StatusEquals="Completed")["TrainingJobSummaries"]
    assert (summary["TrainingJobArn"], summary["TrainingJobStatus"]) == (arn, "Completed")

    sagemaker.delete_training_job(TrainingJobName=name)

    with pytest.raises(ClientError, match="Requested resource not found") as missing:
        room.describe(name)
    assert missing.value.response["Error"]["Code"] == "ValidationException"


def test_the_list_is_sorted_before_it_is_paged(room: Room) -> None:
    names = sorted(room.start("print()") for _ in range(3))
    for name in names:
        room.end_of(name)
    pages = (
        room.client("sagemaker")
        .get_paginator("list_training_jobs")
        .paginate(SortBy="Name", SortOrder="Descending", NameContains="job-", PaginationConfig={"PageSize": 2})
    )

    listed = [each["TrainingJobName"] for page in pages for each in page["TrainingJobSummaries"]]

    assert listed == sorted(listed, reverse=True)
    assert set(names) <= set(listed)


def test_nothing_of_a_job_outlives_the_server_however_that_ends(tmp_path: Path) -> None:
    for end in (signal.SIGKILL, signal.SIGTERM):
        server = start_server(tmp_path)
        try:
            room = room_at(wait_for_new_url(tmp_path, server), tmp_path, server.pid)
            assert list((tmp_path / "jobs").glob("*/attempt-*")) == []  # of the one before
            assert tuple(_processes_of(tmp_path)) == ()
            name = room.start(WAITS_FOR_SIGTERM, hosts=2)
            room.wait_for_line(name, "running", times=2)
            assert room.processes(name)
        finally:
            server.send_signal(end)
            server.wait(20)

    assert tuple(_processes_of(tmp_path)) == ()
    assert list((tmp_path / "jobs").glob("*/attempt-*")) == []


def wait_for_new_url(home: Path, server: Any) -> str:
    """Return the url of a server whose home has the output of another."""
    (home / "output.txt").write_text("")
    return wait_for_url(home, server)


def _processes_of(home: Path) -> Iterator[int]:
    for process in psutil.process_iter():
        try:
            if process.environ().get("LOCALAWS_OWNER") == str(home.resolve()):
                yield process.pid
        except psutil.Error:
            continue
