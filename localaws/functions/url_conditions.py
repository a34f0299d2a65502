"""The conditions of AddPermission that are about function URLs, which moto does not know.

Source: https://docs.aws.amazon.com/lambda/latest/api/API_AddPermission.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from localaws.errors import AwsError
from localaws.functions import validation

Conditions = Mapping[str, Mapping[str, str]]  # values by operator and key


def taken_from(request: dict[str, Any]) -> Conditions:
    """Take the members about function URLs out of a request, and return the conditions that they stand for.

    Raises:
        AwsError: a member belongs to another action.
    """
    auth_type, is_via_url = request.pop("FunctionUrlAuthType", None), request.pop("InvokedViaFunctionUrl", None)
    conditions: dict[str, dict[str, str]] = {}
    if auth_type is not None:
        _require_action(request, "FunctionUrlAuthType", "lambda:InvokeFunctionUrl")
        conditions["StringEquals"] = {"lambda:FunctionUrlAuthType": auth_type}
    if is_via_url is not None:
        _require_action(request, "InvokedViaFunctionUrl", "lambda:InvokeFunction")
        conditions["Bool"] = {"lambda:InvokedViaFunctionUrl": str(bool(is_via_url)).lower()}
    return conditions


def added(statement: Any, conditions: Conditions) -> Any:
    """Return a statement with more conditions."""
    for operator, values in conditions.items():
        statement.setdefault("Condition", {}).setdefault(operator, {}).update(values)
    return statement


def require_new(statement_id: str, qualifier: str | None, statements: Iterable[Mapping[str, Any]]) -> None:
    """Refuse an id that a statement about the same qualifier has.

    Raises:
        AwsError: ResourceConflictException.
    """
    if any(each.get("Sid") == statement_id and _qualifier_of(each) == (qualifier or "") for each in statements):
        text = (
            f"The statement id ({statement_id}) provided already exists. Please provide a new statement id, or remove "
            "the existing statement."
        )
        raise AwsError("ResourceConflictException", text, status=409)


def _qualifier_of(statement: Mapping[str, Any]) -> str:
    _, _, name = str(statement.get("Resource", "")).rpartition(":function:")
    return name.partition(":")[2]


def _require_action(request: Mapping[str, Any], member: str, action: str) -> None:
    if request.get("Action") != action:
        raise validation.invalid(f"{member} is only supported for {action} action")
