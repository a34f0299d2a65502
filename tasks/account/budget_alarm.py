"""Makes the AWS budget of a run, which sends mail when what carries the run's tag has cost too much.

AWS looks at costs a few times a day, hours after they arose, and by tag only once the tag is activated for billing.
The alarm is a second net below `--budget`, which ends a run by itself.
"""

from __future__ import annotations

import hashlib
from typing import Any

from tasks.account.lookup import none_if_missing, refuse_foreign, tags_to_dict
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import SettingsRefused, aws_boundary
from tasks.run.handle import Run
from tasks.run.options import EMAIL
from tasks.run.waiting import say

KIND = "budget"
MOST_CHARACTERS = 254
"""Of an address."""

THRESHOLDS = (("ACTUAL", 80.0), ("ACTUAL", 100.0), ("FORECASTED", 100.0))
"""At which percentages of the budget a mail is sent, of what was spent and of the forecast for the month."""


def budget_name(run_id: str, region: str) -> str:
    """Return the name of a run's budget; budgets belong to no region, so the name has it."""
    return naming.resource_name(run_id, "budget", region, limit=100)


def require_budget(budget_usd: float | None, email: str | None) -> None:
    """Refuse an alarm without a budget, or to what is no address.

    Raises:
        SettingsRefused: an address is given and no budget, or it is none.
    """
    if email is None:
        return
    if budget_usd is None:
        raise SettingsRefused("costs", "--budget-alarm", "an alarm needs a budget", "add --budget 20, in USD")
    if not EMAIL.fits(email) or len(email) > MOST_CHARACTERS:
        what = f"--budget-alarm {email[:MOST_CHARACTERS]}"
        raise SettingsRefused("costs", what, "it is no address of the form name@example.org", "give one address")


def ensure_budget_alarm(run: Run, budget_usd: float | None, email: str | None) -> None:
    """Create the run's budget, adopt it, or replace one of another amount or address; without an address do nothing.

    Raises:
        OwnershipRefused: a budget of that name does not have the run's tags.
        AwsFailed: AWS Budgets refused.
    """
    if email is None or budget_usd is None:
        return
    aws, name, spec = run.aws, budget_name(run.id, run.aws.region), _spec(budget_usd, email)
    with aws_boundary(f"budget {name}"):
        tags = _own_tags(run, name)
        if tags is not None and tags.get(naming.SPEC_TAG) == spec:
            run.ledger.adopt(KIND, name, budget_arn(aws, name))
            return
        if tags is not None:
            remove_budget(aws, name)
        with run.ledger.create(KIND, name, lambda: _arn_of_same(run, name, spec)) as row:
            aws.client("budgets").create_budget(**_request(run, name, budget_usd, email))
            row.identifier = budget_arn(aws, name)
    activate = aws.cli("ce update-cost-allocation-tags-status", cost_allocation_tags_status=_ACTIVE)
    say(f"budget alarm: mail to {email} at 80 % and 100 % of {budget_usd:g} USD; AWS sees costs hours late")
    say(f"budget alarm: AWS sees none until the tag is activated, once for an account: {activate}")


_ACTIVE = f"TagKey={naming.RUN_TAG},Status=Active"


def budget_arn(aws: Aws, name: str) -> str:
    """Return the ARN of a budget of the account."""
    return f"arn:{aws.partition}:budgets::{aws.account_id}:budget/{name}"


def find_budget_tags(aws: Aws, name: str) -> dict[str, str] | None:
    """Return the tags of a budget, or None when there is none.

    Raises:
        ClientError: AWS Budgets refused.
    """
    found = none_if_missing(lambda: aws.client("budgets").list_tags_for_resource(ResourceARN=budget_arn(aws, name)))
    return None if found is None else tags_to_dict(found.get("ResourceTags") or [])


def remove_budget(aws: Aws, name: str) -> None:
    """Delete a budget; one that does not exist is no error.

    Raises:
        ClientError: AWS Budgets refused.
    """
    none_if_missing(lambda: aws.client("budgets").delete_budget(AccountId=aws.account_id, BudgetName=name))


def _own_tags(run: Run, name: str) -> dict[str, str] | None:
    tags = find_budget_tags(run.aws, name)
    if tags is not None:
        refuse_foreign(f"budget {name}", tags, run.id)
    return tags


def _arn_of_same(run: Run, name: str, spec: str) -> str | None:
    tags = _own_tags(run, name)
    return budget_arn(run.aws, name) if tags is not None and tags.get(naming.SPEC_TAG) == spec else None


def _spec(budget_usd: float, email: str) -> str:
    return hashlib.sha256(f"{budget_usd!r} {email}".encode()).hexdigest()[:16]


def _request(run: Run, name: str, budget_usd: float, email: str) -> dict[str, Any]:
    tags = [*run.aws.tag_list(run.id), {"Key": naming.SPEC_TAG, "Value": _spec(budget_usd, email)}]
    budget = {
        "BudgetName": name,
        "BudgetLimit": {"Amount": f"{budget_usd:.2f}", "Unit": "USD"},
        "TimeUnit": "MONTHLY",
        "BudgetType": "COST",
        "CostFilters": {"TagKeyValue": [f"user:{naming.RUN_TAG}${run.id}"]},
    }
    reader = [{"SubscriptionType": "EMAIL", "Address": email}]
    notifications = [
        {
            "Notification": {
                "NotificationType": kind,
                "ComparisonOperator": "GREATER_THAN",
                "Threshold": percent,
                "ThresholdType": "PERCENTAGE",
            },
            "Subscribers": reader,
        }
        for kind, percent in THRESHOLDS
    ]
    return {
        "AccountId": run.aws.account_id,
        "Budget": budget,
        "NotificationsWithSubscribers": notifications,
        "ResourceTags": tags,
    }
