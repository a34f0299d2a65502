"""What CreateTrainingJob refuses, and the operations on the jobs that there are."""

from collections.abc import Sequence
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.keys import for_boto3
from tests.localaws.sagemaker.training.training_rooms import (
    Room,
)


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


def test_a_job_in_another_region_is_refused(room: Room) -> None:
    elsewhere = boto3.client("sagemaker", endpoint_url=room.url, region_name="eu-west-1", **for_boto3())

    with pytest.raises(ClientError, match="runs training jobs in us-east-1 only, not in eu-west-1"):
        elsewhere.create_training_job(**room.request("print()"))


def test_an_empty_channel_is_refused_before_anything_starts(room: Room) -> None:
    request = room.request("print()", channels=[room.channel("data", "nothing/here/")])

    with pytest.raises(ClientError, match=r'No S3 objects found under S3 URL "s3://.*/nothing/here/"') as refusal:
        room.client("sagemaker").create_training_job(**request)

    assert refusal.value.response["Error"]["Code"] == "ValidationException"


def test_more_instances_than_the_quota_are_refused(room: Room) -> None:
    with pytest.raises(ClientError) as refusal:
        room.start("print()", hosts=21)

    assert refusal.value.response["Error"]["Code"] == "ResourceLimitExceeded"


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
