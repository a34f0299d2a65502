"""Operations that need more than one action, roles that are passed, tags, and what is not known."""

import contextlib
import json
from dataclasses import replace
from typing import Any

import pytest
from moto.ec2.models import ec2_backends

from localaws.errors import AwsError
from localaws.permissions.operations import Asked, operation_names
from localaws.permissions.questions import UnknownAction, questions_of
from tests.localaws.permissions.sent import (
    ALARM,
    EC2,
    IAM,
    KEY,
    LOGS,
    OBJECT,
    PLACE,
    PROFILE,
    ROLE,
    S3,
    SAGEMAKER,
    SCALED_BY,
    TAGS,
    UPLOAD,
    asks,
    questions,
    sent,
)

NAMES = ("ResourceArn", "EndpointName", "TrainingJobName", "ModelName", "logGroupName", "logStreamName", "resourceArn")


def test_a_question_has_the_account_of_its_arn() -> None:
    assert [each.owner_id for each in questions("ec2", "terminate_instances", InstanceIds=["i-1"])] == ["123456789012"]
    assert [each.owner_id for each in questions("s3", "list_buckets")] == [""]
    assert [
        each.owner_id for each in questions("iam", "get_policy", PolicyArn="arn:aws:iam::aws:policy/AnyPolicy")
    ] == [""]


def test_each_instance_that_is_terminated_is_a_question() -> None:
    asked = asks("ec2", "terminate_instances", InstanceIds=["i-1", "i-2"])
    assert asked == [("ec2:TerminateInstances", EC2 + f"instance/i-{each}") for each in (1, 2)]


def test_each_object_of_delete_objects_is_a_question() -> None:
    objects = [{"Key": "k"}, {"Key": "k", "VersionId": "1"}, {"Key": "k", "VersionId": "2"}]
    found = questions("s3", "delete_objects", Bucket="b", Delete={"Objects": objects})
    version = ("s3:DeleteObjectVersion", S3 + "b/k")
    assert [(each.action, each.resource) for each in found] == [("s3:DeleteObject", S3 + "b/k"), version, version]
    assert [each.context.get("s3:versionid") for each in found] == [None, ["1"], ["2"]]


@pytest.mark.parametrize("operation", ["get_caller_identity", "get_session_token"])
def test_anyone_may_ask_sts_about_themselves(operation: str) -> None:
    assert asks("sts", operation) == []


def test_a_role_of_another_account_is_that_accounts() -> None:
    arn = "arn:aws:iam::999999999999:role/x"
    (asked,) = questions("sts", "assume_role", RoleArn=arn, RoleSessionName="me", ExternalId="e1")
    assert (asked.action, asked.resource, asked.owner_id) == ("sts:AssumeRole", arn, "999999999999")
    assert [asked.context.get(f"sts:{key}") for key in ("externalid", "rolesessionname")] == [["e1"], ["me"]]


def test_tags_and_an_acl_of_a_new_object_need_more() -> None:
    asked = asks("s3", "put_object", **OBJECT, Body=b"x", Tagging="a=b", ACL="public-read")
    assert asked == [(f"s3:{each}", KEY) for each in ("PutObject", "PutObjectTagging", "PutObjectAcl")]


@pytest.mark.parametrize("operation", ["copy_object", "upload_part_copy"])
def test_a_copy_reads_its_source(operation: str) -> None:
    more = UPLOAD if operation == "upload_part_copy" else {}
    source = {"Bucket": "from", "Key": "x y/z", "VersionId": "v"}
    asked = asks("s3", operation, **OBJECT, **more, CopySource=source)
    assert asked == [("s3:PutObject", KEY), ("s3:GetObjectVersion", S3 + "from/x y/z")]


def test_an_endpoint_is_made_from_a_configuration_that_may_be_used() -> None:
    asked = asks("sagemaker", "create_endpoint", EndpointName="E", EndpointConfigName="C", Tags=TAGS)
    assert asked == [
        ("sagemaker:CreateEndpoint", SAGEMAKER + "endpoint/e"),
        ("sagemaker:CreateEndpoint", SAGEMAKER + "endpoint-config/c"),
        ("sagemaker:AddTags", SAGEMAKER + "endpoint/e"),
    ]


PASSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("sagemaker", "create_model", {"ModelName": "m", "ExecutionRoleArn": ROLE}, "sagemaker.amazonaws.com"),
    (
        *("sagemaker", "create_notebook_instance"),
        {"NotebookInstanceName": "n", "InstanceType": "ml.t3.medium", "RoleArn": ROLE},
        "sagemaker.amazonaws.com",
    ),
    (
        *("sagemaker", "create_training_job"),
        {
            "TrainingJobName": "j",
            "AlgorithmSpecification": {"TrainingInputMode": "File"},
            "RoleArn": ROLE,
            "OutputDataConfig": {"S3OutputPath": "s3://b/o"},
            "ResourceConfig": {"InstanceType": "ml.c7i.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {},
        },
        "sagemaker.amazonaws.com",
    ),
    ("lambda", "create_function", {"FunctionName": "f", "Role": ROLE, "Code": {}}, "lambda.amazonaws.com"),
    ("lambda", "update_function_configuration", {"FunctionName": "f", "Role": ROLE}, "lambda.amazonaws.com"),
    ("iam", "add_role_to_instance_profile", {**PROFILE, "RoleName": "kennel-trainer"}, "ec2.amazonaws.com"),
    (
        *("application-autoscaling", "register_scalable_target", {**SCALED_BY, "RoleARN": ROLE}),
        "application-autoscaling.amazonaws.com",
    ),
]


@pytest.mark.parametrize(("service", "operation", "parameters", "receiver"), PASSED)
def test_a_role_is_passed_to_a_service(service: str, operation: str, parameters: dict[str, Any], receiver: str) -> None:
    *_, passed = questions(service, operation, **parameters)
    assert (passed.action, passed.resource) == ("iam:PassRole", ROLE)
    assert passed.context.get("iam:passedtoservice") == [receiver]


def test_a_launch_asks_for_each_resource() -> None:
    asked = asks(
        *("ec2", "run_instances"),
        ImageId="ami-1",
        MinCount=1,
        MaxCount=1,
        KeyName="k",
        SecurityGroupIds=["sg-1", "sg-2"],
        TagSpecifications=[{"ResourceType": "instance", "Tags": TAGS}],
    )
    names = [
        *("instance/*", "network-interface/*", "security-group/sg-1", "security-group/sg-2", "subnet/*", "volume/*")
    ]
    assert asked == [
        ("ec2:RunInstances", "arn:aws:ec2:us-east-1::image/ami-1"),
        *(("ec2:RunInstances", EC2 + each) for each in [*names, "key-pair/k"]),
        ("ec2:CreateTags", EC2 + "instance/*"),
    ]


def test_a_launch_without_a_group_is_decided_on_the_default_one() -> None:
    default = ec2_backends[PLACE.account_id][PLACE.region].get_default_security_group()
    assert default is not None
    asked = asks("ec2", "run_instances", ImageId="ami-1", MinCount=1, MaxCount=1)
    assert [arn for _, arn in asked if ":security-group/" in arn] == [EC2 + f"security-group/{default.id}"]


def test_a_security_group_is_made_in_a_vpc_and_tagged() -> None:
    tags = [{"ResourceType": "security-group", "Tags": TAGS}]
    asked = questions(
        "ec2", "create_security_group", GroupName="g", Description="d", VpcId="vpc-1", TagSpecifications=tags
    )
    assert [(each.action, each.resource) for each in asked] == [
        ("ec2:CreateSecurityGroup", EC2 + "security-group/*"),
        ("ec2:CreateSecurityGroup", EC2 + "vpc/vpc-1"),
        ("ec2:CreateTags", EC2 + "security-group/*"),
    ]
    assert asked[2].context.get("ec2:createaction") == ["CreateSecurityGroup"]


def test_attributes_of_an_object_need_the_object_too() -> None:
    asked = asks("s3", "get_object_attributes", **OBJECT, ObjectAttributes=["ETag"])
    assert asked == [("s3:GetObjectAttributes", KEY), ("s3:GetObject", KEY)]


TAGGED: list[tuple[str, str, dict[str, Any], str, str]] = [
    (
        *("iam", "create_role", {"RoleName": "r", "Path": "/p/", "AssumeRolePolicyDocument": "{}", "Tags": TAGS}),
        *("iam:TagRole", IAM + "role/p/r"),
    ),
    (
        "iam",
        "create_instance_profile",
        {**PROFILE, "Tags": TAGS},
        "iam:TagInstanceProfile",
        IAM + "instance-profile/kennel-p",
    ),
    (
        *("iam", "create_open_id_connect_provider", {"Url": "https://x.example", "Tags": TAGS}),
        *("iam:TagOpenIDConnectProvider", IAM + "oidc-provider/*"),
    ),
    ("logs", "create_log_group", {"logGroupName": "g", "tags": {"a": "b"}}, "logs:TagResource", LOGS + "g"),
    (
        "ssm",
        "put_parameter",
        {"Name": "n", "Value": "v", "Tags": TAGS},
        "ssm:AddTagsToResource",
        "arn:aws:ssm:us-east-1:123456789012:parameter/n",
    ),
]


@pytest.mark.parametrize(("service", "operation", "parameters", "action", "resource"), TAGGED)
def test_tags_that_are_given_as_something_is_made_are_asked_for(
    service: str, operation: str, parameters: dict[str, Any], action: str, resource: str
) -> None:
    assert asks(service, operation, **parameters)[1:] == [(action, resource)]


def test_an_action_that_is_not_known_is_named() -> None:
    with pytest.raises(UnknownAction, match="localaws does not know the action s3:GetObjectTorrent"):
        questions("s3", "get_object_torrent", **OBJECT)
    with pytest.raises(UnknownAction, match="localaws does not know the action dynamodb:POST /"):
        questions_of(Asked("dynamodb", "POST", "/", "", {}, b"{}"), PLACE)


def test_a_bucket_in_the_host_is_the_bucket() -> None:
    asked = sent("s3", "get_object", Bucket="b", Key="k")
    virtual = Asked("s3", "GET", "/k", "", {**asked.headers, "host": "b.s3.us-east-1.amazonaws.com"})
    assert [each.resource for each in questions_of(virtual, PLACE)] == [S3 + "b/k"]


def test_a_name_that_is_missing_or_of_another_type_is_any() -> None:
    asked = sent("sagemaker", "describe_endpoint", EndpointName="e")
    for body in (b"{}", b'{"EndpointName": 5}', b'{"EndpointName": {"a": []}}'):
        found = questions_of(Asked("sagemaker", "POST", "/", "", asked.headers, body), PLACE)
        assert [each.resource for each in found] == [SAGEMAKER + "endpoint/*"]


def test_a_parameter_of_another_operation_does_not_stand_for_what_is_acted_on() -> None:
    asked = sent("cloudwatch", "delete_alarms", AlarmNames=["theirs"])
    more = replace(asked, body=b'{"AlarmName": "mine", "AlarmNames": ["theirs"]}')
    assert [each.resource for each in questions_of(more, PLACE)] == [ALARM + "theirs"]


def test_all_names_of_a_resource_are_asked_about() -> None:
    keys = asks("ec2", "delete_key_pair", KeyName="mine", KeyPairId="key-1")
    assert keys == [("ec2:DeleteKeyPair", EC2 + f"key-pair/{each}") for each in ("mine", "*")]
    groups = asks("logs", "filter_log_events", logGroupName="mine", logGroupIdentifier=LOGS + "theirs")
    assert [resource for _, resource in groups] == [LOGS + f"{each}:log-stream:" for each in ("mine", "theirs")]


def test_a_version_of_a_parameter_is_the_parameter() -> None:
    expected = [("ssm:GetParameter", "arn:aws:ssm:us-east-1:123456789012:parameter/a/b")]
    assert asks("ssm", "get_parameter", Name="/a/b:3") == expected


@pytest.mark.parametrize("value", [5, "x", ["x", 5], {"x": ["y"]}], ids=str)
@pytest.mark.parametrize(("service", "like"), [("sagemaker", "list_models"), ("logs", "describe_log_groups")])
def test_a_value_of_any_type_has_its_questions(service: str, like: str, value: Any) -> None:
    """What is of a wrong type is refused by the service, after the decision."""
    asked = sent(service, like)
    prefix = asked.headers["x-amz-target"].partition(".")[0]
    for name in operation_names(service):
        given = json.dumps(dict.fromkeys((*NAMES, "Tags", "tags", "TagKeys", "RoleArn", "ResourceConfig"), value))
        headers = {**asked.headers, "x-amz-target": f"{prefix}.{name}"}
        with contextlib.suppress(UnknownAction, AwsError):
            for question in questions_of(replace(asked, headers=headers, body=given.encode()), PLACE):
                assert all(isinstance(each, str) for each in question.context.get("aws:tagkeys") or [])
