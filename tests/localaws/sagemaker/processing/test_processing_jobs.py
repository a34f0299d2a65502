"""Processing jobs that end well: what a container finds, what it leaves, how hosts share the input."""

import json
import uuid
from typing import Any

from tests.localaws.sagemaker.processing.processing_rooms import LOG_GROUP, ProcessingRoom
from tests.localaws.sagemaker.training.training_rooms import IMAGE

SHOWS_ALL = """
    import json, os, pathlib, socket, sys
    config = pathlib.Path("/opt/ml/config")
    files = sorted(str(each) for each in pathlib.Path("/opt/ml/processing/data").rglob("*") if each.is_file())
    found = {
        "job": json.loads((config / "processingjobconfig.json").read_text()),
        "resources": json.loads((config / "resourceconfig.json").read_text()),
        "arguments": sys.argv[1:],
        "mine": os.environ["MINE"],
        "files": files,
    }
    host = found["resources"]["current_host"]
    pathlib.Path("/opt/ml/processing/out/deep").mkdir()
    pathlib.Path("/opt/ml/processing/out/deep", host + ".json").write_text(json.dumps(found))
    print("hello from", host)
"""


def shown(room: ProcessingRoom, prefix: str, host: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(room.account.get(f"{prefix}/deep/{host}.json"))
    return found


def test_a_container_finds_inputs_configuration_and_environment_as_aws_documents(room: ProcessingRoom) -> None:
    mark = uuid.uuid4().hex
    for name in ("a.txt", "b/c.txt"):
        room.account.put(f"{mark}/in/{name}")
    inputs, outputs = [room.source("data", f"{mark}/in")], [room.target("out", f"{mark}/out")]

    described = room.run(SHOWS_ALL, inputs=inputs, outputs=outputs, Environment={"MINE": "yes"})

    assert described["ProcessingJobStatus"] == "Completed", described
    found = shown(room, f"{mark}/out", "algo-1")
    assert found["files"] == ["/opt/ml/processing/data/a.txt", "/opt/ml/processing/data/b/c.txt"]
    assert (found["arguments"], found["mine"]) == (["--go"], "yes")
    assert found["resources"]["current_host"] == "algo-1" and found["resources"]["hosts"] == ["algo-1"]
    assert found["resources"]["network_interface_name"]
    job, name = found["job"], described["ProcessingJobName"]
    assert (job["ProcessingJobName"], job["ProcessingJobArn"]) == (name, described["ProcessingJobArn"])
    assert job["AppSpecification"]["ImageUri"] == IMAGE and job["Environment"] == {"MINE": "yes"}
    assert job["ProcessingInputs"][1]["S3Input"] == {
        "S3Uri": f"s3://{room.account.bucket}/{mark}/in",
        "LocalPath": "/opt/ml/processing/data",
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
        "S3DataDistributionType": "FullyReplicated",
        "S3CompressionType": "None",
        "S3DownloadMode": "StartOfJob",
    }
    assert job["ProcessingOutputConfig"]["KmsKeyId"] is None
    assert job["ProcessingOutputConfig"]["Outputs"][0]["S3Output"] == outputs[0]["S3Output"]
    assert job["ProcessingResources"]["ClusterConfig"]["VolumeKmsKeyId"] is None
    assert (job["RoleArn"], job["StoppingCondition"]) == (room.account.role, {"MaxRuntimeInSeconds": 60})


def test_describe_repeats_the_request_and_tells_times(room: ProcessingRoom) -> None:
    described = room.run("print('done')", StoppingCondition={"MaxRuntimeInSeconds": 77})

    assert described["AppSpecification"]["ContainerArguments"] == ["--go"]
    assert described["StoppingCondition"] == {"MaxRuntimeInSeconds": 77}
    source = described["ProcessingInputs"][0]
    assert source["AppManaged"] is False and source["S3Input"]["S3DataDistributionType"] == "FullyReplicated"
    assert described["CreationTime"] <= described["ProcessingStartTime"] <= described["ProcessingEndTime"]
    assert "FailureReason" not in described and "ExitMessage" not in described
    assert room.log(described["ProcessingJobName"]) == ["done"]


def test_hosts_deal_the_objects_among_them_and_write_to_one_place(room: ProcessingRoom) -> None:
    mark = uuid.uuid4().hex
    for number in range(5):
        room.account.put(f"{mark}/in/{number}")
        room.account.put(f"{mark}/all/{number}")
    inputs = [
        room.source("data", f"{mark}/in", S3DataDistributionType="ShardedByS3Key"),
        room.source("all", f"{mark}/all", folder="data/all"),
    ]

    described = room.run(
        SHOWS_ALL,
        hosts=3,
        inputs=inputs,
        outputs=[room.target("out", f"{mark}/out")],
        Environment={"MINE": ""},
    )

    assert described["ProcessingJobStatus"] == "Completed", described
    found = [shown(room, f"{mark}/out", f"algo-{number}") for number in (1, 2, 3)]
    own = [[each[-1] for each in host["files"] if "/all/" not in each] for host in found]
    assert own == [["0", "3"], ["1", "4"], ["2"]]
    assert all(sum("/all/" in each for each in host["files"]) == 5 for host in found)
    assert [host["resources"]["hosts"] for host in found] == [["algo-1", "algo-2", "algo-3"]] * 3
    assert sorted(room.log(described["ProcessingJobName"])) == [f"hello from algo-{number}" for number in (1, 2, 3)]


def test_a_manifest_names_the_objects_that_are_dealt(room: ProcessingRoom) -> None:
    mark = uuid.uuid4().hex
    for name in ("one", "two", "not-listed"):
        room.account.put(f"{mark}/in/{name}")
    manifest = [{"prefix": f"s3://{room.account.bucket}/{mark}/in/"}, "two", "one"]
    room.account.put(f"{mark}/manifest.json", json.dumps(manifest))
    source = room.source(
        "data", f"{mark}/manifest.json", S3DataType="ManifestFile", S3DataDistributionType="ShardedByS3Key"
    )

    room.run(
        SHOWS_ALL,
        hosts=2,
        inputs=[source],
        outputs=[room.target("out", f"{mark}/out")],
        Environment={"MINE": ""},
    )

    files = [shown(room, f"{mark}/out", host)["files"] for host in ("algo-1", "algo-2")]
    assert files == [["/opt/ml/processing/data/two"], ["/opt/ml/processing/data/one"]]


def test_a_continuous_output_arrives_while_the_job_runs(room: ProcessingRoom) -> None:
    mark = uuid.uuid4().hex
    script = """
        import pathlib, time
        pathlib.Path("/opt/ml/processing/steady/first").write_text("1")
        pathlib.Path("/opt/ml/processing/late/first").write_text("1")
        print("written", flush=True)
        go = pathlib.Path("/opt/ml/processing/steady/first")
        import boto3, os
        s3, bucket = boto3.client("s3"), os.environ["BUCKET"]
        while not s3.list_objects_v2(Bucket=bucket, Prefix=os.environ["MARK"] + "/steady/").get("KeyCount"):
            time.sleep(0.1)
        late = s3.list_objects_v2(Bucket=bucket, Prefix=os.environ["MARK"] + "/late/")["KeyCount"]
        pathlib.Path("/opt/ml/processing/steady/late-then").write_text(str(late))
    """
    outputs = [room.target("steady", f"{mark}/steady", "Continuous"), room.target("late", f"{mark}/late")]

    described = room.run(script, outputs=outputs, Environment={"BUCKET": room.account.bucket, "MARK": mark})

    assert described["ProcessingJobStatus"] == "Completed", room.log(described["ProcessingJobName"])
    assert room.keys(f"{mark}/steady/") == ["first", "late-then"]
    assert room.account.get(f"{mark}/steady/late-then") == b"0"
    assert room.keys(f"{mark}/late/") == ["first"]


def test_the_log_is_in_the_group_of_processing_jobs_by_host(room: ProcessingRoom) -> None:
    name = room.run("print('x')", hosts=2)["ProcessingJobName"]

    streams = room.account.client("logs").describe_log_streams(logGroupName=LOG_GROUP, logStreamNamePrefix=f"{name}/")

    hosts = [each["logStreamName"].rpartition("-")[0] for each in streams["logStreams"]]
    assert hosts == [f"{name}/algo-1", f"{name}/algo-2"]


def test_hosts_reach_each_other_by_their_names(room: ProcessingRoom) -> None:
    script = """
        import json, socket, time
        host = json.load(open("/opt/ml/config/resourceconfig.json"))["current_host"]
        if host == "algo-1":
            with socket.create_server(("algo-1", 7000)) as listener:
                listener.settimeout(30)
                print("heard", listener.accept()[0].recv(10).decode())
        else:
            for _ in range(300):
                try:
                    socket.create_connection(("algo-1", 7000)).sendall(b"algo-2")
                    break
                except OSError:
                    time.sleep(0.1)
    """

    name = room.run(script, hosts=2)["ProcessingJobName"]

    assert room.log(name) == ["heard algo-2"]
