"""An answer that is not AWS's: noticed for every operation, asked for again, and then an error that says what came."""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import HeadersDict
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserFactory

from localaws.front import SERVICES
from tasks.ec2.state import why_ended
from tasks.run.aws import Aws
from tasks.run.errors import AwsFailed, MalformedAnswer, WaitTimedOut, aws_boundary, translate
from tasks.run.malformed_answers import CheckedParsers, MalformedAnswerError, name_operation
from tasks.run.needed_fields import NEEDED
from tasks.run.progress import LOGGER
from tasks.run.settings import EMBEDDED_AWS, Settings
from tasks.run.waiting import wait_for
from tasks.sagemaker.job import describe_job
from tasks.teardown.all_kinds import KINDS as KINDS_OF_RESOURCES
from tests.conftest import RunningLocalAws
from tests.counting_proxy import Calls, Fault, counting_proxy
from tests.kennel.shell import Terminal
from tests.keys import for_environment
from tests.malformed_answers import PAGE, PAGE_HEADERS, MalformedAnswers
from tests.tasks.run.test_needed_fields import model_of
from tests.tasks.run.test_waiting import ticking

NAMES = {
    "function-alias": "kennel-none:live",
    "function-url": "kennel-none:live",
    "provisioned-concurrency": "kennel-none:live",
    "scalable-target": "endpoint/kennel-none/variant/all",
    "s3-prefix": "kennel-none/prefix",
}
"""A name of each kind whose names are not of one word."""
MARK = "KennelFoundMalformed"
XML = b"<ListRolesResponse><ListRolesResult><Roles><member><RoleName>a</RoleName></member></Roles>"
TAKEN_AS_IT_IS = {"s3.GetObject", "s3.GetBucketPolicy", "s3.DeleteObjects"}
"""Operations whose reply is whatever the body is; a policy is compared with the wanted one, and a quiet deletion that
deleted everything answers nothing."""
OF_AWS = {"x-amzn-requestid": "7a62c49f-347e-4fc4-9331-6e8e1b5b4f0f"}
OF_S3 = {"x-amz-request-id": "4442587FB7D0A2F9", "x-amz-id-2": "vlR7PnpV2Ce81l0PRw6jlUpck7Jo5ZsQjryTjKlc5aLW"}
ASKED: Mapping[str, tuple[str, dict[str, Any]]] = {
    "application-autoscaling": ("describe_scalable_targets", {"ServiceNamespace": "sagemaker"}),
    "budgets": ("describe_budgets", {"AccountId": "123456789012"}),
    "ec2": ("describe_instances", {"InstanceIds": ["i-0123456789abcdef0"]}),
    "iam": ("get_role", {"RoleName": "none"}),
    "lambda": ("get_function", {"FunctionName": "none"}),
    "logs": ("describe_log_streams", {"logGroupName": "none"}),
    "monitoring": ("list_metrics", {}),
    "pricing": ("get_products", {"ServiceCode": "AmazonEC2"}),
    "kms": ("list_keys", {}),
    "s3": ("list_buckets", {}),
    "sagemaker": ("describe_endpoint", {"EndpointName": "none"}),
    "sagemaker-runtime": ("invoke_endpoint", {"EndpointName": "none", "Body": b""}),
    "servicequotas": ("list_service_quotas", {"ServiceCode": "ec2"}),
    "ssm": ("get_parameter", {"Name": "none"}),
    "sts": ("get_caller_identity", {}),
    "tagging": ("get_resources", {}),
}
"""Of each service that localaws has, a call."""
CODE_IN_A_HEADER = {"function", "function-alias", "function-url", "provisioned-concurrency"}
"""Kinds of Lambda, which names an error in a header too."""


def parse(operation: str, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Any:
    """Return what kennel's parser makes of an answer."""
    model = model_of(operation)
    parser = CheckedParsers(ResponseParserFactory()).create_parser(model.service_model.resolved_protocol)
    response = {"body": body, "headers": HeadersDict(headers or {}), "status_code": status}
    name_operation(model, response)
    return parser.parse(response, model.output_shape)


def is_json(operation: str) -> bool:
    return "json" in model_of(operation).service_model.resolved_protocol


@pytest.mark.parametrize("operation", sorted(set(NEEDED) - TAKEN_AS_IT_IS))
def test_no_operations_malformed_answer_passes_for_its_reply(operation: str) -> None:
    bodies = (b'{"a": [', b"[1", b"{}", b"[]", b'"x"', b"null") if is_json(operation) else (XML, b"<Empty/>", b"x")
    for body in (*bodies, b"", PAGE):
        assert MARK in parse(operation, body), body


@pytest.mark.parametrize(
    "operation", ["sagemaker.DeleteEndpoint", "s3.HeadBucket", "s3.PutBucketTagging", "lambda.GetFunctionConcurrency"]
)
def test_a_page_is_no_answer_to_a_call_whose_reply_may_be_empty(operation: str) -> None:
    assert MARK in parse(operation, PAGE, headers={"content-type": "text/html; charset=utf-8"})
    assert MARK not in parse(operation, b"", headers=OF_AWS)


def test_an_object_that_is_a_page_is_an_object_if_the_answer_has_s3s_id() -> None:
    headers = {"content-type": "text/html", "etag": '"a"', "content-length": "9"}
    assert parse("s3.HeadObject", b"", headers=headers | OF_S3)["ContentType"] == "text/html"
    assert MARK in parse("s3.HeadObject", b"", headers=headers)


@pytest.mark.parametrize("value", ["5", '"x"', "[1]", '{"a": 1}'])
def test_a_field_of_a_wrong_type_makes_an_answer_malformed(value: str) -> None:
    reply = f'{{"TrainingJobName": "a", "TrainingJobArn": "b", "TrainingJobStatus": "Failed", "CreationTime": {value}}}'
    is_time = value == "5"
    assert (MARK in parse("sagemaker.DescribeTrainingJob", reply.encode())) is not is_time
    assert MARK in parse("sagemaker.DescribeTrainingJob", reply.replace('"Failed"', "[1]").encode())


@pytest.mark.parametrize("body", [b"{}", PAGE, b"", b'{"__type": "'])
@pytest.mark.parametrize("status", [302, 400, 403, 404, 500, 503])
def test_an_error_without_a_code_is_malformed_and_a_404_does_not_mean_not_found(status: int, body: bytes) -> None:
    assert "names no error" in parse("sagemaker.DescribeEndpoint", body, status, OF_AWS)[MARK]
    if body:
        assert MARK in parse("s3.GetObject", body, status)


@pytest.mark.parametrize("status", [400, 403, 500])
@pytest.mark.parametrize(
    "body",
    [
        b'{"__type": ["x"], "message": "m"}',
        b'{"__type": {"a": 1}}',
        b'{"__type": 5, "message": "m"}',
        b'{"__type": "X", "message": {"a": [1]}}',
        b'{"__type": "X", "message": ["m"]}',
        b"[]",
        b"1",
        b"null",
        b"[" * 100_000,
    ],
)
def test_an_error_whose_code_or_message_is_no_text_is_malformed(status: int, body: bytes) -> None:
    assert MARK in parse("sagemaker.ListNotebookInstances", body, status, OF_AWS)


@pytest.mark.parametrize("body", [b"<R><Error>text</Error></R>", b"<R><Error><Code><a/></Code></Error></R>", b"<R/>"])
@pytest.mark.parametrize("operation", ["iam.ListRoles", "ec2.DescribeInstances", "s3.ListBuckets"])
def test_an_error_in_xml_without_a_readable_code_is_malformed(operation: str, body: bytes) -> None:
    assert MARK in parse(operation, body, 400, OF_AWS | OF_S3)


def test_the_words_of_an_error_are_cut_and_the_log_has_them_all(calls: Calls, tmp_path: Path) -> None:
    message = "first line\n" + "more\n" * 100_000
    body = json.dumps({"__type": "C" * 50_000, "message": message}).encode()
    calls.faults.append(Fault("SageMaker.DescribeEndpoint", instead=(400, body), headers=tuple(OF_AWS.items())))
    logged: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
    LOGGER.addHandler(handler)
    try:
        with pytest.raises(AwsFailed) as caught, aws_boundary("step"):
            client_of(calls, tmp_path).client("sagemaker").describe_endpoint(EndpointName="e")
    finally:
        LOGGER.removeHandler(handler)
    assert len(str(caught.value)) < 1500 and str(caught.value).count("\n") < 20
    assert f"({50_000 - 100:,} characters are left out" in caught.value.what
    assert caught.value.why.startswith("first line\nmore\n") and "characters are left out" in caught.value.why
    assert any(message in line for line in logged) and any("C" * 50_000 in line for line in logged)


def test_an_error_of_common_length_is_not_cut() -> None:
    body = json.dumps({"__type": "ValidationException", "message": "x" * 800}).encode()
    assert parse("sagemaker.DescribeEndpoint", body, 400, OF_AWS)["Error"]["Message"] == "x" * 800


@pytest.mark.parametrize("status", [200, 204, 301, 400, 403, 404, 500, 503])
@pytest.mark.parametrize(
    "operation",
    ["s3.HeadObject", "s3.HeadBucket", "s3.GetObject", "s3.DeleteBucket", "iam.DeleteRole", "lambda.GetAlias"],
)
def test_an_answer_with_neither_a_body_nor_an_id_is_not_awss(operation: str, status: int) -> None:
    headers = {"x-amzn-errortype": "ResourceNotFoundException"} if operation == "GetAlias" else {}
    assert "neither a body nor AWS's request id" in parse(operation, b"", status, headers)[MARK]


@pytest.mark.parametrize("status", [301, 302, 307])
@pytest.mark.parametrize("ids", [(), tuple(OF_S3.items())])
@pytest.mark.parametrize(
    ("call", "asked"), [("head_bucket", {}), ("head_object", {"Key": "k"}), ("list_objects_v2", {})]
)
def test_a_redirect_for_ever_that_names_no_region_ends(
    calls: Calls, tmp_path: Path, status: int, ids: tuple[tuple[str, str], ...], call: str, asked: dict[str, str]
) -> None:
    body = b"<Error><Code>PermanentRedirect</Code></Error>"
    for operation in (
        "HEAD /bucket-of-ours",
        "HEAD /bucket-of-ours/k",
        "GET /bucket-of-ours?list-type=2&encoding-type=url",
    ):
        calls.faults.append(Fault(operation, instead=(status, body), headers=ids, times=99))
    s3 = client_of(calls, tmp_path).client("s3")
    with pytest.raises(MalformedAnswer), aws_boundary("step"):
        getattr(s3, call)(Bucket="bucket-of-ours", **asked)
    assert len(calls.seen) == 2, "STS and one call"


def test_a_redirect_that_names_a_region_is_awss() -> None:
    answer = parse("s3.HeadBucket", b"", 301, OF_S3 | {"x-amz-bucket-region": "eu-west-1"})
    assert answer["Error"]["Code"] == "301" and MARK not in answer


def test_s3s_404_without_a_body_is_its_answer_to_head() -> None:
    assert parse("s3.HeadObject", b"", 404, OF_S3)["Error"]["Code"] == "404"


@pytest.mark.parametrize("service", sorted(set(SERVICES) | {"sagemaker-runtime"}))
def test_localaws_answers_each_service_with_an_id_as_aws_does(localaws: RunningLocalAws, service: str) -> None:
    client = localaws.client(SERVICES[service].model if service in SERVICES else service)
    call, asked = ASKED[service]
    try:
        answer = getattr(client, call)(**asked)
    except ClientError as error:
        answer = error.response
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert all(headers.get(name) for name in (OF_S3 if service == "s3" else OF_AWS)), headers


def test_localaws_answers_head_with_an_id_also_where_there_is_nothing(localaws: RunningLocalAws) -> None:
    s3, name = localaws.client("s3"), "kennel-test-ids"
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    answers = [s3.head_bucket(Bucket=name), s3.head_object(Bucket=name, Key="k")]
    missing: list[tuple[str, dict[str, str]]] = [
        ("head_bucket", {"Bucket": f"{name}-none"}),
        ("head_object", {"Bucket": name, "Key": "none"}),
    ]
    for call, asked in missing:
        with pytest.raises(ClientError) as caught:
            getattr(s3, call)(**asked)
        answers.append(caught.value.response)
    assert all(each["ResponseMetadata"]["HTTPHeaders"].keys() >= OF_S3.keys() for each in answers)


@pytest.mark.parametrize(
    "operation", ["sagemaker.DescribeEndpoint", "iam.ListRoles", "ec2.DescribeInstances", "s3.ListBuckets"]
)
def test_a_servers_error_without_a_code_says_its_first_bytes_escaped(operation: str) -> None:
    parsed = parse(operation, b"upstream \x1b[31m", 503)
    assert parsed[MARK].endswith(r"received: b'upstream \x1b[31m'")


def client_of(calls: Calls, folder: Path) -> Aws:
    return Aws(Settings(endpoint_url=calls.url, region="us-east-1", home=folder, runs=folder / "runs", max_attempts=1))


@pytest.mark.parametrize("headers", [(), PAGE_HEADERS])
def test_the_error_names_operation_endpoint_what_was_received_and_what_to_do(
    calls: Calls, tmp_path: Path, headers: tuple[tuple[str, str], ...]
) -> None:
    calls.faults.append(Fault("SageMaker.DescribeEndpoint", instead=(200, PAGE), headers=headers, times=9))
    client = client_of(calls, tmp_path).client("sagemaker")
    with pytest.raises(MalformedAnswer) as caught, aws_boundary("step"):
        client.describe_endpoint(EndpointName="e")
    error = caught.value
    assert (error.exit_code, error.is_reading) == (5, True)
    assert all(each in error.what for each in ("DescribeEndpoint", calls.url, "HTTP 200", repr(PAGE)))
    assert "curl" in error.next_command


def test_a_changing_call_may_have_been_carried_out_and_is_not_repeated_by_a_wait(calls: Calls, tmp_path: Path) -> None:
    calls.faults.append(Fault("SageMaker.CreateModel", instead=(200, b"{}"), times=9))
    client = client_of(calls, tmp_path).client("sagemaker")

    def probe() -> tuple[Any, str]:
        return client.create_model(ModelName="m"), "made"

    with pytest.raises(MalformedAnswerError) as caught:
        wait_for(EMBEDDED_AWS, "model m", probe, deadline_seconds=9, waiting=ticking(1))
    assert calls.seen.count("SageMaker.CreateModel") == 1
    assert "may have carried out CreateModel" in translate(caught.value, "step").why


def test_a_wait_goes_on_until_its_deadline(calls: Calls, tmp_path: Path) -> None:
    client, call = client_of(calls, tmp_path).client("sagemaker"), "SageMaker.ListEndpoints"

    def probe() -> tuple[Any, str]:
        return client.list_endpoints(), "listed"

    calls.faults.append(Fault(call, instead=(200, b"{}"), times=3))
    assert "Endpoints" in wait_for(EMBEDDED_AWS, "endpoints", probe, deadline_seconds=9, waiting=ticking(1))
    calls.faults.append(Fault(call, instead=(200, b"{}"), times=99))
    with pytest.raises(WaitTimedOut, match=r"still unknown \(ListEndpoints at http.*it lacks Endpoints"):
        wait_for(EMBEDDED_AWS, "endpoints", probe, deadline_seconds=9, waiting=ticking(1))


@pytest.mark.parametrize("kind", KINDS_OF_RESOURCES)
@pytest.mark.parametrize("way", ["empty", "page", "cut", "not found"])
def test_a_lookup_that_is_answered_so_for_ever_finds_neither_a_thing_nor_its_absence(
    localaws: RunningLocalAws, tmp_path: Path, kind: str, way: str
) -> None:
    answers, is_replaced = MalformedAnswers(only=frozenset(), kind=way), way in ("page", "not found")
    with counting_proxy(localaws.url, answers):
        aws = client_of(answers, tmp_path)
        looks: list[Callable[[], object]] = [lambda: list(KINDS_OF_RESOURCES[kind].find_tagged(aws))]
        if is_replaced or kind not in CODE_IN_A_HEADER:
            looks.append(lambda: KINDS_OF_RESOURCES[kind].find(aws, NAMES.get(kind, "kennel-none")))
        for look in looks:
            answers.recorded.clear()
            answers.only = frozenset()
            look()
            for operation in answers.recorded - {"sts.GetCallerIdentity", *(() if is_replaced else ("s3.HeadBucket",))}:
                answers.only = frozenset({operation})
                with pytest.raises((MalformedAnswer, MalformedAnswerError)):
                    look()


def test_a_job_of_which_nothing_is_told_is_not_another_plans(calls: Calls, tmp_path: Path) -> None:
    calls.faults.append(Fault("SageMaker.DescribeTrainingJob", instead=(200, b"{}"), times=9))
    with pytest.raises(MalformedAnswer, match="it lacks TrainingJobName"):
        describe_job(client_of(calls, tmp_path), "job")


@pytest.mark.parametrize("command", [("down", "--yes"), ("notebook", "list")])
def test_a_command_behind_a_captive_portal_ends_with_one_message(
    localaws: RunningLocalAws, tmp_path: Path, command: tuple[str, ...]
) -> None:
    with counting_proxy(localaws.url) as calls:
        calls.faults.append(Fault("GetCallerIdentity", instead=(200, PAGE), headers=PAGE_HEADERS, times=99))
        target = {"AWS_ENDPOINT_URL": calls.url, "AWS_REGION": "us-east-1", **for_environment()}
        terminal = Terminal(tmp_path / "home", tmp_path / "runs", {**target, "KENNEL_MAX_ATTEMPTS": "2"})
        done = terminal.kennel(*command)
    assert (done.code, calls.seen.count("GetCallerIdentity")) == (5, 2)
    assert "Traceback" not in done.err and done.err.count("GetCallerIdentity") == 1
    assert "it is an HTML page" in done.err and "curl" in done.err


def test_an_instance_of_which_nothing_readable_is_told_has_not_ended(calls: Calls, tmp_path: Path) -> None:
    calls.faults.append(Fault("DescribeInstances", instead=(200, b"<Cut"), times=9))
    assert why_ended(client_of(calls, tmp_path), "i-0123456789abcdef0") is None
