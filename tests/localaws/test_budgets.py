"""AWS Budgets: kept with their tags, of the caller's account alone, and decided by IAM on their own ARNs."""

import pytest
from botocore.exceptions import ClientError

from tests.conftest import RunningLocalAws
from tests.localaws.callers import ACCOUNT, allow, make_user

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
