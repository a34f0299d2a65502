"""Lambda's concurrency through boto3: provisioned, reserved, unreserved, what is throttled and what is counted."""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws.functions.concurrency import Concurrency, RefusedError, Resource, ThrottledError
from tests.conftest import ROOT
from tests.localaws.functions.functions_kit import TRUST, Functions, error_of, zipped

HOLD = """
import os, pathlib, time
def handler(event, context):
    if event.get("exit"):
        os._exit(event["exit"])
    if "gate" in event:
        gate = pathlib.Path(event["gate"])
        (gate / context.aws_request_id).touch()
        while not (gate / "open").exists():
            time.sleep(0.01)
    kind = os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
    return {"type": kind, "pid": os.getpid(), "version": context.function_version}
"""
SLOW = "import time\ntime.sleep(0.8)\n" + HOLD
DYING = "import os\nprint('last words')\nos._exit(7)\n"
RAISING = "raise RuntimeError('no luck')\n"


@pytest.fixture(scope="module")
def functions(localaws: Any) -> Functions:
    return Functions.of(localaws)


def poll(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        time.sleep(0.03)
    return found


def make_alias(functions: Functions, source: str = HOLD, **config: Any) -> str:
    """Make a function whose alias `live` points to version 1; return its name."""
    name = functions.make(source, Publish=True, **config)
    functions.aws.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    return name


def provision(functions: Functions, name: str, executions: int, qualifier: str = "live") -> Any:
    return functions.aws.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=executions
    )


def settled(functions: Functions, name: str, qualifier: str = "live") -> Any:
    """Wait until the configuration is READY or FAILED; return it."""

    def found() -> Any:
        shown = functions.aws.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
        return shown if shown["Status"] != "IN_PROGRESS" else None

    return poll(found)


def counts(shown: Any) -> tuple[str, int, int, int]:
    """Return status, requested, allocated, available."""
    kinds = ("Requested", "Allocated", "Available")
    requested, allocated, available = (shown[f"{kind}ProvisionedConcurrentExecutions"] for kind in kinds)
    return shown["Status"], requested, allocated, available


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


class Held:
    """Invocations that stay in the handler until the gate is opened."""

    def __init__(self, functions: Functions, name: str, folder: Path, threads: ThreadPoolExecutor) -> None:
        self._functions = functions
        self._name = name
        self._folder = folder
        self._threads = threads
        self.running: list[Any] = []

    def start(self, qualifier: str | None = "live") -> None:
        """Invoke once and return when the handler runs."""
        where = {} if qualifier is None else {"Qualifier": qualifier}
        event = {"gate": str(self._folder)}
        self.running.append(self._threads.submit(self._functions.invoke, self._name, event, **where))
        poll(lambda: len(list(self._folder.iterdir())) == len(self.running))

    def refusal(self, qualifier: str | None = "live") -> Any:
        """Invoke once more and return the refusal."""
        where = {} if qualifier is None else {"Qualifier": qualifier}
        with pytest.raises(self._functions.aws.exceptions.TooManyRequestsException) as caught:
            self._functions.invoke(self._name, {}, **where)
        return caught.value.response

    def finish(self) -> list[Any]:
        """Open the gate and return what the handlers answered."""
        (self._folder / "open").touch()
        return [each.result(20)["Payload"] for each in self.running]


@contextmanager
def holding(functions: Functions, name: str, folder: Path) -> Iterator[Held]:
    folder.mkdir()
    with ThreadPoolExecutor(8) as threads:
        held = Held(functions, name, folder, threads)
        try:
            yield held
        finally:
            (folder / "open").touch()


class Metrics:
    """Reads AWS/Lambda."""

    def __init__(self, localaws: Any) -> None:
        self._aws = localaws.client("cloudwatch")

    def get(self, metric: str, statistic: str, **dimensions: str) -> float | None:
        """Return a statistic over all the time there was, None without a data point."""
        now = datetime.now(UTC)
        points = self._aws.get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName=metric,
            Dimensions=[{"Name": key, "Value": value} for key, value in dimensions.items()],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(minutes=5),
            Period=60,
            Statistics=[statistic],
        )["Datapoints"]
        values = [float(point[statistic]) for point in points]
        if not values:
            return None
        return sum(values) if statistic in ("Sum", "SampleCount") else max(values)

    def of(self, name: str, qualifier: str, *metrics: str, statistic: str = "Sum") -> dict[str, float | None]:
        """Return a statistic of several metrics of an alias or version."""
        return {each: self.get(each, statistic, FunctionName=name, Resource=f"{name}:{qualifier}") for each in metrics}


@pytest.fixture(scope="module")
def metrics(localaws: Any) -> Metrics:
    return Metrics(localaws)


# Provisioned concurrency: states


def test_it_is_in_progress_while_environments_start_and_ready_when_their_init_is_over(functions: Functions) -> None:
    name = make_alias(functions, SLOW)
    assert counts(provision(functions, name, 2)) == ("IN_PROGRESS", 2, 0, 0)
    seen = []

    def is_ready() -> bool:
        shown = functions.aws.get_provisioned_concurrency_config(FunctionName=name, Qualifier="live")
        seen.append(counts(shown))
        return bool(shown["Status"] == "READY")

    poll(is_ready)
    assert seen[-1] == ("READY", 2, 2, 2)
    assert ("IN_PROGRESS", 2, 2, 0) in seen, "processes run, no init is over"
    assert all(status == "IN_PROGRESS" for status, *_, available in seen if available < 2)


def test_a_prewarmed_environment_has_no_cold_start_and_says_so(functions: Functions, localaws: Any) -> None:
    name = make_alias(functions, SLOW)
    provision(functions, name, 1)
    settled(functions, name)
    started = time.perf_counter()
    reply = functions.invoke(name, Qualifier="live", LogType="Tail")
    assert time.perf_counter() - started < 0.8, "the handler's module takes that long to load"
    assert reply["Payload"]["type"] == "provisioned-concurrency"
    log = base64.b64decode(reply["LogResult"]).decode()
    assert "REPORT RequestId: " in log
    assert "Init Duration: " not in log
    assert "INIT_START" not in log
    group, logs = f"/aws/lambda/{name}", localaws.client("logs")
    events = [event["message"] for event in logs.filter_log_events(logGroupName=group)["events"]]
    assert [event.split(" ")[0] for event in events] == ["INIT_START", "START", "END", "REPORT"]
    cold = functions.invoke(name, LogType="Tail")
    assert cold["Payload"]["type"] == "on-demand"
    assert "Init Duration: " in base64.b64decode(cold["LogResult"]).decode()


@pytest.mark.parametrize(("source", "error_type"), [(DYING, "Runtime.ExitError"), (RAISING, "RuntimeError")])
def test_a_handler_that_dies_at_init_fails_it_with_awss_reason(
    functions: Functions, localaws: Any, source: str, error_type: str
) -> None:
    name = make_alias(functions, source)
    provision(functions, name, 1)
    shown = settled(functions, name)
    assert counts(shown) == ("FAILED", 1, 0, 0)
    assert shown["StatusReason"] == "FUNCTION_ERROR_INIT_FAILURE"
    logs = localaws.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    reports = [event["message"] for event in logs if event["message"].startswith("INIT_REPORT")]
    assert len(reports) == 3
    assert all(f"Status: error\tError Type: {error_type}" in report for report in reports)
    assert functions.invoke(name, Qualifier="live")["FunctionError"] == "Unhandled"


def test_more_than_the_machine_runs_fails_with_a_reason_that_is_localawss_own(functions: Functions) -> None:
    name = make_alias(functions, SLOW)
    provision(functions, name, 850)
    shown = settled(functions, name)
    assert counts(shown) == ("FAILED", 850, 0, 0)
    assert "localaws runs at most 100 execution environments on this machine" in shown["StatusReason"]
    functions.aws.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="live")


# Provisioned concurrency: what it follows


def test_it_follows_its_alias_and_leaves_the_old_version(functions: Functions) -> None:
    name = make_alias(functions)
    provision(functions, name, 1)
    settled(functions, name)
    old = functions.invoke(name, Qualifier="live")["Payload"]
    functions.aws.update_function_configuration(FunctionName=name, Timeout=9)
    functions.aws.publish_version(FunctionName=name)
    functions.aws.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    assert counts(settled(functions, name)) == ("READY", 1, 1, 1)
    new = functions.invoke(name, Qualifier="live")["Payload"]
    assert (old["version"], new["version"]) == ("1", "2")
    assert (old["type"], new["type"]) == ("provisioned-concurrency", "provisioned-concurrency")
    assert functions.invoke(name, Qualifier="1")["Payload"]["type"] == "on-demand"
    poll(lambda: is_gone(old["pid"]))
    code, _, status = error_of(functions.aws.get_provisioned_concurrency_config, FunctionName=name, Qualifier="2")
    assert (code, status) == ("ProvisionedConcurrencyConfigNotFoundException", 404)


def test_an_alias_that_gets_weights_has_shares_on_both_versions(functions: Functions) -> None:
    name = make_alias(functions)
    provision(functions, name, 3)
    functions.aws.update_function_configuration(FunctionName=name, Timeout=9)
    functions.aws.publish_version(FunctionName=name)
    routing = {"AdditionalVersionWeights": {"2": 0.3}}
    functions.aws.update_alias(FunctionName=name, Name="live", RoutingConfig=routing)
    assert counts(settled(functions, name)) == ("READY", 3, 3, 3)
    types = {functions.invoke(name, Qualifier=version)["Payload"]["type"] for version in ("1", "2")}
    assert types == {"provisioned-concurrency"}
    code, message, _ = error_of(
        functions.aws.put_provisioned_concurrency_config,
        FunctionName=name,
        Qualifier="live",
        ProvisionedConcurrentExecutions=4,
    )
    assert (code, message) == (
        "InvalidParameterValueException",
        "Invalid alias configuration for Provisioned Concurrency",
    )


def test_environments_that_die_idle_or_busy_are_replaced_by_provisioned_ones(functions: Functions) -> None:
    name = make_alias(functions)
    provision(functions, name, 1)
    settled(functions, name)
    first = functions.invoke(name, Qualifier="live")["Payload"]
    os.kill(first["pid"], signal.SIGKILL)

    def replacement() -> Any:
        answer = functions.invoke(name, Qualifier="live")["Payload"]  # the first may still reach the dying process
        return answer if answer.get("type") == "provisioned-concurrency" and answer["pid"] != first["pid"] else None

    second = poll(replacement)
    assert functions.invoke(name, {"exit": 3}, Qualifier="live")["FunctionError"] == "Unhandled"
    assert counts(settled(functions, name)) == ("READY", 1, 1, 1)
    third = functions.invoke(name, Qualifier="live")["Payload"]
    assert {each["type"] for each in (first, second, third)} == {"provisioned-concurrency"}
    assert len({each["pid"] for each in (first, second, third)}) == 3


def test_fewer_end_the_idle_ones_and_more_keep_what_there_is(functions: Functions, tmp_path: Path) -> None:
    name = make_alias(functions)
    provision(functions, name, 2)
    settled(functions, name)
    with holding(functions, name, tmp_path / "gate") as held:
        held.start()
        provision(functions, name, 1)
        assert counts(settled(functions, name)) == ("READY", 1, 1, 1)
        provision(functions, name, 2)
        assert counts(settled(functions, name)) == ("READY", 2, 2, 2)
        (kept,) = held.finish()
    pids = Counter(functions.invoke(name, Qualifier="live")["Payload"]["pid"] for _ in range(4))
    assert kept["pid"] in pids


@pytest.mark.parametrize("operation", ["config", "alias", "function"])
def test_nothing_is_left_after_delete(functions: Functions, operation: str) -> None:
    name = make_alias(functions)
    before = functions.aws.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    provision(functions, name, 2)
    settled(functions, name)
    pid = functions.invoke(name, Qualifier="live")["Payload"]["pid"]
    if operation == "config":
        functions.aws.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="live")
    elif operation == "alias":
        functions.aws.delete_alias(FunctionName=name, Name="live")
    else:
        functions.aws.delete_function(FunctionName=name)
    assert is_gone(pid)
    assert functions.aws.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == before
    if operation != "function":
        listed = functions.aws.list_provisioned_concurrency_configs(FunctionName=name)
        assert listed["ProvisionedConcurrencyConfigs"] == []


def test_a_function_can_be_deleted_while_its_environments_start(functions: Functions) -> None:
    name = make_alias(functions, "import time\ntime.sleep(60)\n" + HOLD)
    provision(functions, name, 2)
    shown = functions.aws.get_provisioned_concurrency_config
    poll(lambda: counts(shown(FunctionName=name, Qualifier="live"))[2] == 2)
    started = time.monotonic()
    functions.aws.delete_function(FunctionName=name)
    assert time.monotonic() - started < 10


# Refusals


def test_what_cannot_be_provisioned_is_refused_with_awss_words(functions: Functions) -> None:
    name = make_alias(functions)
    arn = f"arn:aws:lambda:us-east-1:123456789012:function:{name}"

    def refusal(qualifier: str, executions: int = 1) -> tuple[str, str, int]:
        return error_of(
            functions.aws.put_provisioned_concurrency_config,
            FunctionName=name,
            Qualifier=qualifier,
            ProvisionedConcurrentExecutions=executions,
        )

    assert refusal("$LATEST") == (
        "InvalidParameterValueException",
        "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
        400,
    )
    assert refusal("none") == ("ResourceNotFoundException", f"Cannot find alias arn: {arn}:none", 404)
    assert refusal("9") == ("ResourceNotFoundException", f"Function not found: {arn}:9", 404)
    free = functions.aws.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    assert refusal("live", free + 1)[1] == (
        f"Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{free}]."
    )
    assert refusal("live", free - 99)[1] == (
        "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
        "minimum value of [100]."
    )
    functions.aws.create_alias(FunctionName=name, Name="new", FunctionVersion="$LATEST")
    assert refusal("new")[0] == "InvalidParameterValueException"
    for operation in ("get", "delete"):
        call = getattr(functions.aws, f"{operation}_provisioned_concurrency_config")
        assert error_of(call, FunctionName=name, Qualifier="$LATEST") == (
            "InvalidParameterValueException",
            "The function resource provided must be an alias or a published version.",
            400,
        )
    assert error_of(functions.aws.get_provisioned_concurrency_config, FunctionName=name, Qualifier="1") == (
        "ProvisionedConcurrencyConfigNotFoundException",
        "No Provisioned Concurrency Config found for this function",
        404,
    )
    functions.aws.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")


def test_a_version_has_one_configuration_its_own_or_an_aliass(functions: Functions) -> None:
    name = make_alias(functions)
    provision(functions, name, 1, "1")
    call = functions.aws.put_provisioned_concurrency_config
    assert error_of(call, FunctionName=name, Qualifier="live", ProvisionedConcurrentExecutions=1) == (
        "ResourceConflictException",
        "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
        409,
    )
    functions.aws.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    provision(functions, name, 1)
    assert error_of(call, FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=1) == (
        "ResourceConflictException",
        "Version is pointed by a Provisioned Concurrency alias",
        409,
    )


def test_what_is_provisioned_adds_up_to_no_more_than_is_reserved(functions: Functions) -> None:
    name = make_alias(functions)
    functions.aws.update_function_configuration(FunctionName=name, Timeout=9)
    functions.aws.publish_version(FunctionName=name)
    functions.aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    provision(functions, name, 2)
    too_many = {"FunctionName": name, "Qualifier": "2", "ProvisionedConcurrentExecutions": 2}
    assert error_of(functions.aws.put_provisioned_concurrency_config, **too_many) == (
        "InvalidParameterValueException",
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
        400,
    )
    provision(functions, name, 1, "2")
    assert error_of(functions.aws.put_function_concurrency, FunctionName=name, ReservedConcurrentExecutions=2) == (
        "InvalidParameterValueException",
        " ReservedConcurrentExecutions  2 should not be lower than function's total provisioned concurrency [3].",
        400,
    )
    listed = functions.aws.list_provisioned_concurrency_configs(FunctionName=name, MaxItems=1)
    rest = functions.aws.list_provisioned_concurrency_configs(FunctionName=name, Marker=listed["NextMarker"])
    items = listed["ProvisionedConcurrencyConfigs"] + rest["ProvisionedConcurrencyConfigs"]
    shown = {each["FunctionArn"].split(":")[-1]: each["RequestedProvisionedConcurrentExecutions"] for each in items}
    assert shown == {"2": 1, "live": 2}


def test_account_settings_tell_what_is_left(functions: Functions) -> None:
    def left() -> int:
        limits = functions.aws.get_account_settings()["AccountLimit"]
        assert limits["ConcurrentExecutions"] == 1000
        return int(limits["UnreservedConcurrentExecutions"])

    name, before = make_alias(functions), left()
    provision(functions, name, 2)
    assert left() == before - 2
    functions.aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=5)
    assert left() == before - 5
    assert functions.aws.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 5
    functions.aws.delete_function_concurrency(FunctionName=name)
    assert left() == before - 2
    assert "ReservedConcurrentExecutions" not in functions.aws.get_function_concurrency(FunctionName=name)
    functions.aws.delete_function(FunctionName=name)
    assert left() == before


def test_reserving_is_of_whole_functions_only(functions: Functions) -> None:
    name = make_alias(functions)
    code, message, _ = error_of(
        functions.aws.put_function_concurrency, FunctionName=f"{name}:live", ReservedConcurrentExecutions=1
    )
    assert code == "InvalidParameterValueException"
    assert message.startswith("This operation is permitted on Lambda functions only.")


# The order of leases, and what is counted


def test_leases_are_provisioned_first_then_reserved_then_refused(
    functions: Functions, metrics: Metrics, tmp_path: Path
) -> None:
    name = make_alias(functions)
    functions.aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    provision(functions, name, 2)
    settled(functions, name)
    with holding(functions, name, tmp_path / "gate") as held:
        held.start()
        held.start("1")
        held.start()
        refusal = held.refusal()
        assert held.refusal(None)["Reason"] == refusal["Reason"]
        answers = held.finish()
    assert refusal["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert refusal["Type"] == "User"
    assert refusal["Error"] == {"Code": "TooManyRequestsException", "Message": "Rate Exceeded."}
    assert refusal["ResponseMetadata"]["HTTPStatusCode"] == 429
    types = [answer["type"] for answer in answers]
    assert types == ["provisioned-concurrency", "provisioned-concurrency", "on-demand"]
    names = ("ProvisionedConcurrencyInvocations", "ProvisionedConcurrencySpilloverInvocations", "Throttles")
    assert list(metrics.of(name, "live", *names).values()) == [1, 1, 1]
    assert list(metrics.of(name, "1", *names).values()) == [1, None, 0]
    highest = metrics.of(name, "live", "ProvisionedConcurrentExecutions", statistic="Maximum")
    assert highest["ProvisionedConcurrentExecutions"] == 2
    utilization = metrics.of(name, "live", "ProvisionedConcurrencyUtilization", statistic="Minimum")
    assert utilization["ProvisionedConcurrencyUtilization"] in (0.5, 1.0)
    assert metrics.get("ConcurrentExecutions", "Maximum", FunctionName=name) == 3


def test_provisioning_the_whole_reservation_leaves_latest_none(functions: Functions) -> None:
    name = make_alias(functions)
    functions.aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    provision(functions, name, 1)
    settled(functions, name)
    code, _, status = error_of(functions.aws.invoke, FunctionName=name)
    assert (code, status) == ("TooManyRequestsException", 429)
    assert functions.invoke(name, Qualifier="live")["Payload"]["type"] == "provisioned-concurrency"


def test_sent_is_answered_and_throttled_and_cloudwatch_says_the_same(functions: Functions, metrics: Metrics) -> None:
    name, sent = make_alias(functions, "import time\ndef handler(e, c):\n    time.sleep(0.02)\n"), 120
    functions.aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    provision(functions, name, 1)
    settled(functions, name)
    kinds: Counter[str] = Counter()
    lock = threading.Lock()

    def invoke(_: int) -> None:
        try:
            functions.invoke(name, Qualifier="live")
            kind = "answered"
        except ClientError as error:
            kind = error.response["Error"]["Code"]
        with lock:
            kinds[kind] += 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(invoke, range(sent)))
    assert set(kinds) == {"answered", "TooManyRequestsException"}
    assert kinds.total() == sent
    prefix = "ProvisionedConcurrency"
    told = metrics.of(name, "live", "Invocations", "Throttles", f"{prefix}Invocations", f"{prefix}SpilloverInvocations")
    assert told["Invocations"] == kinds["answered"]
    assert told["Throttles"] == kinds["TooManyRequestsException"]
    ahead, spilled = told[f"{prefix}Invocations"], told[f"{prefix}SpilloverInvocations"]
    assert ahead and spilled and ahead + spilled == kinds["answered"]
    assert metrics.get("Invocations", "Sum", FunctionName=name) == kinds["answered"]
    executed = {"FunctionName": name, "Resource": f"{name}:live", "ExecutedVersion": "1"}
    assert metrics.get("Invocations", "Sum", **executed) == kinds["answered"]


def test_a_long_invocation_is_seen_while_it_runs(functions: Functions, metrics: Metrics, tmp_path: Path) -> None:
    name = make_alias(functions)
    with holding(functions, name, tmp_path / "gate") as held:
        held.start()
        assert metrics.get("ConcurrentExecutions", "Maximum", FunctionName=name) == 1
        assert (metrics.get("UnreservedConcurrentExecutions", "Maximum") or 0) >= 1
        assert metrics.get("Invocations", "Sum", FunctionName=name) is None


def test_a_reserved_execution_is_invoked_ten_times_a_second_at_most(functions: Functions) -> None:
    name = functions.make("def handler(e, c):\n    return 1\n")
    functions.invoke(name)
    functions.aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    started, answered = time.monotonic(), 0
    with pytest.raises(functions.aws.exceptions.TooManyRequestsException) as caught:
        while time.monotonic() - started < 10:
            functions.invoke(name)
            answered += 1
    response: Any = caught.value.response
    assert response["Reason"] == "ReservedFunctionInvocationRateLimitExceeded"
    assert answered <= 10 + 10 * (time.monotonic() - started)


# The accounting by itself: limits that this machine's processes cannot reach


def test_the_unreserved_pool_is_what_nobody_reserved_or_provisioned() -> None:
    concurrency = Concurrency(account_limit=110)
    concurrency.provision("ahead", "live", 3)
    concurrency.reserve("kept", 5)
    assert concurrency.unreserved_limit == 102
    taken = [concurrency.lease(Resource(f"f{number}", None)) for number in range(102)]
    with pytest.raises(ThrottledError) as caught:
        concurrency.lease(Resource("ahead", "live"))
    assert caught.value.reason == "ConcurrentInvocationLimitExceeded"
    assert concurrency.lease_provisioned(Resource("ahead", "live")).running.of_account == 103
    assert concurrency.lease(Resource("kept", None)).running.unreserved == 102
    taken[0].release()
    assert concurrency.lease(Resource("ahead", "live")).running.of_function == 2


def test_a_pool_is_invoked_ten_times_a_second_for_each_execution_unless_asynchronously() -> None:
    now = 0.0
    concurrency = Concurrency(account_limit=100, clock=lambda: now)
    resource = Resource("f", None)
    for _ in range(1000):
        concurrency.lease(resource).release()
    with pytest.raises(ThrottledError) as caught:
        concurrency.lease(resource)
    assert caught.value.reason == "FunctionInvocationRateLimitExceeded"
    concurrency.lease(resource, is_synchronous=False).release()
    now = 0.0015
    concurrency.lease(resource).release()
    with pytest.raises(ThrottledError):
        concurrency.lease(resource)


def test_what_still_runs_in_environments_no_longer_provisioned_keeps_its_place() -> None:
    concurrency = Concurrency()
    concurrency.reserve("f", 2)
    concurrency.provision("f", "live", 2)
    running = [concurrency.lease_provisioned(Resource("f", "live")) for _ in range(2)]
    concurrency.unprovision("f", "live")
    with pytest.raises(ThrottledError):
        concurrency.lease(Resource("f", None))
    running[0].release()
    concurrency.lease(Resource("f", None))


def test_a_refused_change_changes_nothing() -> None:
    concurrency = Concurrency()
    concurrency.provision("f", "live", 5)
    with pytest.raises(RefusedError):
        concurrency.provision("f", "live", 901)
    with pytest.raises(RefusedError):
        concurrency.reserve("f", 4)
    assert concurrency.unreserved_limit == 995


# The seam of Application Auto Scaling, in a process of its own: it is not reached over HTTP

SCALER = """
import json, socket, sys, threading, time
from pathlib import Path
import boto3, uvicorn
from localaws import functions, iam, s3
from localaws.core import Core
from localaws.errors import AwsError
from localaws.front import build_app
from localaws.settings import Settings
listener = socket.create_server(("127.0.0.1", 0))
settings = Settings(home=Path(sys.argv[1]), port=listener.getsockname()[1])
core = Core(settings)
routes = [route for service in (s3, iam, functions) for route in service.install(core)]
server = uvicorn.Server(uvicorn.Config(build_app(core, routes), lifespan="off"))
thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
thread.start()
def client(service):
    keys = dict.fromkeys(("aws_access_key_id", "aws_secret_access_key"), "localaws")
    return boto3.client(service, endpoint_url=settings.url, region_name="us-east-1", **keys)
name, role = "scaled", client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=sys.argv[2])["Role"]["Arn"]
code = {"Handler": "handler.handler", "Runtime": "python3.11", "Code": {"ZipFile": Path(sys.argv[3]).read_bytes()}}
client("lambda").create_function(FunctionName=name, Role=role, Publish=True, **code)
client("lambda").create_alias(FunctionName=name, Name="live", FunctionVersion="1")
capacity, resource = functions.ProvisionedCapacity(core), f"function:{name}:live"
said = [capacity.get_capacity(resource)]
capacity.set_capacity(resource, 2)
said.append(capacity.get_capacity(resource))
deadline = time.monotonic() + 20
while capacity.get_state(resource).status != "READY" and time.monotonic() < deadline:
    time.sleep(0.02)
said.append(capacity.get_state(resource).status)
for resource_id, executions in ((resource, 950), (f"function:{name}:none", 1), ("endpoint/x/variant/y", 1)):
    try:
        capacity.set_capacity(resource_id, executions)
    except AwsError as error:
        said.append(error.code)
capacity.set_capacity(resource, 0)
said.append(capacity.get_capacity(resource))
server.should_exit = True
thread.join(10)
core.shutdown()
print(json.dumps(said))
"""


def test_a_scaler_reads_and_sets_capacity_by_resource_id(tmp_path: Path) -> None:
    archive = tmp_path / "function.zip"
    archive.write_bytes(zipped(HOLD))
    command = [sys.executable, "-c", SCALER, str(tmp_path / "home"), json.dumps(TRUST), str(archive)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == (
        '[0, 2, "READY", "InvalidParameterValueException", "ResourceNotFoundException", "ValidationException", 0]'
    )
