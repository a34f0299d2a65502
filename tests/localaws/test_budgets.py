"""AWS Budgets: kept with their tags, of the caller's account alone, and decided by IAM on their own ARNs."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import RunningLocalAws
from tests.localaws.callers import ACCOUNT, allow, deny, make_user

BUDGET = {
    "BudgetName": "kennel-a-budget-us-east-1",
    "BudgetLimit": {"Amount": "5.00", "Unit": "USD"},
    "TimeUnit": "MONTHLY",
    "BudgetType": "COST",
}
ARN = "arn:aws:budgets::123456789012:budget/kennel-a-budget-us-east-1"


def test_a_budget_is_kept_with_its_tags_until_it_is_deleted(localaws: RunningLocalAws) -> None:
    budgets = localaws.client("budgets")
    tags = [{"Key": "kennel:run", "Value": "a"}]
    budgets.create_budget(AccountId=ACCOUNT, Budget=BUDGET, ResourceTags=tags)
    assert budgets.list_tags_for_resource(ResourceARN=ARN)["ResourceTags"] == tags
    [found] = budgets.describe_budgets(AccountId=ACCOUNT)["Budgets"]
    assert found["BudgetLimit"] == BUDGET["BudgetLimit"]
    with pytest.raises(ClientError, match="DuplicateRecordException"):
        budgets.create_budget(AccountId=ACCOUNT, Budget=BUDGET)
    budgets.delete_budget(AccountId=ACCOUNT, BudgetName=BUDGET["BudgetName"])
    with pytest.raises(ClientError, match="NotFoundException"):
        budgets.list_tags_for_resource(ResourceARN=ARN)


def test_another_accounts_budgets_are_refused(localaws: RunningLocalAws) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        localaws.client("budgets").create_budget(AccountId="210987654321", Budget=BUDGET)


def test_iam_decides_on_the_budget_that_is_named(localaws: RunningLocalAws) -> None:
    user = make_user(localaws, allow(["budgets:ModifyBudget", "budgets:TagResource"], f"{ARN}*")).client("budgets")
    tags = [{"Key": "kennel:run", "Value": "a"}]
    user.create_budget(AccountId=ACCOUNT, Budget=BUDGET, ResourceTags=tags)
    with pytest.raises(ClientError, match=r"AccessDenied.*budgets:ViewBudget"):
        user.describe_budget(AccountId=ACCOUNT, BudgetName=BUDGET["BudgetName"])
    with pytest.raises(ClientError, match=r"AccessDenied.*budgets:ModifyBudget.*budget/other"):
        user.create_budget(AccountId=ACCOUNT, Budget={**BUDGET, "BudgetName": "other"})
    user.delete_budget(AccountId=ACCOUNT, BudgetName=BUDGET["BudgetName"])


@pytest.mark.parametrize("effect", [allow, deny])
def test_the_tags_of_a_budget_count_in_conditions(localaws: RunningLocalAws, effect: Any) -> None:
    root = localaws.client("budgets")
    for name, run in (("tagged-a", "a"), ("tagged-b", "b")):
        tags = [{"Key": "kennel:run", "Value": run}]
        root.create_budget(AccountId=ACCOUNT, Budget={**BUDGET, "BudgetName": name}, ResourceTags=tags)
    of_a = effect(["budgets:*"], Condition={"StringEquals": {"aws:ResourceTag/kennel:run": "a"}})
    user = make_user(localaws, of_a, *([allow("budgets:*")] if effect is deny else [])).client("budgets")
    may, may_not = ("tagged-a", "tagged-b") if effect is allow else ("tagged-b", "tagged-a")
    assert user.describe_budget(AccountId=ACCOUNT, BudgetName=may)["Budget"]["BudgetName"] == may
    for call in (user.describe_budget, user.delete_budget):
        with pytest.raises(ClientError, match="AccessDenied"):
            call(AccountId=ACCOUNT, BudgetName=may_not)
    with pytest.raises(ClientError, match="AccessDenied"):
        user.list_tags_for_resource(ResourceARN=f"arn:aws:budgets::{ACCOUNT}:budget/{may_not}")
    user.delete_budget(AccountId=ACCOUNT, BudgetName=may)
    root.delete_budget(AccountId=ACCOUNT, BudgetName=may_not)


def test_a_budget_without_tags_has_none_to_a_condition(localaws: RunningLocalAws) -> None:
    name = {"AccountId": ACCOUNT, "BudgetName": "untagged"}
    localaws.client("budgets").create_budget(AccountId=ACCOUNT, Budget={**BUDGET, "BudgetName": "untagged"})
    condition = {"Null": {"aws:ResourceTag/kennel:run": "true"}}
    user = make_user(localaws, allow("budgets:*", Condition=condition)).client("budgets")
    assert user.describe_budget(**name)["Budget"]["BudgetName"] == "untagged"
    user.delete_budget(**name)
