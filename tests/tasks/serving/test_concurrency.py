"""Tests a function's memory, reserved and provisioned concurrency on localaws: applied once, in an order that fits."""

from __future__ import annotations

import io
import json
import secrets
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import LimitReached, NotFound, SettingsRefused, StageFailed
from tasks.run.handle import Run
from tasks.run.records import FunctionRef
from tasks.run.settings import Settings
from tasks.serving.concurrency import (
    ConcurrencyPlan,
    account_limits,
    describe_concurrency,
    ensure_concurrency,
    plan_concurrency,
    remove_provisioned,
)
from tasks.teardown.all_kinds import KINDS
from tests.conftest import RunningLocalAws
from tests.counting_proxy import Calls, Fault
from tests.tasks.scaling.deployments import plan as derived_plan

RUN = "concurrent"
GOOD = "def handler(event, context):\n    return context.memory_limit_in_mb\n"
BROKEN = "raise RuntimeError('no such module')\n"


@pytest.fixture
def aws(calls: Calls, tmp_path: Path) -> Aws:
    return Aws(Settings(endpoint_url=calls.url, runs=tmp_path / "runs"))


@pytest.fixture(scope="module")
def role_arn(localaws: RunningLocalAws) -> str:
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    name = f"kennel-concurrency-{secrets.token_hex(4)}"
    role = localaws.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]
    return str(role["Arn"])


def make_function(aws: Aws, role_arn: str, source: str = GOOD) -> FunctionRef:
    name = naming.resource_name(RUN, secrets.token_hex(4))
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("handler.py", source)
    client = aws.client("lambda")
    made = client.create_function(
        FunctionName=name,
        Runtime="python3.11",
        Role=role_arn,
        Handler="handler.handler",
        MemorySize=256,
        Code={"ZipFile": code.getvalue()},
        Tags=naming.tags(RUN),
    )
    version = client.publish_version(FunctionName=name)["Version"]
    alias = client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    return FunctionRef(name, made["FunctionArn"], version, "live", alias["AliasArn"], "r", role_arn, "0", "e")


@pytest.fixture
def function(aws: Aws, role_arn: str) -> Iterator[FunctionRef]:
    made = make_function(aws, role_arn)
    yield made
    aws.client("lambda").delete_function(FunctionName=made.name)


def planned(function: FunctionRef, **changes: object) -> ConcurrencyPlan:
    made = ConcurrencyPlan(function, 256, 10, 2, deadline_seconds=30.0)
    return replace(made, **changes)  # type: ignore[arg-type]


def test_what_is_planned_is_what_is_set_and_ready(aws: Aws, function: FunctionRef) -> None:
    run = Run(aws, RUN)
    same, state = ensure_concurrency(run, planned(function))
    assert same == function
    assert (state.reserved, state.provisioned, state.available, state.status) == (10, 2, 2, "READY")
    assert (state.memory_mb, state.version) == (256, "1")
    rows = [(row.kind, row.name, row.state) for row in run.ledger.rows()]
    assert rows == [("provisioned-concurrency", f"{function.name}:live", "created")]


def test_the_same_again_changes_nothing(aws: Aws, calls: Calls, function: FunctionRef) -> None:
    run = Run(aws, RUN)
    first = ensure_concurrency(run, planned(function))
    calls.seen.clear()
    assert ensure_concurrency(run, planned(function)) == first
    assert calls.seen and calls.mutating() == []


def test_another_memory_is_a_new_version_that_the_alias_and_its_environments_move_to(
    aws: Aws, function: FunctionRef
) -> None:
    run = Run(aws, RUN)
    ensure_concurrency(run, planned(function))
    moved, state = ensure_concurrency(run, planned(function, memory_mb=512))
    assert (moved.version, state.version, state.memory_mb) == ("2", "2", 512)
    assert (state.available, state.status) == (2, "READY")
    answer = aws.client("lambda").invoke(FunctionName=function.name, Qualifier="live")
    assert (answer["ExecutedVersion"], json.loads(answer["Payload"].read())) == ("2", "512")


def test_another_memory_is_refused_while_the_newest_code_is_not_what_serves(aws: Aws, function: FunctionRef) -> None:
    """A version that an alarm took back stays the newest code; a change of memory would publish it."""
    client = aws.client("lambda")
    client.update_function_configuration(FunctionName=function.name, Timeout=9)
    with pytest.raises(SettingsRefused, match=r"differs in Timeout from what serves") as caught:
        ensure_concurrency(Run(aws, RUN), planned(function, memory_mb=512))
    assert "--set function_memory=256" in str(caught.value)
    assert client.get_alias(FunctionName=function.name, Name="live")["FunctionVersion"] == "1"


@pytest.mark.parametrize(("first", "then"), [((10, 2), (1, 1)), ((1, 1), (10, 3)), ((None, 2), (3, 3))])
def test_reserved_and_provisioned_fit_each_other_on_the_way(
    aws: Aws, function: FunctionRef, first: tuple[int | None, int], then: tuple[int | None, int]
) -> None:
    run = Run(aws, RUN)
    for reserved, provisioned in (first, then):
        _, state = ensure_concurrency(run, planned(function, reserved=reserved, provisioned=provisioned))
        assert (state.reserved, state.provisioned, state.status) == (reserved, provisioned, "READY")


def test_nothing_planned_is_nothing_kept(aws: Aws, function: FunctionRef) -> None:
    run = Run(aws, RUN)
    ensure_concurrency(run, planned(function))
    _, state = ensure_concurrency(run, planned(function, reserved=None, provisioned=0))
    assert (state.reserved, state.provisioned, state.status) == (None, 0, None)
    assert [row.state for row in run.ledger.rows()] == ["removed"]


def test_more_than_the_account_can_spare_is_refused_before_anything_changes(
    aws: Aws, calls: Calls, function: FunctionRef
) -> None:
    limits = account_limits(aws, function)
    asked = limits.reservable + 1
    with pytest.raises(LimitReached, match=f"plan with at most {limits.reservable}, or request") as caught:
        ensure_concurrency(Run(aws, RUN), planned(function, reserved=asked))
    assert f"would leave 99 of {limits.lambda_concurrency} unreserved" in caught.value.what
    assert not [call for call in calls.mutating() if "concurrency" in call.lower()]


def in_a_new_account(calls: Calls) -> None:
    """Let GetAccountSettings answer as in a new account, which has 10 executions and reserves none."""

    def change(content: bytes) -> bytes:
        limit = {"ConcurrentExecutions": 10, "UnreservedConcurrentExecutions": 10}
        return json.dumps({**json.loads(content), "AccountLimit": limit}).encode()

    calls.faults.append(Fault("GET /2016-08-19/account-settings", change=change, times=100))


def test_a_plan_for_a_new_account_leaves_the_function_unreserved_and_every_call_runs(
    aws: Aws, calls: Calls, function: FunctionRef
) -> None:
    in_a_new_account(calls)
    limits = account_limits(aws, function)
    assert (limits.lambda_concurrency, limits.reservable) == (10, 0)
    made = plan_concurrency(function, derived_plan(limits=limits))
    _, state = ensure_concurrency(Run(aws, RUN), made)
    assert (state.reserved, state.provisioned) == (None, 0)
    assert aws.client("lambda").invoke(FunctionName=function.name, Qualifier="live")["StatusCode"] == 200


def test_in_a_new_account_the_floor_is_the_accounts(aws: Aws, calls: Calls, function: FunctionRef) -> None:
    in_a_new_account(calls)
    with pytest.raises(LimitReached, match="Lambda keeps 10 executions") as caught:
        ensure_concurrency(Run(aws, RUN), planned(function, reserved=5))
    assert "would leave 5 of 10 unreserved" in caught.value.what
    assert "at most 0, or request a concurrency quota of 105" in caught.value.next_command


def test_the_accounts_limits_leave_out_what_the_function_has_itself(aws: Aws, function: FunctionRef) -> None:
    before = account_limits(aws, function)
    ensure_concurrency(Run(aws, RUN), planned(function, reserved=50, provisioned=0))
    assert account_limits(aws, function) == before
    assert account_limits(aws).reserved_by_others == before.reserved_by_others + 50


def test_environments_that_cannot_start_are_told_with_lambdas_reason(aws: Aws, role_arn: str) -> None:
    broken = make_function(aws, role_arn, BROKEN)
    with pytest.raises(StageFailed, match="FUNCTION_ERROR_INIT_FAILURE") as caught:
        ensure_concurrency(Run(aws, RUN), planned(broken))
    assert "FAILED with 0 ready" in caught.value.what
    aws.client("lambda").delete_function(FunctionName=broken.name)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"reserved": 1, "provisioned": 2}, "a part of the reserved concurrency"),
        ({"memory_mb": 64}, "128 to 10,240 MB"),
        ({"provisioned": -1}, "neither can be negative"),
        ({"reserved": -1, "provisioned": 0}, "neither can be negative"),
        ({"reserved": 0, "provisioned": 0}, "a reservation of 0 throttles every call"),
    ],
)
def test_what_lambda_would_refuse_is_refused_before_a_call(changes: dict[str, object], why: str) -> None:
    ref = FunctionRef("f", "arn", "1", "live", "arn:live", "r", "arn:r", "0", "e")
    with pytest.raises(SettingsRefused, match=why):
        planned(ref, **changes)


def test_a_derived_plan_is_applied_number_by_number() -> None:
    ref = FunctionRef("f", "arn", "1", "live", "arn:live", "r", "arn:r", "0", "e")
    derived = derived_plan()
    made = plan_concurrency(ref, derived)
    assert made.memory_mb == 256
    assert (made.reserved, made.provisioned) == (
        derived.count("reserved_concurrency"),
        derived.count("provisioned_concurrency"),
    )


def test_a_function_that_does_not_exist_is_not_found(aws: Aws, function: FunctionRef) -> None:
    with pytest.raises(NotFound):
        describe_concurrency(aws, replace(function, name="no-such-function"))


def test_provisioned_concurrency_is_given_up_and_teardown_finds_it(aws: Aws, function: FunctionRef) -> None:
    run, name = Run(aws, RUN), f"{function.name}:live"
    ensure_concurrency(run, planned(function))
    kind = KINDS["provisioned-concurrency"]
    found = kind.find(aws, name)
    assert found is not None and found.key == ("provisioned-concurrency", name)
    kind.remove(aws, name)
    assert kind.find(aws, name) is None
    remove_provisioned(run, function)
    ensure_concurrency(run, planned(function))
    remove_provisioned(run, function)
    assert describe_concurrency(aws, function).status is None


def test_an_alias_is_deleted_with_what_is_provisioned_for_it(aws: Aws, function: FunctionRef) -> None:
    ensure_concurrency(Run(aws, RUN), planned(function))
    KINDS["function-alias"].remove(aws, f"{function.name}:live")
    assert KINDS["function-alias"].find(aws, f"{function.name}:live") is None
    assert KINDS["provisioned-concurrency"].find(aws, f"{function.name}:live") is None
