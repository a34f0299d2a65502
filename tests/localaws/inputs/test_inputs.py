"""What breaks botocore's model of an operation is refused with the service's code and AWS's sentence."""

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError

from localaws.inputs.faults import refusal_of
from localaws.inputs.gate import InputGate
from localaws.inputs.java_patterns import compiled
from localaws.inputs.refusals import check_constraints
from localaws.permissions.operations import Asked
from tests.conftest import RunningLocalAws
from tests.keys import signed
from tests.localaws.auth.wire import send

CODE = {"ZipFile": b"x"}
ROLE = "arn:aws:iam::123456789012:role/r"
FUNCTION = {"FunctionName": "f", "Runtime": "python3.12", "Role": ROLE, "Handler": "h.h", "Code": CODE}
SCALED = {"ServiceNamespace": "sagemaker"}
REFUSED: list[tuple[str, str, dict[str, Any], str, str]] = [
    (
        "sagemaker",
        "list_training_jobs",
        {"SortBy": "blah"},
        "ValidationException",
        "1 validation error detected: Value 'blah' at 'sortBy' failed to satisfy constraint: "
        "Member must satisfy enum value set: [Name, CreationTime, Status]",
    ),
    (
        "sagemaker",
        "list_endpoints",
        {"MaxResults": 101, "SortOrder": "up"},
        "ValidationException",
        "2 validation errors detected: Value 'up' at 'sortOrder' failed to satisfy constraint: Member must satisfy "
        "enum value set: [Ascending, Descending]; Value '101' at 'maxResults' failed to satisfy constraint: "
        "Member must have value less than or equal to 100",
    ),
    (
        "lambda",
        "create_function",
        {**FUNCTION, "Architectures": ["foo"]},
        "ValidationException",
        "1 validation error detected: Value '[foo]' at 'architectures' failed to satisfy constraint: Member must "
        "satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]",
    ),
    (
        "lambda",
        "create_function",
        {**FUNCTION, "Role": "r"},
        "ValidationException",
        "1 validation error detected: Value 'r' at 'role' failed to satisfy constraint: Member must satisfy regular "
        r"expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+",
    ),
    (
        "lambda",
        "create_function",
        {**FUNCTION, "FunctionName": "a b"},
        "ValidationException",
        "at 'functionName' failed",
    ),
    (
        "application-autoscaling",
        "describe_scalable_targets",
        {"ServiceNamespace": "blah"},
        "ValidationException",
        "Value 'blah' at 'serviceNamespace' failed to satisfy constraint: Member must satisfy enum value set: [",
    ),
    (
        "application-autoscaling",
        "describe_scalable_targets",
        {**SCALED, "ScalableDimension": "x:y"},
        "ValidationException",
        "Value 'x:y' at 'scalableDimension' failed to satisfy constraint: Member must satisfy enum value set: [",
    ),
    (
        "application-autoscaling",
        "describe_scalable_targets",
        {},
        "ValidationException",
        "Value null at 'serviceNamespace'",
    ),
    (
        "application-autoscaling",
        "describe_scalable_targets",
        {**SCALED, "NextToken": "x"},
        "InvalidNextTokenException",
        "",
    ),
    ("logs", "describe_log_groups", {"nextToken": "bnVsbA=="}, "InvalidParameterException", "nextToken is invalid"),
    (
        "iam",
        "simulate_custom_policy",
        {"PolicyInputList": ["{}"], "ActionNames": ["s3:Get"], "CallerArn": "a"},
        "InvalidInput",
        "Invalid ARN: a",
    ),
    ("logs", "create_log_group", {"logGroupName": "a b"}, "InvalidParameterException", "at 'logGroupName' failed"),
    ("iam", "list_access_keys", {"MaxItems": 0}, "ValidationError", "Value '0' at 'maxItems' failed"),
    ("iam", "list_roles", {"Marker": "x"}, "ValidationError", "Invalid Marker"),
    (
        "cloudwatch",
        "get_metric_statistics",
        {"Namespace": "N", "MetricName": "M", "StartTime": 0, "EndTime": 60, "Period": 60, "Statistics": ["Most"]},
        "ValidationError",
        "Value 'Most' at 'statistics.1.member' failed to satisfy constraint: Member must satisfy enum value set: [",
    ),
    ("ssm", "get_parameters", {"Names": []}, "ValidationException", "Value '[]' at 'names' failed"),
    ("ec2", "describe_instances", {"MaxResults": "many"}, "InvalidParameterValue", "MaxResults"),
    ("ec2", "delete_vpc", {}, "MissingParameter", "The request must contain the parameter VpcId"),
    ("s3", "list_objects_v2", {"Bucket": "b", "MaxKeys": "x"}, "InvalidArgument", "MaxKeys"),
    ("s3", "list_objects_v2", {"Bucket": "b", "EncodingType": "x"}, "InvalidArgument", "Invalid Encoding Method"),
    ("sagemaker", "list_models", {"MaxResults": "many"}, "SerializationException", "STRING_VALUE can not be converted"),
    ("sagemaker", "list_models", {"NameContains": ["x"]}, "SerializationException", "Start of list found"),
]


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "code", "text"),
    REFUSED,
    ids=[f"{each[1]}-{n}" for n, each in enumerate(REFUSED)],
)
def test_an_input_that_breaks_the_model_is_refused_in_awss_words(
    localaws: RunningLocalAws, service: str, operation: str, parameters: dict[str, Any], code: str, text: str
) -> None:
    with pytest.raises(ClientError) as refused:
        getattr(localaws.client(service, parameter_validation=False), operation)(**parameters)
    error = refused.value.response["Error"]
    assert error["Code"] == code and text in error["Message"], error


@pytest.mark.parametrize(
    ("service", "operation", "given", "code"),
    [
        ("kms", "generate_random", {}, "ValidationException"),
        ("kms", "retire_grant", {"GrantId": "g"}, "ValidationException"),
        ("ec2", "allocate_hosts", {"AvailabilityZone": "us-east-1a"}, "InvalidParameterValue"),
    ],
)
def test_a_parameter_that_moto_needs_although_the_model_does_not_is_the_clients_to_give(
    localaws: RunningLocalAws, service: str, operation: str, given: dict[str, Any], code: str
) -> None:
    with pytest.raises(ClientError, match="A parameter that the operation needs is not given") as refused:
        getattr(localaws.client(service), operation)(**given)
    assert refused.value.response["Error"]["Code"] == code


def test_a_value_that_moto_cannot_take_apart_is_the_clients(localaws: RunningLocalAws) -> None:
    logs = localaws.client("logs")
    logs.create_log_group(logGroupName="taken-apart")
    filtered = {"logGroupName": "taken-apart", "filterName": "f", "filterPattern": ""}
    with pytest.raises(ClientError, match="has not the form that the operation needs") as refused:
        logs.put_subscription_filter(**filtered, destinationArn="nowhere")
    assert refused.value.response["Error"]["Code"] == "InvalidParameterException"


def test_a_fault_of_our_own_is_no_clients() -> None:
    asked = Asked("kms", "POST", "/", "", {"x-amz-target": "TrentService.GenerateRandom"}, b"{}")
    assert asked.operation.name == "GenerateRandom"
    for fault in (TypeError("'NoneType' object is not iterable"), ValueError("not enough values to unpack")):
        try:
            raise fault
        except Exception as error:  # noqa: BLE001 what is raised here has a place here
            assert refusal_of(error, asked) is None


@pytest.mark.parametrize("service", ["lambda", "sagemaker"])
def test_a_role_of_another_account_is_refused_as_aws_does(localaws: RunningLocalAws, service: str) -> None:
    role, client = "arn:aws:iam::999999999999:role/theirs", localaws.client(service)
    with pytest.raises(ClientError, match="Cross-account pass role is not allowed") as refused:
        if service == "lambda":
            client.create_function(**{**FUNCTION, "Role": role})
        else:
            client.create_model(ModelName="m", ExecutionRoleArn=role, PrimaryContainer={"Image": "x"})
    expected = {"lambda": "AccessDeniedException", "sagemaker": "ValidationException"}[service]
    assert refused.value.response["Error"]["Code"] == expected


def test_a_body_of_another_type_is_refused_before_permissions_are_asked(localaws: RunningLocalAws) -> None:
    headers = {"X-Amz-Target": "SageMaker.ListModels", "Content-Type": "application/x-amz-json-1.1"}
    body = json.dumps({"NextToken": {"a": 1}})
    request = AWSRequest("POST", f"{localaws.url}/", headers, body)
    answer = send(localaws.url, "POST", "/", signed(request, "sagemaker"), body.encode())
    assert answer.status == 400 and b"SerializationException" in answer.body


def test_javas_patterns_are_read_as_java_reads_them() -> None:
    for pattern, right, wrong in (
        (r"[\p{L}_]+", "äb_", "ä b"),
        (r"\p{Print}+", "a b", "ä"),
        (r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\r\n\t]*", "a\N{GRINNING FACE}", "\0"),
        (r"[\p{L}\p{M}\p{Z}\p{S}\p{N}\p{P}]*", "a-1 €", "\0"),
    ):
        found = compiled(pattern)
        assert found is not None and found.is_all_of(right) and not found.is_all_of(wrong)
    union = compiled(r"[\w-_]*")
    assert union is not None and union.is_all_of("a-_") and not union.is_all_of("a b")
    assert compiled(r"[a") is None


@pytest.mark.parametrize(("service", "path"), [("sagemaker", "/endpoints/e/invocations"), ("lambda", "/f/invocations")])
def test_what_is_invoked_most_passes_the_gate_by_within_ten_microseconds(service: str, path: str) -> None:
    looked = InputGate(lambda *_: None, check_constraints)  # type: ignore[arg-type]
    scope = {"path": path, "localaws.signed": SimpleNamespace(service=service)}
    repeats, best = 2000, float("inf")
    for _ in range(5):
        begin = time.perf_counter()
        for _ in range(repeats):
            looked._look(scope)
        best = min(best, (time.perf_counter() - begin) / repeats)
    assert best * 1e6 < 10 and "localaws.asked" not in scope
