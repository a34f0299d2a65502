"""The one port: every service that is listed answers, and what is not says so."""

import http.client
import json
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError

from tests.conftest import RunningLocalAws
from tests.keys import signed

READ_ONLY_CALLS = [
    ("s3", "list_buckets", {}),
    ("iam", "list_roles", {}),
    ("sts", "get_caller_identity", {}),
    ("ec2", "describe_instances", {}),
    ("ssm", "describe_parameters", {}),
    ("cloudwatch", "list_metrics", {}),
    ("logs", "describe_log_groups", {}),
    ("sagemaker", "list_training_jobs", {}),
    ("lambda", "list_functions", {}),
    ("application-autoscaling", "describe_scalable_targets", {"ServiceNamespace": "sagemaker"}),
    ("resourcegroupstaggingapi", "get_resources", {}),
]


@pytest.mark.parametrize(
    ("service", "operation", "parameters"), READ_ONLY_CALLS, ids=[row[0] for row in READ_ONLY_CALLS]
)
def test_every_listed_service_answers(
    localaws: RunningLocalAws, service: str, operation: str, parameters: dict[str, Any]
) -> None:
    assert getattr(localaws.client(service), operation)(**parameters)


@pytest.mark.parametrize("service", ["sqs", "dynamodb", "ecr", "events"])
def test_an_unsupported_service_is_named_in_an_aws_shaped_error(localaws: RunningLocalAws, service: str) -> None:
    call = {"sqs": "list_queues", "dynamodb": "list_tables", "ecr": "describe_repositories", "events": "list_rules"}
    with pytest.raises(ClientError, match=f"localaws does not emulate the service '{service}'") as caught:
        getattr(localaws.client(service), call[service])()
    assert caught.value.response["Error"]["Code"] == "UnsupportedOperation"


def test_an_unsupported_operation_is_named_in_an_aws_shaped_error(localaws: RunningLocalAws) -> None:
    for service, operation, parameters in (
        ("sagemaker", "list_subscribed_workteams", {}),
        ("sagemaker", "create_presigned_notebook_instance_url", {"NotebookInstanceName": "n"}),
        ("sagemaker", "start_pipeline_execution", {"PipelineName": "p", "ClientRequestToken": "t" * 32}),
        ("lambda", "list_code_signing_configs", {}),
        ("iam", "get_context_keys_for_custom_policy", {"PolicyInputList": ["{}"]}),
        ("cloudwatch", "describe_anomaly_detectors", {}),
    ):
        client = localaws.client(service)
        wire_name = client.meta.method_to_api_mapping[operation]
        with pytest.raises(ClientError, match=wire_name) as caught:
            getattr(client, operation)(**parameters)
        assert caught.value.response["Error"]["Code"].startswith("UnsupportedOperation")


ILLEGIBLE = "a\x1b\0\ufffe<&\N{GRINNING FACE}"


def trusting(name: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"AWS": name}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "code"),
    [
        (
            "iam",
            "create_role",
            {
                "RoleName": "illegible",
                "AssumeRolePolicyDocument": trusting(f"arn:aws:iam::123456789012:role/{ILLEGIBLE}"),
            },
            "MalformedPolicyDocument",
        ),
        ("iam", "get_user", {"UserName": ILLEGIBLE}, "ValidationError"),
        ("ec2", "describe_vpcs", {"VpcIds": [ILLEGIBLE]}, "InvalidVpcID.NotFound"),
        ("s3", "list_object_versions", {"Bucket": "nothing", "EncodingType": ILLEGIBLE}, "InvalidArgument"),
        ("s3", "get_object", {"Bucket": "illegible", "Key": ILLEGIBLE}, "NoSuchKey"),
    ],
)
def test_an_error_that_repeats_what_no_xml_may_hold_can_be_read(
    localaws: RunningLocalAws, service: str, operation: str, parameters: dict[str, Any], code: str
) -> None:
    localaws.client("s3").create_bucket(Bucket="illegible")
    with pytest.raises(ClientError) as refused:
        getattr(localaws.client(service, parameter_validation=False), operation)(**parameters)
    assert refused.value.response["Error"]["Code"] == code, refused.value.response


def test_a_reply_that_repeats_what_no_xml_may_hold_can_be_read(localaws: RunningLocalAws) -> None:
    ec2 = localaws.client("ec2", parameter_validation=False)
    vpc = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    ec2.create_tags(Resources=[vpc], Tags=[{"Key": "k", "Value": ILLEGIBLE}])
    [found] = ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"]
    assert found["Tags"] == [{"Key": "k", "Value": "a???<&\N{GRINNING FACE}"}]
    ec2.delete_vpc(VpcId=vpc)


def test_an_object_that_is_xml_comes_back_as_it_was_stored(localaws: RunningLocalAws) -> None:
    s3, content = localaws.client("s3"), b"<a>\x1b\xff</a>"
    s3.create_bucket(Bucket="xml-objects")
    s3.put_object(Bucket="xml-objects", Key="x", Body=content, ContentType="application/xml")
    assert s3.get_object(Bucket="xml-objects", Key="x")["Body"].read() == content


@pytest.mark.parametrize("host", ["evil.example.com", "169.254.169.254", "localhost.evil.com", "127.0.0.1.evil.com"])
def test_a_request_addressed_to_another_host_is_refused(localaws: RunningLocalAws, host: str) -> None:
    assert status_of(localaws, "/", host) == 403


def test_motos_own_control_pages_are_closed(localaws: RunningLocalAws) -> None:
    host = urlsplit(localaws.url).netloc
    assert status_of(localaws, "/moto-api/reset", host) == 403
    headers = signed(AWSRequest("POST", f"{localaws.url}/moto-api/reset"), "s3")
    assert status_of(localaws, "/moto-api/reset", host, headers) == 403  # an operation that IAM does not know


def test_log_lines_come_back_in_order_through_cloudwatch_logs(localaws: RunningLocalAws) -> None:
    logs = localaws.client("logs")
    logs.create_log_group(logGroupName="/front")
    logs.create_log_stream(logGroupName="/front", logStreamName="s")
    now = int(time.time() * 1000)
    events = [{"timestamp": now, "message": f"line {number}"} for number in range(250)]
    logs.put_log_events(logGroupName="/front", logStreamName="s", logEvents=events)
    got = logs.get_log_events(logGroupName="/front", logStreamName="s", startFromHead=True)["events"]
    assert [event["message"] for event in got] == [f"line {number}" for number in range(250)]


def status_of(localaws: RunningLocalAws, path: str, host: str, headers: dict[str, str] | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(localaws.url).port, timeout=60)
    try:
        connection.request("POST", path, headers={**(headers or {}), "Host": host})
        return connection.getresponse().status
    finally:
        connection.close()
