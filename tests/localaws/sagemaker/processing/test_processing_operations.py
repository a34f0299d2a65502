"""What CreateProcessingJob refuses, and the operations on the jobs that there are."""

from collections.abc import Callable, Mapping
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.conftest import RunningLocalAws
from tests.keys import for_boto3
from tests.localaws.callers import allow, make_user, refusal
from tests.localaws.sagemaker.processing.processing_rooms import ProcessingRoom

Change = Callable[[dict[str, Any]], object]


def of_input(**values: Any) -> Change:
    return lambda request: request["ProcessingInputs"][0]["S3Input"].update(values)


REFUSALS: Mapping[str, tuple[Change, str]] = {
    "image": (lambda r: r["AppSpecification"].update(ImageUri="r/xgboost:1"), "processing image 'r/xgboost:1'"),
    "no entry point": (lambda r: r["AppSpecification"].pop("ContainerEntrypoint"), "AppSpecification.ContainerEntry"),
    "pipe": (of_input(S3InputMode="Pipe"), "does not support S3InputMode 'Pipe'"),
    "gzip": (of_input(S3CompressionType="Gzip"), "does not support S3CompressionType 'Gzip'"),
    "path": (of_input(LocalPath="/opt/ml/input"), "LocalPath '/opt/ml/input' is not below /opt/ml/processing"),
    "climbing path": (of_input(LocalPath="/opt/ml/processing/../x"), "is not below /opt/ml/processing"),
    "experiment": (lambda r: r.update(ExperimentConfig={"ExperimentName": "e"}), "ExperimentConfig"),
    "one path twice": (
        lambda r: r["ProcessingInputs"].append({**r["ProcessingInputs"][0], "InputName": "other"}),
        "Local paths must be unique",
    ),
    "one name twice": (
        lambda r: r["ProcessingInputs"].append(r["ProcessingInputs"][0]),
        "Input names must be unique",
    ),
    "nothing there": (of_input(S3Uri="s3://no-such-bucket-here/x"), 'No S3 objects found under S3 URL "s3://no-such'),
    "role": (lambda r: r.update(RoleArn="arn:aws:iam::123456789012:role/nobody"), "Could not assume role arn:aws:iam"),
    "output": (
        lambda r: r.update(
            ProcessingOutputConfig={
                "Outputs": [
                    {
                        "OutputName": "o",
                        "S3Output": {
                            "S3Uri": "s3://no-such-bucket-here/x",
                            "LocalPath": "/opt/ml/processing/o",
                            "S3UploadMode": "EndOfJob",
                        },
                    }
                ]
            }
        ),
        "S3 bucket 'no-such-bucket-here'",
    ),
    "type": (
        lambda r: r["ProcessingResources"]["ClusterConfig"].update(InstanceType="ml.none"),
        "'processingResources.clusterConfig.instanceType' failed to satisfy constraint",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_request_that_cannot_be_carried_out_is_refused_by_name(room: ProcessingRoom, case: str) -> None:
    change, message = REFUSALS[case]
    request = room.request("print()")
    change(request)

    with pytest.raises(ClientError) as refusal:
        room.sagemaker.create_processing_job(**request)

    assert refusal.value.response["Error"]["Code"] == "ValidationException"
    assert message in refusal.value.response["Error"]["Message"]


def test_a_job_in_another_region_is_refused(room: ProcessingRoom) -> None:
    elsewhere = boto3.client("sagemaker", endpoint_url=room.account.url, region_name="eu-west-1", **for_boto3())

    with pytest.raises(ClientError, match="runs processing jobs in us-east-1 only, not in eu-west-1"):
        elsewhere.create_processing_job(**room.request("print()"))


def test_more_instances_than_the_quota_are_refused(room: ProcessingRoom) -> None:
    with pytest.raises(ClientError, match=r"'ml\.m5\.large for processing job usage' is 20 Instances") as refusal:
        room.start("print()", hosts=21)

    assert refusal.value.response["Error"]["Code"] == "ResourceLimitExceeded"


def test_names_are_unique_listed_tagged_and_free_again_after_delete(room: ProcessingRoom) -> None:
    sagemaker = room.sagemaker
    request = room.request("print('once')", Tags=[{"Key": "kennel:run", "Value": "r1"}])
    arn, name = sagemaker.create_processing_job(**request)["ProcessingJobArn"], request["ProcessingJobName"]
    assert arn == f"arn:aws:sagemaker:us-east-1:123456789012:processing-job/{name}"

    with pytest.raises(ClientError) as refusal:
        sagemaker.create_processing_job(**request)
    assert refusal.value.response["Error"]["Code"] == "ResourceInUse"
    room.end_of(name)
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "kennel:run", "Value": "r2"}])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "kennel:run", "Value": "r2"}]
    (summary,) = sagemaker.list_processing_jobs(NameContains=name, StatusEquals="Completed")["ProcessingJobSummaries"]
    assert (summary["ProcessingJobArn"], summary["ProcessingJobStatus"]) == (arn, "Completed")

    sagemaker.delete_processing_job(ProcessingJobName=name)

    with pytest.raises(ClientError, match=f"Could not find requested job with name: {name}") as missing:
        room.describe(name)
    assert missing.value.response["Error"]["Code"] == "ValidationException"


def test_the_list_is_sorted_before_it_is_paged(room: ProcessingRoom) -> None:
    names = sorted(room.run("print()")["ProcessingJobName"] for _ in range(3))
    pages = room.sagemaker.get_paginator("list_processing_jobs").paginate(
        SortBy="Name", SortOrder="Descending", NameContains="processing-", PaginationConfig={"PageSize": 2}
    )

    listed = [each["ProcessingJobName"] for page in pages for each in page["ProcessingJobSummaries"]]

    assert listed == sorted(listed, reverse=True)
    assert set(names) <= set(listed)


def test_a_caller_needs_the_action_and_may_pass_the_role(localaws: RunningLocalAws, room: ProcessingRoom) -> None:
    action = allow("sagemaker:CreateProcessingJob", "arn:aws:sagemaker:*:*:processing-job/*")
    wrong_service = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
    right_service = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
    nobody = make_user(localaws, allow("iam:PassRole"))
    passes_none = make_user(localaws, action, allow("iam:PassRole", Condition=wrong_service))
    everything = make_user(localaws, action, allow("iam:PassRole", room.account.role, Condition=right_service))
    request = room.request("print()")

    for somebody, missing in ((nobody, "sagemaker:CreateProcessingJob"), (passes_none, "iam:PassRole")):
        code, message = refusal(somebody.client("sagemaker").create_processing_job, **request)
        assert code == "AccessDeniedException" and missing in message
    assert everything.client("sagemaker").create_processing_job(**request)["ProcessingJobArn"]
    code, message = refusal(
        everything.client("sagemaker").stop_processing_job, ProcessingJobName=request["ProcessingJobName"]
    )
    assert code == "AccessDeniedException" and "sagemaker:StopProcessingJob" in message
