"""Provisioned concurrency through boto3: its states, the alias that it follows, and environments that are replaced."""

import base64
import os
import signal
import time
from collections import Counter
from typing import Any

import psutil
import pytest

from tests.localaws.functions.functions_kit import Functions, error_of
from tests.localaws.functions.provisioned_kit import (
    HOLD,
    SLOW,
    counts,
    holding,
    make_alias,
    provision,
    settled,
)
from tests.localaws.outer_pid import is_gone
from tests.polling import wait_until

DYING = "import os\nprint('last words')\nos._exit(7)\n"
RAISING = "raise RuntimeError('no luck')\n"


def test_it_is_in_progress_while_environments_start_and_ready_when_their_init_is_over(functions: Functions) -> None:
    name = make_alias(functions, SLOW)
    assert counts(provision(functions, name, 2)) == ("IN_PROGRESS", 2, 0, 0)
    seen = []

    def is_ready() -> bool:
        shown = functions.aws.get_provisioned_concurrency_config(FunctionName=name, Qualifier="live")
        seen.append(counts(shown))
        return bool(shown["Status"] == "READY")

    wait_until(is_ready)
    assert seen[-1] == ("READY", 2, 2, 2)
    assert ("IN_PROGRESS", 2, 2, 0) in seen, "processes run, no init is over"
    assert all(status == "IN_PROGRESS" for status, *_, available in seen if available < 2)


def test_a_prewarmed_environment_has_no_cold_start_and_says_so(functions: Functions, localaws: Any) -> None:
    name = make_alias(functions, SLOW)
    provision(functions, name, 1)
    settled(functions, name)
    asked = time.time()
    reply = functions.invoke(name, Qualifier="live", LogType="Tail")
    assert psutil.Process(reply["Payload"]["pid"]).create_time() < asked, "its module takes 0.8 s to load"
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
    wait_until(lambda: is_gone(old["pid"]))
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

    second = wait_until(replacement)
    assert functions.invoke(name, {"exit": 3}, Qualifier="live")["FunctionError"] == "Unhandled"
    assert counts(settled(functions, name)) == ("READY", 1, 1, 1)
    third = functions.invoke(name, Qualifier="live")["Payload"]
    assert {each["type"] for each in (first, second, third)} == {"provisioned-concurrency"}
    assert len({each["pid"] for each in (first, second, third)}) == 3


def test_fewer_end_the_idle_ones_and_more_keep_what_there_is(functions: Functions) -> None:
    name = make_alias(functions)
    provision(functions, name, 2)
    settled(functions, name)
    with holding(functions, name) as held:
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
    wait_until(lambda: counts(shown(FunctionName=name, Qualifier="live"))[2] == 2)
    started = time.monotonic()
    functions.aws.delete_function(FunctionName=name)
    assert time.monotonic() - started < 50, "the environments would have started for 60 s"
