"""Pages and their tokens: only tokens that the server issued lead anywhere."""

import time
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from localaws.errors import AwsError
from localaws.paging import name_in, page_of, token_of_name
from tests.conftest import RunningLocalAws
from tests.keys import for_boto3
from tests.localaws.functions.functions_kit import Functions

FOREIGN = ["9" * 6000, "5", "0", "-1", "x", "٣", "\x1b", "bnVsbA==", f"{5:016x}{0:032x}"]
OWN: list[tuple[str, str, dict[str, Any], str, str]] = [
    ("pricing", "get_products", {"ServiceCode": "AmazonEC2"}, "NextToken", "InvalidNextTokenException"),
    (
        "application-autoscaling",
        "describe_scalable_targets",
        {"ServiceNamespace": "sagemaker"},
        "NextToken",
        "InvalidNextTokenException",
    ),
    ("cloudwatch", "describe_alarm_history", {}, "NextToken", "InvalidNextToken"),
    ("lambda", "list_functions", {}, "Marker", "InvalidParameterValueException"),
    ("ec2", "describe_volumes", {}, "NextToken", "InvalidNextToken"),
    ("sagemaker", "list_training_jobs", {}, "NextToken", "ValidationException"),
    ("sagemaker", "list_hyper_parameter_tuning_jobs", {}, "NextToken", "ValidationException"),
    ("sagemaker", "list_notebook_instance_lifecycle_configs", {}, "NextToken", "ValidationException"),
    ("sagemaker", "list_models", {}, "NextToken", "ValidationException"),
    (
        "service-quotas",
        "list_service_quotas",
        {"ServiceCode": "ec2"},
        "NextToken",
        "InvalidPaginationTokenException",
    ),
    (
        "iam",
        "simulate_custom_policy",
        {"PolicyInputList": ["{}"], "ActionNames": ["s3:GetObject"]},
        "Marker",
        "ValidationError",
    ),
    ("ec2", "describe_instances", {}, "NextToken", "InvalidNextToken"),
    ("ec2", "describe_instance_types", {}, "NextToken", "InvalidNextToken"),
]


def test_each_page_leads_to_the_next_and_the_last_to_none() -> None:
    items, token = list(range(7)), None
    seen: list[int] = []
    for _ in range(3):
        page, token = page_of(items, token, 3, service="sagemaker")
        seen += page
    assert seen == items and token is None


def test_a_list_that_got_shorter_ends_where_a_token_leads() -> None:
    _, token = page_of(range(10), None, 5, service="sagemaker")
    assert page_of(range(4), token, 5, service="sagemaker") == (range(4, 4), None)


@pytest.mark.parametrize("token", FOREIGN)
def test_a_token_that_was_not_issued_is_refused(token: str) -> None:
    with pytest.raises(AwsError, match="ValidationException: The pagination token is invalid"):
        page_of(range(10), token, 5, service="sagemaker")


def test_a_token_with_another_characters_end_is_refused() -> None:
    _, token = page_of(range(10), None, 5, service="lambda")
    assert token is not None
    for changed in (token[:-1] + ("a" if token[-1] != "a" else "b"), token + "00", " " + token, token.upper() + "\n"):
        with pytest.raises(AwsError, match="InvalidParameterValueException"):
            page_of(range(10), changed, 5, service="lambda")


@pytest.mark.parametrize(("service", "operation", "parameters", "name", "code"), OWN, ids=[each[1] for each in OWN])
def test_an_operation_of_our_own_refuses_a_token_in_its_services_words_and_at_once(
    localaws: RunningLocalAws, service: str, operation: str, parameters: dict[str, Any], name: str, code: str
) -> None:
    call = getattr(localaws.client(service, parameter_validation=False), operation)
    for token in FOREIGN:
        begin = time.perf_counter()
        with pytest.raises(ClientError) as refused:
            call(**parameters, **{name: token})
        answer = refused.value.response
        codes = {code, "ValidationError" if service == "iam" else "ValidationException"}  # the latter: of its pattern
        assert answer["Error"]["Code"] in codes, answer
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400 and len(answer["Error"]["Message"]) < 8000
        assert time.perf_counter() - begin < 5


def test_instance_types_come_in_pages_of_at_most_100_as_from_aws(localaws: RunningLocalAws) -> None:
    """What moto knows of the types has features that botocore's model lacks, so that the client checks no reply."""
    ec2 = boto3.client("ec2", endpoint_url=localaws.url, region_name="us-east-1", **for_boto3())
    pages = [page["InstanceTypes"] for page in ec2.get_paginator("describe_instance_types").paginate()]
    names = [each["InstanceType"] for page in pages for each in page]
    assert {len(page) for page in pages[:-1]} == {100} and len(set(names)) == len(names) > 800
    assert len(ec2.describe_instance_types(MaxResults=5)["InstanceTypes"]) == 5
    one = ec2.describe_instance_types(InstanceTypes=["c7i.large"])
    assert [each["InstanceType"] for each in one["InstanceTypes"]] == ["c7i.large"] and "NextToken" not in one


@pytest.mark.parametrize("name", ["a", "b/", "é %2F", "x" * 1024])
def test_a_token_of_a_name_leads_behind_it_and_another_nowhere(name: str) -> None:
    token = token_of_name(name)
    assert name_in(token) == name
    assert [name_in(each) for each in (token[:-1] + "g", token[2:], name.encode().hex(), "never", "", "٣")] == [
        None
    ] * 6


def test_functions_come_in_pages_that_are_all_of_them_once(localaws: RunningLocalAws) -> None:
    made = Functions.of(localaws)
    names = {made.make() for _ in range(3)}
    aws = localaws.client("lambda")
    pages = list(aws.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2}))
    found = [each["FunctionName"] for page in pages for each in page["Functions"]]
    assert all(len(page["Functions"]) <= 2 for page in pages)
    assert names <= set(found) and len(found) == len(set(found))
    for name in names:
        aws.delete_function(FunctionName=name)


def test_volumes_come_in_pages_that_are_all_of_them_once(localaws: RunningLocalAws) -> None:
    ec2 = localaws.client("ec2")
    made = {ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"] for _ in range(7)}
    pages = list(ec2.get_paginator("describe_volumes").paginate(PaginationConfig={"PageSize": 5}))
    found = [each["VolumeId"] for page in pages for each in page["Volumes"]]
    assert len(pages) >= 2 and all(len(page["Volumes"]) <= 5 for page in pages)
    assert made <= set(found) and len(found) == len(set(found))
    for volume in made:
        ec2.delete_volume(VolumeId=volume)
