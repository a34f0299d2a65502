"""The ARNs of Lambda's functions, with the qualifier that a request gives, in the name or beside it."""

from __future__ import annotations

from localaws.permissions.asking import Place, Resource
from localaws.permissions.catalog import Action
from localaws.permissions.operations import Operation
from localaws.permissions.resources import resources_of

_FUNCTION = "function"


def functions_of(operation: Operation, action: Action, place: Place) -> list[Resource]:
    """Return the resources of an action of Lambda's."""
    given = operation.parameters.get("FunctionName")
    kinds = [each.kind for each in action.uses if each.kind.startswith(_FUNCTION)]
    if not kinds or not isinstance(given, str) or not given:
        return resources_of(operation, action, place)
    kind = _FUNCTION if _FUNCTION in kinds else kinds[0]
    qualifier = operation.parameters.get("Qualifier")
    return [Resource(kind, function_arn(given, qualifier if isinstance(qualifier, str) else "", place))]


def function_arn(given: str, qualifier: str, place: Place) -> str:
    """Return the ARN of a function that is named by name, partial ARN or ARN, each with or without a qualifier."""
    before, marked, name = given.rpartition(f"{_FUNCTION}:")
    start = before if before.startswith("arn:") else ""
    account_id = before.rstrip(":") if marked and not start and before else place.account_id
    prefix = start or f"arn:{place.partition}:lambda:{place.region}:{account_id}:"
    qualified = f"{name}:{qualifier}" if qualifier and ":" not in name else name
    return f"{prefix}{_FUNCTION}:{qualified}"
