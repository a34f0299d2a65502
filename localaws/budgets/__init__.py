"""AWS Budgets over moto's: records with their tags. What a budget measures is always 0 here, and no mail is sent."""

import json
from typing import Any

from starlette.routing import BaseRoute

from localaws.core import Core
from localaws.errors import AwsError
from localaws.partition import partition


def install(_: Core) -> list[BaseRoute]:
    """Have moto keep the tags of a budget, list them, and look at the caller's account alone."""
    from moto.budgets.responses import BudgetsResponse

    create, delete = BudgetsResponse.create_budget, BudgetsResponse.delete_budget

    def create_budget(response: Any) -> str:
        _require_own(response)
        answer = create(response)
        _budget(response, response._get_param("Budget")["BudgetName"]).tags = response._get_param("ResourceTags") or []
        return answer

    def delete_budget(response: Any) -> str:
        _require_own(response)
        return delete(response)

    def list_tags_for_resource(response: Any) -> str:
        arn = response._get_param("ResourceARN")
        prefix = f"arn:{partition()}:budgets::{response.current_account}:budget/"
        found = _budget(response, arn.removeprefix(prefix)) if arn.startswith(prefix) else None
        if found is None:
            raise AwsError("NotFoundException", f"There is no such resource: {arn}")
        return json.dumps({"ResourceTags": found.tags})

    for operation in (create_budget, delete_budget, list_tags_for_resource):
        setattr(BudgetsResponse, operation.__name__, operation)
    return []


def _budget(response: Any, name: str) -> Any:
    return response.backend.budgets[response.current_account].get(name)


def _require_own(response: Any) -> None:
    asked = response._get_param("AccountId")
    if asked != response.current_account:
        raise AwsError("AccessDeniedException", f"Account {asked} is not the caller's account.")
