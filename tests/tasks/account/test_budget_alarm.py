"""The AWS budget of a run: made, adopted, replaced when the amount or the address changes, and removed."""

from pathlib import Path

import pytest

from tasks.account.budget_alarm import budget_name, ensure_budget_alarm, require_budget
from tasks.run.aws import Aws
from tasks.run.errors import OwnershipRefused, SettingsRefused
from tasks.run.handle import Run
from tasks.run.settings import Settings
from tasks.teardown.teardown import tear_down
from tests.conftest import RunningLocalAws

MAIL = "me@example.org"


@pytest.fixture
def run(own_localaws: RunningLocalAws, tmp_path: Path) -> Run:
    aws = Aws(Settings(endpoint_url=own_localaws.url, home=tmp_path / "home", runs=tmp_path / "runs"))
    return Run(aws, "alarmed")


def budgets(run: Run) -> dict[str, str]:
    found = run.aws.client("budgets").describe_budgets(AccountId=run.aws.account_id)["Budgets"]
    return {each["BudgetName"]: each["BudgetLimit"]["Amount"] for each in found}


def updated(run: Run, name: str) -> object:
    return run.aws.client("budgets").describe_budget(AccountId=run.aws.account_id, BudgetName=name)["Budget"][
        "LastUpdatedTime"
    ]


def test_a_budget_is_made_adopted_replaced_and_removed(run: Run) -> None:
    name = budget_name("alarmed", "us-east-1")
    ensure_budget_alarm(run, 5.0, None)
    assert budgets(run) == {}
    ensure_budget_alarm(run, 5.0, MAIL)
    assert budgets(run) == {name: "5.00"}
    notified = run.aws.client("budgets").describe_notifications_for_budget(
        AccountId=run.aws.account_id, BudgetName=name
    )["Notifications"]
    assert [(each["NotificationType"], each["Threshold"]) for each in notified] == [
        ("ACTUAL", 80.0),
        ("ACTUAL", 100.0),
        ("FORECASTED", 100.0),
    ]
    made = updated(run, name)
    ensure_budget_alarm(run, 5.0, MAIL)
    assert updated(run, name) == made
    ensure_budget_alarm(run, 7.5, MAIL)
    assert budgets(run) == {name: "7.50"}
    tear_down(run.aws, "alarmed", yes=True)
    assert budgets(run) == {}


def test_a_budget_without_the_runs_tags_is_not_touched(run: Run) -> None:
    name = budget_name("alarmed", "us-east-1")
    budget = {"BudgetName": name, "BudgetLimit": {"Amount": "1", "Unit": "USD"}}
    client, own = run.aws.client("budgets"), {"TimeUnit": "MONTHLY", "BudgetType": "COST"}
    client.create_budget(AccountId=run.aws.account_id, Budget={**budget, **own})
    with pytest.raises(OwnershipRefused):
        ensure_budget_alarm(run, 5.0, MAIL)
    assert budgets(run) == {name: "1"}
    client.delete_budget(AccountId=run.aws.account_id, BudgetName=name)


@pytest.mark.parametrize("email", ["me", "me@", "@example.org", "a b@example.org", "me@example", f"{'a' * 65}@b.org"])
def test_an_alarm_needs_an_address(email: str) -> None:
    with pytest.raises(SettingsRefused):
        require_budget(5.0, email)


def test_an_alarm_needs_a_budget() -> None:
    with pytest.raises(SettingsRefused, match="needs a budget"):
        require_budget(None, MAIL)
    require_budget(None, None)
    require_budget(5.0, MAIL)
