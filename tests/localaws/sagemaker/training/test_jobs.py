"""Training jobs through boto3: every script here really runs, on hosts of its own."""

import errno
import json
import time
import uuid

import psutil
import pytest

from tests.conftest import RunningLocalAws
from tests.localaws.prying import PRY, forbidden, kept
from tests.localaws.sagemaker.training.training_rooms import (
    LOG_GROUP,
    Room,
    make_room,
    names_in,
    put_all,
    statuses,
)
from tests.localaws.scaled_server import scaled_server
from tests.polling import wait_until

pytestmark = pytest.mark.usefixtures("needs_containers")  # without them: test_rewriting.py


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


def test_the_variables_of_a_job_reach_its_program_and_not_the_one_that_starts_it(room: Room) -> None:
    script = "import os, time; print(os.environ['LD_PRELOAD'], flush=True); time.sleep(60)"
    name = room.start(script, Environment={"LD_PRELOAD": "/none.so", "MINE": "yes"})
    room.wait_for_line(name, "/none.so")
    supervisors = [each for each in psutil.process_iter(["cmdline"]) if starts_a_host_of(each, name)]
    given = {variable for each in supervisors for variable in each.environ()}
    room.client("sagemaker").stop_training_job(TrainingJobName=name)
    assert room.end_of(name)["TrainingJobStatus"] == "Stopped"
    assert supervisors
    assert {each for each in given if not each.startswith("LOCALAWS_")} <= {"LD_LIBRARY_PATH"}


def test_a_job_reaches_a_server_on_another_loopback_address() -> None:
    with scaled_server("--host", "127.0.0.5", scale=1) as server:
        room = make_room(server.localaws)
        described = room.run("import boto3; print(boto3.client('sts').get_caller_identity()['Account'])")
        assert room.log(described["TrainingJobName"]) == ["123456789012"]


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
                    socket.create_connection(("algo-1", 7777)).sendall(me.encode())
                    break
                except ConnectionRefusedError:
                    time.sleep(0.01)
    """

    name = room.run(script, hosts=2)["TrainingJobName"]

    assert room.log(name, "algo-1-") == ["heard algo-2"]
    model = names_in(room.get(f"out/{name}/output/model.tar.gz"))
    assert model == {"algo-1": b"algo-1,algo-2", "algo-2": b"algo-1,algo-2"}


def test_every_host_is_named_aws_has_eth0_and_is_told_no_interface_but_in_its_configuration(room: Room) -> None:
    script = """
        import json, os, socket
        print(socket.gethostname(), [name for _, name in socket.if_nameindex()])
        print([name for name in os.environ if "IFNAME" in name or "INTERFACE" in name])
        print(json.load(open("/opt/ml/input/config/resourceconfig.json"))["network_interface_name"])
        try:
            socket.gethostbyname("aws")
        except socket.gaierror:
            print("of no address")
    """

    name = room.run(script, hosts=2)["TrainingJobName"]

    for host in ("algo-1-", "algo-2-"):
        assert room.log(name, host) == ["aws ['lo', 'eth0']", "[]", "eth0", "of no address"]


def test_the_loopback_of_one_host_does_not_lead_to_another(room: Room) -> None:
    script = """
        import json, socket
        if json.load(open("/opt/ml/input/config/resourceconfig.json"))["current_host"] == "algo-1":
            private, public = socket.create_server(("127.0.0.1", 7777)), socket.create_server(("algo-1", 7778))
            public.accept()[0].sendall(b"done")
        else:
            while socket.socket().connect_ex(("algo-1", 7778)):
                pass
            print(socket.socket().connect_ex(("127.0.0.1", 7777)), socket.socket().connect_ex(("algo-1", 7777)))
    """

    name = room.run(script, hosts=2)["TrainingJobName"]

    assert room.log(name, "algo-2-") == [f"{errno.ECONNREFUSED} {errno.ECONNREFUSED}"]


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
    put_all(room, keys)
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


def test_a_training_script_reads_no_file_of_localaws_or_the_user(room: Room, localaws: RunningLocalAws) -> None:
    script = PRY + "print(pry(sys.argv[1:]), os.stat('/tmp').st_dev == os.stat('/opt/ml').st_dev, 'is on the disk')\n"
    request = room.request(script)
    request["AlgorithmSpecification"]["ContainerArguments"] += forbidden(localaws)
    room.client("sagemaker").create_training_job(**request)
    assert room.end_of(request["TrainingJobName"])["TrainingJobStatus"] == "Completed"
    assert room.log(request["TrainingJobName"]) == ["[] True is on the disk"]


def test_a_training_script_gets_at_no_memory_message_key_or_device_of_the_user(room: Room) -> None:
    """The port is free in the job's own network."""
    with kept() as given:
        request = room.request(PRY + f"print(grabbed({given}) + nested())\n")
        room.client("sagemaker").create_training_job(**request)
        assert room.end_of(request["TrainingJobName"])["TrainingJobStatus"] == "Completed"
    assert room.log(request["TrainingJobName"]) in (["['a port']"], ["[]"])


def starts_a_host_of(process: psutil.Process, name: str) -> bool:
    """Return whether the process, one of an iteration with `cmdline`, is localaws's and starts a host of the job."""
    arguments = process.info["cmdline"] or []
    return "job_host" in arguments and any(f"/jobs/{name}/" in argument for argument in arguments)
