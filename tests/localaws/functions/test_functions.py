"""Lambda through boto3: real processes behind the Runtime API."""

import asyncio
import base64
import json
import re
import shutil
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import boto3
import pytest
from botocore.exceptions import ClientError

from localaws.core import Core
from localaws.functions.concurrency import ThrottledError
from localaws.functions.deployment import Deployment
from localaws.functions.launch import Launch
from localaws.functions.pool import Pool
from tests.hearing import TELL, hearing
from tests.localaws import outer_pid
from tests.localaws.functions.functions_kit import WHO, Functions, Metrics, error_of, zipped
from tests.localaws.outer_pid import is_gone
from tests.localaws.roles import remove_role
from tests.polling import wait_until

FAULTY = """
import os, sys, time, json
print("loading")
def handler(event, context):
    print("to stdout"); print("to stderr", file=sys.stderr)
    if "raise" in event: raise ValueError(event["raise"])
    if "exit" in event: os._exit(event["exit"])
    if "sleep" in event: time.sleep(event["sleep"])
    if "megabytes" in event: hold = b"x" * (event["megabytes"] << 20); time.sleep(5)
    if "answer_bytes" in event: return "x" * event["answer_bytes"]
    return {"pid": PID, "left": context.get_remaining_time_in_millis(), "environ": dict(os.environ)}
""".replace("PID", outer_pid.WHO)


@pytest.fixture(scope="module")
def faulty(functions: Functions) -> str:
    return functions.make(FAULTY, Timeout=2, Environment={"Variables": {"COLOUR": "blue"}})


def test_a_function_is_active_with_its_code_unpacked_and_its_zip_can_be_had(
    functions: Functions, localaws: Any
) -> None:
    import httpx

    archive = zipped(WHO)
    created = functions.create("f-active", Code={"ZipFile": archive}, Publish=True)
    assert (created["State"], created["LastUpdateStatus"], created["Version"]) == ("Active", "Successful", "1")
    configuration = functions.aws.get_function_configuration(FunctionName="f-active")
    assert configuration["CodeSha256"] == created["CodeSha256"]
    assert configuration["RevisionId"] != created["RevisionId"]
    location = functions.aws.get_function(FunctionName="f-active")["Code"]["Location"]
    assert httpx.get(location).content == archive
    assert httpx.get(location.partition("?")[0]).status_code == 403
    assert httpx.get(location[:-1] + ("0" if location[-1] != "0" else "1")).status_code == 403


def test_a_warm_environment_is_used_again_and_only_the_first_call_pays_for_init(functions: Functions) -> None:
    name = functions.make()
    cold, warm = (functions.invoke(name, LogType="Tail") for _ in range(2))
    assert cold["Payload"]["pid"] == warm["Payload"]["pid"]
    logs = [base64.b64decode(reply["LogResult"]).decode() for reply in (cold, warm)]
    assert "Init Duration: " in logs[0]
    assert "Init Duration: " not in logs[1]
    assert cold["ExecutedVersion"] == "$LATEST"


def test_calls_at_the_same_time_run_in_environments_of_their_own(functions: Functions) -> None:
    name = functions.make("import os, time\ndef handler(e, c):\n    time.sleep(0.4)\n    return " + outer_pid.WHO)
    with ThreadPoolExecutor(3) as threads:
        pids = list(threads.map(lambda _: functions.invoke(name)["Payload"], range(3)))
    assert len(set(pids)) == 3


def test_a_handlers_exception_is_the_payload_and_is_logged(functions: Functions, faulty: str) -> None:
    reply = functions.invoke(faulty, {"raise": "boom"}, LogType="Tail")
    assert (reply["StatusCode"], reply["FunctionError"]) == (200, "Unhandled")
    assert reply["Payload"]["errorType"] == "ValueError"
    assert reply["Payload"]["errorMessage"] == "boom"
    assert "in handler" in reply["Payload"]["stackTrace"][0]
    log = base64.b64decode(reply["LogResult"]).decode()
    assert "[ERROR] ValueError: boom" in log
    assert "to stderr" in log


def test_a_timeout_kills_the_environment_and_the_next_call_gets_another(functions: Functions, faulty: str) -> None:
    before = functions.invoke(faulty)["Payload"]["pid"]
    started = time.perf_counter()
    reply = functions.invoke(faulty, {"sleep": 30}, LogType="Tail")
    assert 2.0 <= time.perf_counter() - started < 25, "the handler would have slept 30 s"
    assert reply["FunctionError"] == "Unhandled"
    assert reply["Payload"]["errorType"] == "Sandbox.Timedout"
    assert re.fullmatch(r"RequestId: \S+ Error: Task timed out after 2\.00 seconds", reply["Payload"]["errorMessage"])
    assert "Status: timeout" in base64.b64decode(reply["LogResult"]).decode()
    wait_until(lambda: is_gone(before))
    assert functions.invoke(faulty)["Payload"]["pid"] != before


@pytest.mark.parametrize(
    ("event", "message", "in_report"),
    [
        ({"exit": 3}, "Runtime exited with error: exit status 3", "Error Type: Runtime.ExitError"),
        ({"exit": 0}, "Runtime exited without providing a reason", "Error Type: Runtime.ExitError"),
        ({"megabytes": 300}, "Runtime exited with error: signal: killed", "Error Type: Runtime.OutOfMemory"),
    ],
)
def test_a_lost_process_is_told_as_aws_tells_it(
    functions: Functions, faulty: str, event: dict[str, int], message: str, in_report: str
) -> None:
    reply = functions.invoke(faulty, event, LogType="Tail")
    assert reply["FunctionError"] == "Unhandled"
    assert reply["Payload"]["errorType"] == "Runtime.ExitError"
    assert reply["Payload"]["errorMessage"].endswith(message)
    assert in_report in base64.b64decode(reply["LogResult"]).decode()


@pytest.mark.parametrize(
    ("source", "handler", "error_type", "message"),
    [
        (
            "import nothing_like_it\n",
            "handler.handler",
            "Runtime.ImportModuleError",
            "No module named 'nothing_like_it'",
        ),
        ("x = 1\n", "handler.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'handler'"),
        ("1 / 0\n", "handler.handler", "ZeroDivisionError", "division by zero"),
        ("import os\nos._exit(7)\n", "handler.handler", "Runtime.ExitError", "exit status 7"),
    ],
)
def test_a_function_that_cannot_be_loaded_says_why(
    functions: Functions, source: str, handler: str, error_type: str, message: str
) -> None:
    reply = functions.invoke(functions.make(source, Handler=handler))
    assert (reply["FunctionError"], reply["Payload"]["errorType"]) == ("Unhandled", error_type)
    assert message in reply["Payload"]["errorMessage"]


def test_an_answer_over_six_megabytes_is_refused(functions: Functions, faulty: str) -> None:
    reply = functions.invoke(faulty, {"answer_bytes": 6_300_000})
    assert reply["Payload"] == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    }
    assert len(functions.invoke(faulty, {"answer_bytes": 6_000_000})["Payload"]) == 6_000_000


def test_the_process_sees_lambdas_environment_and_its_roles_credentials(
    functions: Functions, faulty: str, localaws: Any
) -> None:
    environ = functions.invoke(faulty)["Payload"]["environ"]
    assert environ["COLOUR"] == "blue"
    assert environ["AWS_LAMBDA_FUNCTION_NAME"] == faulty
    assert environ["AWS_LAMBDA_FUNCTION_VERSION"] == "$LATEST"
    assert environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "128"
    assert environ["AWS_LAMBDA_LOG_GROUP_NAME"] == f"/aws/lambda/{faulty}"
    assert environ["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.11"
    assert environ["AWS_ENDPOINT_URL"] == localaws.url
    caller = boto3.client(
        "sts",
        endpoint_url=localaws.url,
        region_name="us-east-1",
        aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=environ["AWS_SESSION_TOKEN"],
    ).get_caller_identity()
    assert f"assumed-role/{functions.role.rpartition('/')[2]}/{faulty}" in caller["Arn"]


def test_output_and_platform_lines_arrive_in_cloudwatch_logs_in_order(functions: Functions, localaws: Any) -> None:
    name = functions.make(FAULTY)
    functions.invoke(name)
    group, logs = f"/aws/lambda/{name}", localaws.client("logs")

    def messages() -> list[str]:
        groups = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
        events = logs.filter_log_events(logGroupName=group)["events"] if groups else []
        return [event["message"] for event in events]

    found = wait_until(messages)
    assert found[0].startswith("INIT_START Runtime Version: python3.11")
    starts = [line.split(" ")[0].strip() for line in found[1:]]
    assert starts[:1] + starts[-2:] == ["START", "END", "REPORT"]
    assert [line for line in found if line in ("loading", "to stdout", "to stderr")] == [
        "loading",
        "to stdout",
        "to stderr",
    ]
    assert re.search(
        r"\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\tMax Memory Used: \d+", found[-1]
    )
    stream = logs.describe_log_streams(logGroupName=group)["logStreams"][0]["logStreamName"]
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", stream)


def test_metrics_count_every_invocation_error_and_throttle_exactly(functions: Functions, metrics: Metrics) -> None:
    name = functions.make(FAULTY)
    for event in ({}, {}, {"raise": "x"}):
        functions.invoke(name, event)
    functions.aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    error_of(functions.aws.invoke, FunctionName=name)
    counted = [metrics.get(metric, "Sum", FunctionName=name) for metric in ("Invocations", "Errors", "Throttles")]
    assert counted == [3, 1, 1]
    assert metrics.get("Duration", "SampleCount", FunctionName=name) == 3


def test_calls_through_a_version_count_once_for_the_function_and_once_for_the_version(
    functions: Functions, metrics: Metrics
) -> None:
    name = functions.make()
    functions.aws.publish_version(FunctionName=name)
    for qualifier in ({}, {"Qualifier": "1"}, {"Qualifier": "1"}):
        functions.invoke(name, **qualifier)
    assert metrics.get("Invocations", "Sum", FunctionName=name) == 3
    assert metrics.get("Invocations", "Sum", FunctionName=name, Resource=f"{name}:1") == 2
    assert metrics.get("Invocations", "Sum", Resource=f"{name}:1") is None


def test_a_published_version_keeps_its_code_and_publishing_no_change_makes_none(functions: Functions) -> None:
    name = functions.make("def handler(e, c):\n    return 'one'\n")
    first = functions.aws.publish_version(FunctionName=name, Description="the first")
    assert (first["Version"], first["Description"]) == ("1", "the first")
    assert functions.aws.publish_version(FunctionName=name)["Version"] == "1"
    functions.aws.update_function_code(FunctionName=name, ZipFile=zipped("def handler(e, c):\n    return 'two'\n"))
    assert functions.aws.publish_version(FunctionName=name)["Version"] == "2"
    assert [functions.invoke(name, Qualifier=version)["Payload"] for version in ("1", "2")] == ["one", "two"]
    assert functions.invoke(f"{name}:1")["ExecutedVersion"] == "1"
    versions = functions.aws.list_versions_by_function(FunctionName=name)["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", "1", "2"]
    functions.aws.delete_function(FunctionName=name, Qualifier="2")
    functions.aws.update_function_configuration(FunctionName=name, Timeout=9)
    assert functions.aws.publish_version(FunctionName=name)["Version"] == "3"


def test_publish_refuses_another_sha_or_revision(functions: Functions) -> None:
    name = functions.make()
    code, message, _ = error_of(functions.aws.publish_version, FunctionName=name, CodeSha256="AAAA")
    assert code == "InvalidParameterValueException"
    assert message.startswith("CodeSHA256 (AAAA) is different from current CodeSHA256 in $LATEST")
    code, message, status = error_of(functions.aws.publish_version, FunctionName=name, RevisionId="nope")
    assert (code, status) == ("PreconditionFailedException", 412)
    assert message.startswith("The Revision Id provided does not match the latest Revision Id.")


def test_an_alias_is_followed_and_its_weights_share_the_calls(functions: Functions) -> None:
    name = functions.make("def handler(e, c):\n    return c.invoked_function_arn\n", Publish=True)
    functions.aws.update_function_configuration(FunctionName=name, Timeout=7)
    functions.aws.publish_version(FunctionName=name)
    functions.aws.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    reply = functions.invoke(name, Qualifier="live")
    assert (reply["ExecutedVersion"], reply["Payload"].endswith(f":function:{name}:live")) == ("1", True)
    routing = {"AdditionalVersionWeights": {"2": 0.5}}
    functions.aws.update_alias(FunctionName=name, Name="live", RoutingConfig=routing)
    arn = functions.aws.get_alias(FunctionName=name, Name="live")["AliasArn"]
    shares = Counter(functions.invoke(arn)["ExecutedVersion"] for _ in range(60))
    assert set(shares) == {"1", "2"}
    assert min(shares.values()) >= 12  # p < 1e-6 for a fair coin
    functions.aws.update_alias(FunctionName=name, Name="live", FunctionVersion="2", RoutingConfig={})
    assert {functions.invoke(name, Qualifier="live")["ExecutedVersion"] for _ in range(5)} == {"2"}
    code, message, status = error_of(functions.aws.delete_function, FunctionName=name, Qualifier="2")
    assert (code, status) == ("ResourceConflictException", 409)
    assert "referenced by alias live" in message


def test_new_code_retires_the_old_environments(functions: Functions) -> None:
    name = functions.make()
    old = functions.invoke(name)["Payload"]["pid"]
    functions.aws.update_function_code(FunctionName=name, ZipFile=zipped("def handler(e, c):\n    return 'new'\n"))
    assert functions.invoke(name)["Payload"] == "new"
    wait_until(lambda: is_gone(old))


EXITING = """
import os
from awslambdaric.lambda_runtime_client import BaseLambdaRuntimeClient as Client
ask, asked = Client.wait_next_invocation, []
def ask_once(self):
    if asked:
        os._exit(1)
    asked.append(1)
    return ask(self)
Client.wait_next_invocation = ask_once
def handler(event, context):
    return PID
""".replace("PID", outer_pid.WHO)


def test_a_process_that_ends_after_its_answer_costs_no_other_call(functions: Functions) -> None:
    name = functions.make(EXITING)
    replies = [functions.invoke(name) for _ in range(4)]
    assert [reply.get("FunctionError") for reply in replies] == [None] * 4
    assert len({reply["Payload"] for reply in replies}) == 4


def test_a_deleted_function_has_no_process_when_the_call_returns(functions: Functions) -> None:
    name = functions.make()
    pid = functions.invoke(name)["Payload"]["pid"]
    functions.aws.delete_function(FunctionName=name)
    assert is_gone(pid)
    code, message, status = error_of(functions.aws.invoke, FunctionName=name)
    assert (code, status) == ("ResourceNotFoundException", 404)
    assert message == f"Function not found: arn:aws:lambda:us-east-1:123456789012:function:{name}"


def test_an_unknown_qualifier_is_not_found_and_two_qualifiers_must_agree(functions: Functions) -> None:
    name = functions.make()
    code, message, _ = error_of(functions.aws.invoke, FunctionName=name, Qualifier="9")
    assert code == "ResourceNotFoundException"
    assert message == f"Function not found: arn:aws:lambda:us-east-1:123456789012:function:{name}:9"
    code, message, _ = error_of(functions.aws.invoke, FunctionName=f"{name}:1", Qualifier="2")
    assert code == "InvalidParameterValueException"
    assert message == "The derived qualifier from the function name does not match the specified qualifier."


def test_a_payload_must_be_json_and_small_enough(functions: Functions, faulty: str) -> None:
    code, message, status = error_of(functions.aws.invoke, FunctionName=faulty, Payload=b"{not json")
    assert (code, status) == ("InvalidRequestContentException", 400)
    assert message.startswith("Could not parse request body into json: ")
    large = json.dumps("x" * 6_291_456)
    code, message, status = error_of(functions.aws.invoke, FunctionName=faulty, Payload=large)
    assert (code, status) == ("RequestEntityTooLargeException", 413)
    assert message == "Request must be smaller than 6291456 bytes for the InvokeFunction operation"


def test_dry_run_and_event_answer_without_running_or_waiting(functions: Functions) -> None:
    name = functions.make(TELL + "def handler(e, c):\n    tell(e['ear'], 'started')\n", Timeout=60)
    with hearing(is_open=False) as ear:  # the handler cannot end before the gate is open
        assert functions.invoke(name, {"ear": ear.port}, InvocationType="DryRun")["StatusCode"] == 204
        assert functions.invoke(name, {"ear": ear.port}, InvocationType="Event")["StatusCode"] == 202
        wait_until(lambda: ear.lines)
        ear.gate.set()
        assert ear.lines == ["started"], "the dry run has run nothing"


def test_reserved_concurrency_binds_with_awss_reason(functions: Functions) -> None:
    name = functions.make(TELL + "def handler(e, c):\n    tell(e['ear'], 'started')\n")
    functions.aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    with ThreadPoolExecutor(1) as threads, hearing(is_open=False) as ear:
        running = threads.submit(functions.invoke, name, {"ear": ear.port})
        wait_until(lambda: ear.lines)
        with pytest.raises(functions.aws.exceptions.TooManyRequestsException) as caught:
            functions.invoke(name, {"ear": ear.port})
        ear.gate.set()
        assert "FunctionError" not in running.result(60)
    response: Any = caught.value.response
    assert response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert response["Error"]["Message"] == "Rate Exceeded."
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 429
    code, message, _ = error_of(
        functions.aws.put_function_concurrency, FunctionName=name, ReservedConcurrentExecutions=950
    )
    assert code == "InvalidParameterValueException"
    assert message.endswith("below its minimum value of [100].")


def test_code_comes_from_s3_and_a_missing_object_is_told(functions: Functions, localaws: Any) -> None:
    storage = localaws.client("s3")
    storage.create_bucket(Bucket="function-code")
    storage.put_object(Bucket="function-code", Key="f.zip", Body=zipped("def handler(e, c):\n    return 's3'\n"))
    name = functions.make(Code={"S3Bucket": "function-code", "S3Key": "f.zip"})
    assert functions.invoke(name)["Payload"] == "s3"
    code, message, _ = error_of(functions.create, name="f-s3", Code={"S3Bucket": "function-code", "S3Key": "none"})
    assert (code, "S3 Error Code: NoSuchKey." in message) == ("InvalidParameterValueException", True)


@pytest.mark.parametrize("archive", [b"no zip", zipped("x", "../../outside.py"), zipped("x", "/absolute.py")])
def test_a_zip_that_is_none_or_leaves_its_folder_is_refused(functions: Functions, archive: bytes) -> None:
    code, message, _ = error_of(functions.create, name="f-bad-zip", Code={"ZipFile": archive})
    assert code == "InvalidParameterValueException"
    assert message.startswith(
        ("Could not unzip uploaded file.", "The zip holds an entry that localaws does not unpack")
    )


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"Runtime": "nodejs22.x"}, "Value nodejs22.x at 'runtime'"),
        ({"Architectures": ["arm64"]}, 'Architectures=["arm64"]'),
        ({"Layers": ["arn:aws:lambda:us-east-1:123456789012:layer:x:1"]}, "Layers="),
        ({"PackageType": "Image", "Code": {"ImageUri": "x"}}, 'PackageType="Image"'),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "Reserved keys used in this request: AWS_REGION"),
        ({"Role": "arn:aws:iam::123456789012:role/none"}, "cannot be assumed by Lambda."),
    ],
)
def test_what_is_not_emulated_is_refused_by_name(functions: Functions, config: dict[str, Any], named: str) -> None:
    code, message, status = error_of(functions.create, name="f-refused", **{"Code": {"ZipFile": zipped(WHO)}, **config})
    assert (code, status) == ("InvalidParameterValueException", 400)
    assert named in message


def test_operations_that_are_not_emulated_are_refused_by_name(functions: Functions) -> None:
    name = functions.make()
    code, message, _ = error_of(functions.aws.get_function_code_signing_config, FunctionName=name)
    assert code == "UnsupportedOperationException"
    assert message == "localaws does not emulate the Lambda operation GetFunctionCodeSigningConfig."


def test_a_function_whose_role_is_gone_cannot_run(localaws: Any) -> None:
    own = Functions.of(localaws)
    name = own.make()
    remove_role(localaws.client("iam"), own.role.rpartition("/")[2])
    code, message, status = error_of(own.aws.invoke, FunctionName=name)
    assert (code, status) == ("AccessDeniedException", 403)
    assert message == "The role defined for the function cannot be assumed by Lambda."


def test_a_function_that_cannot_be_started_is_a_fault_in_awss_shape(functions: Functions, localaws: Any) -> None:
    name = functions.make()
    shutil.rmtree(localaws.home / "functions" / "code" / name)
    code, message, status = error_of(functions.aws.invoke, FunctionName=name)
    assert (code, status) == ("ServiceException", 500)
    assert "could not be started" in message


def test_the_machine_runs_only_so_many_environments() -> None:
    def launch(executor: ThreadPoolExecutor) -> Launch:
        return Launch(cast(Core, None), Path("/nonexistent"), executor)

    deployment = Deployment("f", "1", "arn", "r", "python3.11", "h.h", "role", Path("/nonexistent"), {}, 3, 128)
    with pytest.raises(ThrottledError) as caught:
        asyncio.run(Pool(launch, machine_limit=0).take(deployment))
    assert caught.value.reason == "ConcurrentInvocationLimitExceeded"
    assert "localaws runs at most 0 execution environments" in caught.value.message


def test_tags_and_resource_policy_are_kept(functions: Functions) -> None:
    name = functions.make(Tags={"kennel:run": "r1"})
    arn = functions.aws.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    functions.aws.tag_resource(Resource=arn, Tags={"more": "x"})
    assert functions.aws.list_tags(Resource=arn)["Tags"] == {"kennel:run": "r1", "more": "x"}
    functions.aws.add_permission(
        FunctionName=name, StatementId="s", Action="lambda:InvokeFunction", Principal="events.amazonaws.com"
    )
    assert '"Sid":"s"' in functions.aws.get_policy(FunctionName=name)["Policy"].replace(" ", "")


def test_a_published_function_is_deleted_by_the_arn_that_creating_it_answers(functions: Functions) -> None:
    created = functions.create("f-published", Code={"ZipFile": zipped(WHO)}, Publish=True)
    assert (created["FunctionArn"].rpartition(":")[2], created["Version"]) == ("f-published", "1")
    functions.aws.delete_function(FunctionName=created["FunctionArn"])
    with pytest.raises(ClientError, match="Function not found"):
        functions.aws.get_function(FunctionName="f-published")


def test_a_qualified_arn_deletes_one_version(functions: Functions) -> None:
    arn = functions.create("f-version", Code={"ZipFile": zipped(WHO)}, Publish=True)["FunctionArn"]
    functions.aws.delete_function(FunctionName=f"{arn}:1")
    versions = functions.aws.list_versions_by_function(FunctionName=arn)["Versions"]
    assert [each["Version"] for each in versions] == ["$LATEST"]
