"""Lambda where time matters: a server whose clock runs 600 times as fast."""

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.localaws.functions.functions_kit import Functions, is_gone
from tests.localaws.scaled_server import scaled_server
from tests.polling import wait_until

COUNTING = """
def handler(event, context):
    with open(event["path"], "a") as file:
        file.write(context.aws_request_id + "\\n")
    if event["fail"]:
        raise ValueError("again")
"""


@pytest.fixture(scope="module")
def fast() -> Iterator[Functions]:
    with scaled_server(scale=600) as running:
        yield Functions.of(running)


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_a_failing_event_is_run_three_times_with_one_request_id(fast: Functions, tmp_path: Path) -> None:
    name, path = fast.make(COUNTING), tmp_path / "failed.txt"
    accepted = fast.invoke(name, {"path": str(path), "fail": True}, InvocationType="Event")
    assert accepted["StatusCode"] == 202
    wait_until(lambda: len(lines_of(path)) == 3)
    assert len(set(lines_of(path))) == 1


def test_an_event_that_succeeds_is_run_once_and_its_retries_can_be_set(fast: Functions, tmp_path: Path) -> None:
    name, good, bad = fast.make(COUNTING), tmp_path / "good.txt", tmp_path / "bad.txt"
    fast.aws.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1)
    fast.invoke(name, {"path": str(good), "fail": False}, InvocationType="Event")
    fast.invoke(name, {"path": str(bad), "fail": True}, InvocationType="Event")
    wait_until(lambda: len(lines_of(bad)) == 2)
    assert len(lines_of(good)) == 1


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
