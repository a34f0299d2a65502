"""Tests of the function's URL on localaws: who may call it, its ceiling, and that it goes when it is not asked for."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.audit.account import FunctionPolicy
from tasks.plan.consent import confirm_public
from tasks.report.rows import summary_json, summary_rows
from tasks.report.summary import summarise
from tasks.run.aws import Aws
from tasks.run.errors import AwsFailed, SettingsRefused, SpendingRefused
from tasks.run.handle import Run
from tasks.run.options import DeployOptions
from tasks.run.records import FunctionRef
from tasks.run.settings import Settings
from tasks.serving.concurrency import ConcurrencyPlan, ensure_concurrency, plan_concurrency
from tasks.serving.function import FunctionPlan, ensure_function
from tasks.serving.public_url import STATEMENTS, ensure_url, plan_url
from tasks.teardown.all_kinds import KINDS
from tasks.verdicts.check import with_overrides
from tests.counting_proxy import Calls, Fault
from tests.localaws.functions.url_kit import Url
from tests.tasks.audit.accounts import found
from tests.tasks.scaling.deployments import plan as derived_plan
from tests.tasks.serving.test_function import make_plan

APP = "https://app.example"
IAM = DeployOptions(public_url="iam")
ANYBODY = DeployOptions(public_url="none", confirm_public=True, public_concurrency=3, allowed_origins=(APP,))


@pytest.fixture
def run(calls: Calls, tmp_path: Path) -> Run:
    return Run(Aws(Settings(endpoint_url=calls.url, runs=tmp_path / "runs", region="us-east-1")), "urls")


@pytest.fixture
def function(run: Run, tmp_path: Path) -> Iterator[FunctionRef]:
    made = ensure_function(run, make_plan(run, tmp_path))
    yield made
    run.aws.client("lambda").delete_function(FunctionName=made.name)


def give(run: Run, function: FunctionRef, deploy: DeployOptions) -> FunctionRef:
    return ensure_url(run, function, plan_url(deploy))


def url_of(function: FunctionRef) -> Url:
    assert function.url is not None
    return Url(function.name, function.url)


def reserved(run: Run, function: FunctionRef) -> int | None:
    answer = run.aws.client("lambda").get_function_concurrency(FunctionName=function.name)
    found: int | None = answer.get("ReservedConcurrentExecutions")
    return found


def rows(run: Run) -> list[tuple[str, str]]:
    return [(row.name, row.state) for row in run.ledger.rows() if row.kind == "function-url"]


def test_a_url_for_signed_requests_is_made_once_and_takes_no_others(
    calls: Calls, run: Run, function: FunctionRef
) -> None:
    made = give(run, function, IAM)
    assert made.url_auth_type == "AWS_IAM"
    assert rows(run) == [(f"{function.name}:live", "created")]
    assert (url_of(made).signed().status, url_of(made).send().status) == (200, 403)
    calls.seen.clear()
    assert give(run, function, IAM) == made
    assert calls.mutating() == []
    assert reserved(run, function) is None


def test_a_url_for_anybody_has_a_ceiling_and_names_the_pages_that_may_call_it(
    calls: Calls, run: Run, function: FunctionRef
) -> None:
    made = give(run, function, ANYBODY)
    changes = [each.partition("?")[0].rpartition("/")[2] for each in calls.mutating()]
    assert changes[-4:] == ["concurrency", "url", "policy", "policy"]
    assert (made.url_auth_type, made.url_ceiling, reserved(run, function)) == ("NONE", 3, 3)
    assert url_of(made).send().status == 200
    assert url_of(made).send(headers={"Origin": APP}).headers["access-control-allow-origin"] == APP
    assert url_of(made).send(headers={"Origin": "https://evil.example"}).status == 403
    calls.seen.clear()
    assert give(run, function, ANYBODY) == made
    assert calls.mutating() == []


def test_the_ceiling_stays_when_a_scaling_plan_reserves_nothing(run: Run, function: FunctionRef) -> None:
    made = give(run, function, ANYBODY)
    kept, state = ensure_concurrency(run, ConcurrencyPlan(made, 256, None, 0))
    assert (kept.url, state.reserved) == (made.url, 3)


def test_a_scaling_plan_raises_no_ceiling(run: Run, function: FunctionRef) -> None:
    made = give(run, function, ANYBODY)
    for wanted in ({"reserved_concurrency": 80, "provisioned_concurrency": 9}, {"provisioned_concurrency": 9}):
        zero = {"reserved_concurrency": 0, "function_memory": 256}
        planned = plan_concurrency(made, with_overrides(derived_plan(), {**zero, **wanted}))
        assert (planned.reserved, planned.provisioned) == (3, 3)
    with pytest.raises(SettingsRefused, match="3 executions were confirmed as the most"):
        ConcurrencyPlan(made, 256, 80, 0)
    of_an_old_record = replace(made, url_ceiling=None)
    planned = plan_concurrency(of_an_old_record, with_overrides(derived_plan(), {"reserved_concurrency": 80}))
    assert ensure_concurrency(run, replace(planned, memory_mb=256, provisioned=0))[1].reserved == 3


@pytest.mark.parametrize("then", [DeployOptions(), IAM])
def test_the_ceiling_of_a_url_that_could_not_be_made_is_given_back(
    then: DeployOptions, calls: Calls, run: Run, function: FunctionRef
) -> None:
    denied = (403, b'{"Message": "no"}')
    for kept in (None, function):
        if kept is not None:
            run.keep(kept)
        calls.faults.append(Fault("", holding=b'"AuthType": "NONE"', instead=denied, times=9))
        with pytest.raises(AwsFailed):
            give(run, function, ANYBODY)
        calls.faults.clear()
        assert reserved(run, function) == 3
        give(run, function, then)
        assert reserved(run, function) is None
        give(run, function, DeployOptions())


@pytest.mark.parametrize("then", [DeployOptions(), IAM])
def test_the_reservation_of_a_scaling_plan_stays(then: DeployOptions, run: Run, function: FunctionRef) -> None:
    run.keep(function)
    run.keep(give(run, function, ANYBODY))
    ensure_concurrency(run, ConcurrencyPlan(function, 256, 2, 0))
    run.keep(give(run, function, then))
    assert (statements(run, function), reserved(run, function)) == (set(), 2)
    give(run, function, DeployOptions())
    assert reserved(run, function) == 2


def test_a_url_that_was_for_anybody_is_closed_before_it_takes_signed_requests(run: Run, function: FunctionRef) -> None:
    give(run, function, ANYBODY)
    made = give(run, function, IAM)
    assert (made.url_auth_type, reserved(run, function)) == ("AWS_IAM", None)
    assert statements(run, function) == set()
    assert (url_of(made).signed().status, url_of(made).send().status) == (200, 403)


def test_a_deployment_without_a_url_takes_an_earlier_one_away(calls: Calls, run: Run, function: FunctionRef) -> None:
    assert give(run, function, DeployOptions()) == function
    assert not any("/url" in each for each in calls.seen)
    made = give(run, function, ANYBODY)
    assert give(run, function, DeployOptions()).url is None
    assert rows(run) == [(f"{function.name}:live", "removed")]
    assert (statements(run, function), reserved(run, function)) == (set(), None)
    assert url_of(made).send().status == 404


def statements(run: Run, function: FunctionRef) -> set[str]:
    client: Any = run.aws.client("lambda")
    try:
        policy = client.get_policy(FunctionName=function.name, Qualifier="live")["Policy"]
    except client.exceptions.ResourceNotFoundException:
        return set()
    return {each["Sid"] for each in json.loads(policy)["Statement"]}


def test_a_half_made_url_for_anybody_is_completed(run: Run, function: FunctionRef) -> None:
    made = give(run, function, ANYBODY)
    lost = next(iter(STATEMENTS))
    run.aws.client("lambda").remove_permission(FunctionName=function.name, Qualifier="live", StatementId=lost)
    assert url_of(made).send().status == 403
    give(run, function, ANYBODY)
    assert url_of(made).send().status == 200


def test_a_teardown_finds_and_removes_the_url(run: Run, function: FunctionRef) -> None:
    made, kind, name = give(run, function, ANYBODY), KINDS["function-url"], f"{function.name}:live"
    resource = kind.find(run.aws, name)
    assert resource is not None and resource.key == ("function-url", name)
    for _ in range(2):
        kind.remove(run.aws, name)
    assert kind.find(run.aws, name) is None
    assert statements(run, function) == set()
    assert url_of(made).send().status == 404


def test_the_audit_finds_what_kennel_opens_and_the_runs_table_names_the_finding(
    run: Run, function: FunctionRef
) -> None:
    made = give(run, function, ANYBODY)
    policy = run.aws.client("lambda").get_policy(FunctionName=function.name, Qualifier="live")["Policy"]
    known = FunctionPolicy(function.name, function.alias_arn, "live", json.loads(policy), "us-east-1")
    findings = found(functions=(known,))
    assert {each.id for each in findings} == {"function-url-public"}
    assert len(findings) == 2
    run.keep(made)
    summary = summarise(run)
    shown = summary_rows(summary)["function URL"]
    assert shown == f"{made.url}, open to anybody; kennel audit tells it as function-url-public (high)"
    answer = summary_json(summary)
    assert (answer["function_url"], answer["function_url_auth_type"]) == (made.url, "NONE")


def test_a_url_for_anybody_needs_a_confirmation_of_its_own() -> None:
    asked = DeployOptions(public_url="none")
    with pytest.raises(SpendingRefused, match="anybody on the internet") as refused:
        plan_url(asked)
    assert refused.value.exit_code == 13
    for answer in ("", "yes", "no"):
        with pytest.raises(SpendingRefused):
            confirm_public(asked, ask=lambda _, answer=answer: answer, is_terminal=True)  # type: ignore[misc]
    with pytest.raises(SpendingRefused):
        confirm_public(asked, ask=lambda _: pytest.fail("it asked"), is_terminal=False)
    assert confirm_public(asked, ask=lambda _: "public", is_terminal=True).confirm_public
    for fine in (DeployOptions(), IAM, ANYBODY):
        assert confirm_public(fine, ask=lambda _: pytest.fail("it asked")) is fine


def test_the_function_is_told_its_pages_and_whether_it_fetches_for_anybody(tmp_path: Path) -> None:
    plain = FunctionPlan("r", "e", "role", "arn:role", tmp_path / "f.zip", "00" * 32)
    told = FunctionPlan(
        *("r", "e", "role", "arn:role", tmp_path / "f.zip", "00" * 32),
        allowed_origins=(APP, "http://localhost:3000"),
        fetches_for_anybody=True,
    )
    before, after = (each.configuration["Environment"]["Variables"] for each in (plain, told))
    assert after.items() - before.items() == {
        ("ALLOWED_ORIGINS", f"{APP},http://localhost:3000"),
        ("FETCH_URLS", "on"),
    }
