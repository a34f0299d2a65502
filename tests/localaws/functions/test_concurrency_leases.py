"""Concurrency is leased in AWS's order, the rest is throttled, and CloudWatch counts both."""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.localaws.functions.functions_kit import Functions, Metrics, error_of
from tests.localaws.functions.provisioned_kit import holding, make_alias, provision, settled


def test_leases_are_provisioned_first_then_reserved_then_refused(functions: Functions, metrics: Metrics) -> None:
    name = make_alias(functions)
    functions.aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    provision(functions, name, 2)
    settled(functions, name)
    with holding(functions, name) as held:
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
    name, sent = make_alias(functions, "import time\ndef handler(e, c):\n    time.sleep(0.2)\n"), 120
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


def test_a_long_invocation_is_seen_while_it_runs(functions: Functions, metrics: Metrics) -> None:
    name = make_alias(functions)
    with holding(functions, name) as held:
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
