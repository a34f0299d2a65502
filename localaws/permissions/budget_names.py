"""The ARNs of AWS Budgets' resources: a request names a budget beside the account, or within what is to be made."""

from __future__ import annotations

from collections.abc import Mapping

from localaws.permissions.asking import Place, Resource
from localaws.permissions.catalog import Action
from localaws.permissions.operations import Operation
from localaws.permissions.resources import filled, resources_of


def budgets_of(operation: Operation, action: Action, place: Place) -> list[Resource]:
    """Return the budget of a request, all of the account's where it names none."""
    if operation.parameters.get("ResourceARN"):
        return resources_of(operation, action, place)
    budget = operation.parameters.get("Budget") or operation.parameters.get("NewBudget") or operation.parameters
    name = budget.get("BudgetName") if isinstance(budget, Mapping) else None
    return [filled("budgets", "budget", {"BudgetName": str(name)} if name else {}, place)]
