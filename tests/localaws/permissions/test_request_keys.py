"""Condition keys of requests: those that the reference names for the action and its resource."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends
from moto.logs.models import logs_backends
from moto.sagemaker.models import sagemaker_backends

from localaws.permissions.questions import Question, questions_of
from tests.localaws.permissions.sent import LAMBDA, OBJECT, PLACE, ROLE, SAGEMAKER, SCALED_BY, TAGS, questions, sent

TRUST = '{"Statement": []}'
LAUNCH: dict[str, Any] = {"ImageId": "ami-1", "MinCount": 1, "MaxCount": 1}


@pytest.fixture
def iam() -> Iterator[Any]:
    """moto's IAM, empty before and after."""
    backend = iam_backends[PLACE.account_id]["aws"]
    backend.reset()
    yield backend
    backend.reset()


def values(question: Question, *keys: str) -> list[list[str] | None]:
    return [question.context.get(key.lower()) for key in keys]


def make_role(backend: Any, name: str, path: str = "/", tags: list[dict[str, str]] | None = None, **more: Any) -> Any:
    given = {"permissions_boundary": None, "description": "", "max_session_duration": "3600", **more}
    return backend.create_role(name, TRUST, path, tags=tags or [], **given)


def test_every_question_has_the_region() -> None:
    assert values(questions("iam", "list_roles")[0], "aws:RequestedRegion") == [["us-east-1"]]


def test_tags_of_a_request_are_keys() -> None:
    make, tag = questions("sagemaker", "create_model", ModelName="m", Tags=TAGS)
    for each in (make, tag):
        assert values(each, "aws:RequestTag/kennel:run", "aws:TagKeys") == [["r1"], ["kennel:run"]]


def test_keys_that_are_taken_away_are_keys() -> None:
    (asked,) = questions("sagemaker", "delete_tags", ResourceArn=SAGEMAKER + "model/m", TagKeys=["a", "b"])
    assert values(asked, "aws:TagKeys", "aws:RequestTag/a") == [["a", "b"], None]


def test_tags_of_a_launch_are_those_of_the_kind() -> None:
    tags = [{"ResourceType": "instance", "Tags": TAGS}]
    given: dict[str, Any] = {**LAUNCH, "InstanceType": "c7i.large", "TagSpecifications": tags}
    asked = {(each.action, each.resource.split(":")[5]): each for each in questions("ec2", "run_instances", **given)}
    keys = ("aws:RequestTag/kennel:run", "ec2:InstanceType", "ec2:Region")
    assert values(asked["ec2:RunInstances", "instance/*"], *keys) == [["r1"], ["c7i.large"], ["us-east-1"]]
    assert values(asked["ec2:RunInstances", "volume/*"], *keys) == [None, None, ["us-east-1"]]
    assert values(asked["ec2:CreateTags", "instance/*"], keys[0], "ec2:CreateAction") == [["r1"], ["RunInstances"]]


def test_a_listing_has_its_prefix_and_an_object_its_headers() -> None:
    (listing,) = questions("s3", "list_objects_v2", Bucket="b", Prefix="data/", Delimiter="/", MaxKeys=5)
    assert values(listing, "s3:prefix", "s3:delimiter", "s3:max-keys") == [["data/"], ["/"], ["5"]]
    put = questions("s3", "put_object", **OBJECT, Body=b"", ServerSideEncryption="AES256", Tagging="a=b&c=d")[0]
    assert values(put, "s3:x-amz-server-side-encryption", "s3:RequestObjectTag/a") == [["AES256"], ["b"]]
    assert values(put, "s3:authType", "s3:signatureversion") == [["REST-HEADER"], ["AWS4-HMAC-SHA256"]]


def test_tags_and_a_region_in_a_body_are_keys() -> None:
    (tagging,) = questions("s3", "put_object_tagging", **OBJECT, Tagging={"TagSet": TAGS})
    assert values(tagging, "s3:RequestObjectTag/kennel:run", "s3:RequestObjectTagKeys") == [["r1"], ["kennel:run"]]
    place = {"LocationConstraint": "eu-west-1"}
    (making,) = questions("s3", "create_bucket", Bucket="b", CreateBucketConfiguration=place)
    assert values(making, "s3:locationconstraint") == [["eu-west-1"]]


def test_the_id_of_a_resource_is_a_key() -> None:
    asked = {each.resource: each for each in questions("ec2", "run_instances", **LAUNCH, SecurityGroupIds=["sg-1"])}
    group = next(each for arn, each in asked.items() if arn.endswith("security-group/sg-1"))
    volume = next(each for arn, each in asked.items() if arn.endswith("volume/*"))
    assert (*values(group, "ec2:SecurityGroupID"), *values(volume, "ec2:VolumeID")) == (["sg-1"], None)


def test_instance_types_of_sagemaker_are_a_key() -> None:
    variants = [{"VariantName": each, "ModelName": "m", "InstanceType": f"ml.{each}.large"} for each in ("m5", "c5")]
    (asked,) = questions("sagemaker", "create_endpoint_config", EndpointConfigName="c", ProductionVariants=variants)
    assert values(asked, "sagemaker:InstanceTypes") == [["ml.m5.large", "ml.c5.large"]]


MANAGED = "arn:aws:iam::aws:policy/P"
SPOT = "spot.amazonaws.com"
PARAMETERS: list[tuple[str, str, dict[str, Any], str, str]] = [
    ("cloudwatch", "put_metric_data", {"Namespace": "N", "MetricData": []}, "cloudwatch:namespace", "N"),
    ("iam", "attach_role_policy", {"RoleName": "r", "PolicyArn": MANAGED}, "iam:PolicyARN", MANAGED),
    ("iam", "create_service_linked_role", {"AWSServiceName": SPOT}, "iam:AWSServiceName", SPOT),
    ("lambda", "create_event_source_mapping", {"FunctionName": "f"}, "lambda:FunctionArn", LAMBDA + "f"),
    (
        *("application-autoscaling", "put_scaling_policy", {**SCALED_BY, "PolicyName": "p"}),
        *("application-autoscaling:service-namespace", "sagemaker"),
    ),
]


@pytest.mark.parametrize(("service", "operation", "parameters", "key", "value"), PARAMETERS)
def test_a_parameter_is_a_key(service: str, operation: str, parameters: dict[str, Any], key: str, value: str) -> None:
    assert values(questions(service, operation, **parameters)[0], key) == [[value]]


def test_a_role_has_the_path_tags_and_boundary_that_moto_keeps(iam: Any) -> None:
    boundary = "arn:aws:iam::123456789012:policy/bound"
    allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    iam.create_policy("", "/", json.dumps(allowed), "bound", [])
    make_role(iam, "worker", "/teams/", tags=TAGS, permissions_boundary=boundary)
    (asked,) = questions_of(sent("iam", "delete_role_policy", RoleName="worker", PolicyName="p"), PLACE)
    assert asked.resource == "arn:aws:iam::123456789012:role/teams/worker"
    keys = ("aws:ResourceTag/kennel:run", "iam:ResourceTag/kennel:run", "iam:PermissionsBoundary")
    assert values(asked, *keys) == [["r1"], ["r1"], [boundary]]


def test_a_parameter_that_an_operation_does_not_have_is_no_boundary(iam: Any) -> None:
    make_role(iam, "unbound")
    body = f"Action=PutRolePolicy&Version=2010-05-08&RoleName=unbound&PolicyName=p&PermissionsBoundary={ROLE}"
    asked = questions_of(replace(sent("iam", "list_roles"), body=body.encode()), PLACE)
    assert [values(each, "iam:PermissionsBoundary") for each in asked] == [[None]]


def test_a_launch_with_a_profile_passes_its_role(iam: Any) -> None:
    make_role(iam, "worker", "/teams/")
    iam.create_instance_profile("profile", "/", "")
    iam.add_role_to_instance_profile("profile", "worker")
    asked = questions_of(sent("ec2", "run_instances", **LAUNCH, IamInstanceProfile={"Name": "profile"}), PLACE)
    instance = next(each for each in asked if each.resource.endswith("instance/*"))
    assert values(instance, "ec2:InstanceProfile") == [["arn:aws:iam::123456789012:instance-profile/profile"]]
    assert (asked[-1].action, asked[-1].resource) == ("iam:PassRole", "arn:aws:iam::123456789012:role/teams/worker")
    assert values(asked[-1], "iam:PassedToService") == [["ec2.amazonaws.com"]]


def test_tags_of_an_instance_are_looked_up_when_they_are_asked_for() -> None:
    backend = ec2_backends[PLACE.account_id]["us-east-1"]
    (asked,) = questions_of(sent("ec2", "terminate_instances", InstanceIds=["i-0tagged"]), PLACE)
    backend.tags["i-0tagged"]["kennel:run"] = "r1"
    try:
        assert values(asked, "aws:ResourceTag/kennel:run", "ec2:ResourceTag/kennel:run") == [["r1"], ["r1"]]
    finally:
        del backend.tags["i-0tagged"]


def test_tags_are_found_by_arn_whatever_its_case_stream_or_form() -> None:
    sagemaker = sagemaker_backends[PLACE.account_id][PLACE.region]
    logs = logs_backends[PLACE.account_id][PLACE.region]
    sagemaker.create_endpoint_config("Config-Tagged", [], {}, {}, TAGS, "")
    logs.create_log_group("tagged", {"kennel:run": "r1"})
    try:
        (config,) = questions("sagemaker", "describe_endpoint_config", EndpointConfigName="Config-Tagged")
        (log,) = questions("logs", "get_log_events", logGroupName="tagged", logStreamName="s")
        assert values(config, "aws:ResourceTag/kennel:run") == values(log, "aws:ResourceTag/kennel:run") == [["r1"]]
    finally:
        sagemaker.delete_endpoint_config("Config-Tagged")
        logs.delete_log_group("tagged")


def test_what_is_another_account_s_has_no_tags_here() -> None:
    (asked,) = questions("sagemaker", "list_tags", ResourceArn="arn:aws:sagemaker:us-east-1:999999999999:model/m")
    assert (asked.owner_id, values(asked, "aws:ResourceTag/team")) == ("999999999999", [None])


@pytest.mark.parametrize(
    ("service", "operation", "parameters"),
    [
        ("sagemaker", "describe_endpoint", {"EndpointName": "none"}),
        ("lambda", "get_function", {"FunctionName": "none"}),
        ("logs", "get_log_events", {"logGroupName": "none", "logStreamName": "s"}),
        ("cloudwatch", "delete_alarms", {"AlarmNames": ["none"]}),
        ("ssm", "get_parameter", {"Name": "none"}),
        ("s3", "get_object", {"Bucket": "none", "Key": "k"}),
        ("iam", "get_role", {"RoleName": "none"}),
        ("ec2", "terminate_instances", {"InstanceIds": ["i-none"]}),
    ],
)
def test_what_does_not_exist_has_no_tags(service: str, operation: str, parameters: dict[str, Any]) -> None:
    (asked,) = questions_of(sent(service, operation, **parameters), PLACE)
    assert values(asked, "aws:ResourceTag/team", "s3:ExistingObjectTag/team") == [None, None]
