"""Finds and removes the AWS budgets of runs, by the ledger: a list of budgets costs a right and tells no tags."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.account.budget_alarm import KIND, find_budget_tags, remove_budget
from tasks.run.aws import Aws
from tasks.teardown.kinds import Kind, find_none
from tasks.teardown.plan import Resource


def _find(aws: Aws, name: str) -> Resource | None:
    tags = find_budget_tags(aws, name)
    return None if tags is None else Resource(KIND, name, tags)


BUDGET_KINDS: Mapping[str, Kind] = {KIND: Kind(_find, find_none, remove_budget)}
