"""Training jobs whose script the image's own entry point runs: what a job of several hosts and of none is."""

import pytest
from botocore.exceptions import ClientError

from tests.localaws.roles import trust
from tests.localaws.sagemaker.training.training_rooms import Room

pytestmark = pytest.mark.usefixtures("needs_containers")  # without them: test_rewriting.py

RANK = """
    import os
    rank = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    print("rank", *rank, "on", os.environ["SM_CURRENT_HOST"])
"""


@pytest.mark.parametrize(
    ("asked", "ranks"), [("false", ["rank None None", "rank None None"]), ("true", ["rank 0 2", "rank 1 2"])]
)
def test_two_hosts_train_apart_unless_torchrun_is_asked_for(room: Room, asked: str, ranks: list[str]) -> None:
    parameters = {"sagemaker_torch_distributed_enabled": asked}
    request = room.request_of_image(RANK, hosts=2, parameters=parameters)
    room.client("sagemaker").create_training_job(**request)

    described = room.end_of(request["TrainingJobName"])

    assert described["TrainingJobStatus"] == "Completed", described
    lines = sorted(line for line in room.log(request["TrainingJobName"]) if line.startswith("rank"))
    assert [line.partition(" on ")[0] for line in lines] == ranks
    assert {line.partition(" on ")[2] for line in lines} == {"algo-1", "algo-2"}


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"sagemaker_program": "../train.py"}, "The training entry point '../train.py' cannot be used"),
        ({"sagemaker_mpi_enabled": "true"}, "localaws does not support sagemaker_mpi_enabled"),
        (
            {"sagemaker_submit_directory": "s3://{bucket}/none.tar.gz"},
            "Framework Error: \nClientError: An error occurred",
        ),
    ],
)
def test_what_cannot_be_run_fails_with_its_reason(room: Room, parameters: dict[str, str], reason: str) -> None:
    given = {name: value.format(bucket=room.bucket) for name, value in parameters.items()}
    request = room.request_of_image("print('never')", parameters=given)
    room.client("sagemaker").create_training_job(**request)

    described = room.end_of(request["TrainingJobName"])

    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"].startswith(f"AlgorithmError: {reason}"), described["FailureReason"]
    assert "never" not in room.log(request["TrainingJobName"])


def test_the_script_is_read_with_the_rights_of_the_jobs_role(room: Room) -> None:
    iam, name = room.client("iam"), f"{room.bucket}-lists"
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust("sagemaker"))["Role"]["Arn"]
    lists = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:ListBucket", "logs:*"], '
        '"Resource": "*"}]}'
    )
    iam.put_role_policy(RoleName=name, PolicyName="lists", PolicyDocument=lists)
    request = room.request_of_image("print('never')", RoleArn=role) | {"InputDataConfig": []}
    del request["InputDataConfig"]
    room.client("sagemaker").create_training_job(**request)

    described = room.end_of(request["TrainingJobName"])

    assert described["TrainingJobStatus"] == "Failed"
    assert "(403)" in described["FailureReason"], described["FailureReason"]


def test_a_job_without_entry_point_and_program_is_refused_by_name(room: Room) -> None:
    request = room.request_of_image("print()")
    del request["HyperParameters"]["sagemaker_program"]

    with pytest.raises(ClientError, match="or the hyperparameter sagemaker_program"):
        room.client("sagemaker").create_training_job(**request)
