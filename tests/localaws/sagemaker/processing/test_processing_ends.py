"""How processing jobs end other than well: failures, what a container says, stops, limits, and roles that may not."""

import json
import uuid
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from tests.localaws.callers import deny
from tests.localaws.roles import make_role
from tests.localaws.sagemaker.processing.processing_rooms import ProcessingRoom
from tests.localaws.sagemaker.training.training_rooms import make_room
from tests.localaws.scaled_server import scaled_server


@pytest.fixture(scope="module")
def hasty_room() -> Iterator[ProcessingRoom]:
    """A server whose 120 seconds of grace last 1.5."""
    with scaled_server(scale=80) as server:
        yield ProcessingRoom(make_room(server.localaws))


WAITS_FOR_SIGTERM = """
    import pathlib, signal, sys, time
    def leave(*_):
        pathlib.Path("/opt/ml/processing/steady/half").write_text("half")
        pathlib.Path("/opt/ml/processing/late/half").write_text("half")
        pathlib.Path("/opt/ml/output/message").write_text("half way")
        sys.exit(0)
    signal.signal(signal.SIGTERM, leave)
    print("running", flush=True)
    time.sleep(60)
"""


def outputs(room: ProcessingRoom, mark: str) -> list[dict[str, object]]:
    return [room.target("steady", f"{mark}/steady", "Continuous"), room.target("late", f"{mark}/late")]


def test_one_host_that_fails_fails_the_job_and_ends_the_others(room: ProcessingRoom) -> None:
    mark = uuid.uuid4().hex
    script = """
        import json, pathlib, sys, time
        host = json.load(open("/opt/ml/config/resourceconfig.json"))["current_host"]
        pathlib.Path("/opt/ml/output/message").write_text(f"said by {host}. ")
        pathlib.Path("/opt/ml/processing/late/some").write_text("x")
        pathlib.Path("/opt/ml/processing/steady", host).write_text("x")
        if host == "algo-2":
            time.sleep(1)
            sys.exit(3)
        time.sleep(60)
    """

    described = room.run(script, hosts=2, outputs=outputs(room, mark))

    assert described["ProcessingJobStatus"] == "Failed"
    assert described["FailureReason"] == "AlgorithmError: See job logs for more information"
    assert described["ExitMessage"] == "said by algo-1. said by algo-2. "
    assert room.keys(f"{mark}/late/") == [], "nothing of a failed job is uploaded at its end"
    assert room.keys(f"{mark}/steady/") == ["algo-1", "algo-2"]
    (listed,) = room.sagemaker.list_processing_jobs(NameContains=described["ProcessingJobName"])[
        "ProcessingJobSummaries"
    ]
    assert listed["FailureReason"] == described["FailureReason"]
    assert listed["ExitMessage"] == described["ExitMessage"]


def test_a_message_is_told_of_a_job_that_ends_well_and_cut_to_one_kilobyte(room: ProcessingRoom) -> None:
    described = room.run("open('/opt/ml/output/message', 'w').write('ab' + '\\u00e4' * 2000)")

    assert described["ProcessingJobStatus"] == "Completed"
    assert described["ExitMessage"] == "ab" + "ä" * 511


def test_a_message_that_is_no_text_fails_the_job(room: ProcessingRoom) -> None:
    described = room.run("open('/opt/ml/output/message', 'wb').write(b'\\xff\\xfe')")

    assert described["ProcessingJobStatus"] == "Failed"
    assert described["FailureReason"].startswith("ClientError:")


def test_a_stopped_job_has_its_time_to_end(room: ProcessingRoom) -> None:
    mark = uuid.uuid4().hex
    name = room.start(WAITS_FOR_SIGTERM, outputs=outputs(room, mark))
    room.wait_for_line(name, "running")

    room.sagemaker.stop_processing_job(ProcessingJobName=name)
    room.sagemaker.stop_processing_job(ProcessingJobName=name)

    described = room.end_of(name)
    assert (described["ProcessingJobStatus"], described["ExitMessage"]) == ("Stopped", "half way")
    assert room.keys(f"{mark}/steady/") == ["half"]
    with pytest.raises(ClientError, match="rejected because the processing job is in status Stopped") as refusal:
        room.sagemaker.stop_processing_job(ProcessingJobName=name)
    assert refusal.value.response["Error"]["Code"] == "ValidationException"


def test_a_job_that_ignores_sigterm_is_stopping_until_it_is_killed(hasty_room: ProcessingRoom) -> None:
    script = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: print('no', flush=True))\n"
    name = hasty_room.start(script + "print('running', flush=True)\nwhile True: time.sleep(1)")
    hasty_room.wait_for_line(name, "running")

    hasty_room.sagemaker.stop_processing_job(ProcessingJobName=name)

    assert hasty_room.describe(name)["ProcessingJobStatus"] == "Stopping"
    assert hasty_room.end_of(name)["ProcessingJobStatus"] == "Stopped"
    assert hasty_room.log(name) == ["running", "no"]


def test_max_runtime_is_stopped_and_not_completed(hasty_room: ProcessingRoom) -> None:
    described = hasty_room.run("import time; time.sleep(60)", StoppingCondition={"MaxRuntimeInSeconds": 1})

    assert described["ProcessingJobStatus"] == "Stopped"


@pytest.mark.parametrize("action", ["s3:GetObject", "s3:PutObject"])
def test_a_role_that_may_not_reach_the_data_is_the_clients_error(room: ProcessingRoom, action: str) -> None:
    iam, name = room.account.client("iam"), f"processing-{uuid.uuid4().hex[:8]}"
    arn = make_role(iam, name, "sagemaker")
    document = json.dumps({"Version": "2012-10-17", "Statement": [deny(action)]})
    iam.put_role_policy(RoleName=name, PolicyName="deny", PolicyDocument=document)
    script = "open('/opt/ml/processing/late/x', 'w').write('x')"

    described = room.run(script, RoleArn=arn, outputs=[room.target("late", "denied")])

    assert described["ProcessingJobStatus"] == "Failed"
    assert described["FailureReason"].startswith("ClientError: Data ") and action in described["FailureReason"]


def test_the_script_has_the_roles_rights_and_no_others(room: ProcessingRoom) -> None:
    iam, name = room.account.client("iam"), f"processing-{uuid.uuid4().hex[:8]}"
    arn = make_role(iam, name, "sagemaker")
    document = json.dumps({"Version": "2012-10-17", "Statement": [deny("s3:ListAllMyBuckets")]})
    iam.put_role_policy(RoleName=name, PolicyName="deny", PolicyDocument=document)
    script = """
        import boto3, botocore
        print(boto3.client("sts").get_caller_identity()["Arn"].split("/")[-2])
        try:
            boto3.client("s3").list_buckets()
        except botocore.exceptions.ClientError as error:
            print(error.response["Error"]["Code"])
    """

    described = room.run(script, RoleArn=arn)

    assert room.log(described["ProcessingJobName"]) == [name, "AccessDenied"]
