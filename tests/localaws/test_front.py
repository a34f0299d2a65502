"""The one port: every service that is listed answers, and what is not says so."""

import http.client
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
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(localaws.url).port, timeout=10)
    try:
        connection.request("POST", path, headers={**(headers or {}), "Host": host})
        return connection.getresponse().status
    finally:
        connection.close()
