"""Finds and removes the AWS budgets of runs. Budgets belong to no region; a name ends in the region of its run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from botocore.exceptions import ClientError

from tasks.account.budget_alarm import KIND, PARTITIONS, find_budget_tags, remove_budget
from tasks.run.aws import Aws
from tasks.run.error_codes import DENIED
from tasks.run.errors import error_code
from tasks.run.naming import RESOURCE_PREFIX
from tasks.teardown.kinds import Kind, only_tagged
from tasks.teardown.plan import Resource

_NO_BUDGETS = DENIED | {"UnsupportedOperation"}
"""An operator without Budgets has made none, and neither has anybody on a localaws of a release without them."""


def _find(aws: Aws, name: str) -> Resource | None:
    tags = find_budget_tags(aws, name)
    return None if tags is None else Resource(KIND, name, tags)


def _find_tagged(aws: Aws) -> Iterator[Resource]:
    if aws.partition not in PARTITIONS:
        return
    try:
        pages = aws.client("budgets").get_paginator("describe_budgets").paginate(AccountId=aws.account_id)
        names = [each["BudgetName"] for page in pages for each in page.get("Budgets") or ()]
    except ClientError as error:
        if error_code(error) in _NO_BUDGETS:
            return
        raise
    own = [name for name in names if name.startswith(RESOURCE_PREFIX) and name.endswith(f"-budget-{aws.region}")]
    yield from only_tagged(_find(aws, name) for name in own)


BUDGET_KINDS: Mapping[str, Kind] = {KIND: Kind(_find, _find_tagged, remove_budget)}
