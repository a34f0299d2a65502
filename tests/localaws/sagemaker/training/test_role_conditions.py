"""What a training job does in its role's name: conditions of the role's policies count, and so do keys of KMS."""

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tests.localaws.callers import deny
from tests.localaws.roles import make_role, remove_role
from tests.localaws.sagemaker.training.training_rooms import Room

SCRIPT = "open('/opt/ml/model/weights', 'w').write('1')"


@pytest.fixture
def role(room: Room) -> Iterator[str]:
    iam, name = room.client("iam"), f"conditions-{secrets.token_hex(4)}"
    yield make_role(iam, name, "sagemaker")
    iam.delete_role_policy(RoleName=name, PolicyName="deny")
    remove_role(iam, name)


def denied(room: Room, role: str, action: str, **condition: Any) -> None:
    statement = deny(action, Condition=condition)
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    room.client("iam").put_role_policy(RoleName=role.rpartition("/")[2], PolicyName="deny", PolicyDocument=document)


def test_a_role_that_may_nothing_outside_the_region_may_all_in_it(room: Room, role: str) -> None:
    denied(room, role, "*", StringNotEquals={"aws:RequestedRegion": "us-east-1"})
    assert room.run(SCRIPT, RoleArn=role)["TrainingJobStatus"] == "Completed"


def test_a_tag_of_an_object_keeps_a_job_from_reading_it(room: Room, role: str) -> None:
    prefix = f"tagged-{secrets.token_hex(4)}"
    room.client("s3").put_object(Bucket=room.bucket, Key=f"{prefix}/1", Body=b"x", Tagging="Secret=yes")
    denied(room, role, "s3:GetObject", StringEquals={"s3:ExistingObjectTag/Secret": "yes"})
    described = room.run(SCRIPT, RoleArn=role, channels=[room.channel("data", prefix)])
    assert described["TrainingJobStatus"] == "Failed" and "s3:GetObject" in described["FailureReason"]


def test_output_that_is_sealed_with_a_key_is_told_so(room: Room, role: str) -> None:
    key = room.client("kms").create_key()["KeyMetadata"]["Arn"]
    denied(room, role, "s3:PutObject", StringNotEquals={"s3:x-amz-server-side-encryption": "aws:kms"})
    output = {"S3OutputPath": f"s3://{room.bucket}/out", "KmsKeyId": key}
    assert room.run(SCRIPT, RoleArn=role, OutputDataConfig=output)["TrainingJobStatus"] == "Completed"
    plain = room.run(SCRIPT, RoleArn=role)
    assert plain["TrainingJobStatus"] == "Failed" and "s3:PutObject" in plain["FailureReason"]


@pytest.mark.parametrize("case", ["missing", "missing alias", "disabled", "denied"])
def test_a_key_that_cannot_seal_the_output_is_the_clients_error(room: Room, role: str, case: str) -> None:
    kms = room.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    named = {"missing": key[:-6] + "abcdef", "missing alias": f"alias/{secrets.token_hex(4)}"}.get(case, key)
    if case == "disabled":
        kms.disable_key(KeyId=key.rpartition("/")[2])
    denied(room, role, "kms:GenerateDataKey" if case == "denied" else "kms:CreateKey")
    output = {"S3OutputPath": f"s3://{room.bucket}/out", "KmsKeyId": named}
    reason = room.run(SCRIPT, RoleArn=role, OutputDataConfig=output)["FailureReason"]
    assert reason.startswith("ClientError: Data upload failed: ") and named in reason, reason
    code = {"disabled": "KMS.DisabledException", "denied": "kms:GenerateDataKey"}.get(case, "KMS.NotFoundException")
    assert code in reason


def test_data_that_a_disabled_key_sealed_cannot_be_read(room: Room, role: str) -> None:
    kms, prefix = room.client("kms"), f"sealed-{secrets.token_hex(4)}"
    key = kms.create_key()["KeyMetadata"]["Arn"]
    sealed = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
    room.client("s3").put_object(Bucket=room.bucket, Key=f"{prefix}/1", Body=b"x", **sealed)
    kms.disable_key(KeyId=key.rpartition("/")[2])
    denied(room, role, "kms:CreateKey")
    reason = room.run(SCRIPT, RoleArn=role, channels=[room.channel("data", prefix)])["FailureReason"]
    assert reason.startswith("ClientError: Data download failed: ") and "KMS.DisabledException" in reason, reason


def test_checkpoints_that_the_role_may_not_list_are_the_clients_error(room: Room, role: str) -> None:
    denied(room, role, "s3:ListBucket", StringLike={"s3:prefix": "checkpoints-*"})
    kept = {"S3Uri": f"s3://{room.bucket}/checkpoints-{secrets.token_hex(4)}"}
    reason = room.run(SCRIPT, RoleArn=role, CheckpointConfig=kept)["FailureReason"]
    assert reason.startswith("ClientError: AccessDenied: ") and "s3:ListBucket" in reason, reason
