"""Lambda where time matters: a server whose clock runs 600 times as fast."""

import time
from collections.abc import Iterator

import psutil
import pytest

from tests.hearing import TELL, hearing
from tests.localaws.functions.functions_kit import Functions
from tests.localaws.outer_pid import is_gone
from tests.localaws.scaled_server import scaled_server
from tests.polling import wait_until

COUNTING = (
    TELL
    + """
def handler(event, context):
    tell(event["ear"], context.aws_request_id)
    if event["fail"]:
        raise ValueError("again")
"""
)


@pytest.fixture(scope="module")
def fast() -> Iterator[Functions]:
    with scaled_server(scale=600) as running:
        yield Functions.of(running)


def test_a_failing_event_is_run_three_times_with_one_request_id(fast: Functions) -> None:
    with hearing() as ear:
        accepted = fast.invoke(fast.make(COUNTING), {"ear": ear.port, "fail": True}, InvocationType="Event")
        assert accepted["StatusCode"] == 202
        wait_until(lambda: len(ear.lines) == 3)
        assert len(set(ear.lines)) == 1


def test_an_event_that_succeeds_is_run_once_and_its_retries_can_be_set(fast: Functions) -> None:
    name = fast.make(COUNTING)
    fast.aws.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1)
    with hearing() as good, hearing() as bad:
        fast.invoke(name, {"ear": good.port, "fail": False}, InvocationType="Event")
        fast.invoke(name, {"ear": bad.port, "fail": True}, InvocationType="Event")
        wait_until(lambda: len(bad.lines) == 2)
        assert len(good.lines) == 1


def test_an_environment_that_is_not_used_for_five_minutes_ends(fast: Functions) -> None:
    pid = fast.invoke(fast.make())["Payload"]["pid"]
    wait_until(lambda: is_gone(pid))


def test_a_provisioned_environment_is_kept_however_long_it_idles(fast: Functions) -> None:
    name = fast.make(Publish=True)
    provisioned = {"FunctionName": name, "Qualifier": "1"}
    fast.aws.put_provisioned_concurrency_config(**provisioned, ProvisionedConcurrentExecutions=1)
    wait_until(lambda: fast.aws.get_provisioned_concurrency_config(**provisioned)["Status"] == "READY")
    pid = fast.invoke(name, Qualifier="1")["Payload"]["pid"]
    on_demand, idle_since = fast.invoke(name)["Payload"]["pid"], time.monotonic()
    wait_until(lambda: not psutil.pid_exists(on_demand))
    wait_until(lambda: time.monotonic() - idle_since > 3.0)  # 30 emulated minutes, six times what ends the other
    assert fast.invoke(name, Qualifier="1")["Payload"]["pid"] == pid
