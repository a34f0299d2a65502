"""IAM: roles and users with their policies, what each was allowed and denied, and when it was used last."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from localaws.console.account import Account
from localaws.console.rendering import paged
from localaws.console.views.missing import Missing

MOST_DENIALS = 50
NEVER = datetime.min.replace(tzinfo=UTC)


def listed(account: Account, query: Mapping[str, str]) -> dict[str, Any]:
    """Return the users, a page of the roles, and what was denied last to anybody."""
    page = paged(list(account.iam.roles.values())[::-1], query)
    page["items"] = [_identity(account, each) for each in page["items"]]
    return {
        "mode": account.authority.mode,
        "users": [_identity(account, each) for each in list(account.iam.users.values())],
        "roles": page,
        "denials": _denials(account),
    }


def one(account: Account, query: Mapping[str, str]) -> dict[str, Any]:
    """Return a role or user.

    Raises:
        Missing: there is none of that ARN.
    """
    arn = query.get("arn", "")
    every = [*list(account.iam.roles.values()), *list(account.iam.users.values())]
    found = next((each for each in every if each.arn == arn), None)
    if found is None:
        raise Missing(f"role or user {arn}")
    managed = [(each.name, _legible(_document(each))) for each in list(found.managed_policies.values())]
    inline = [(name, _legible(text)) for name, text in list(found.policies.items())]
    uses = sorted(account.authority.usage.of(arn).values(), key=lambda use: (-use.denied, use.action))
    return {
        "identity": _identity(account, found),
        "trust": _legible(getattr(found, "assume_role_policy_document", "")),
        "boundary": getattr(found, "permissions_boundary_arn", None) or "",
        "policies": [*inline, *managed],
        "uses": uses,
    }


def _identity(account: Account, found: Any) -> dict[str, Any]:
    uses = account.authority.usage.of(found.arn).values()
    last = max((use.last for use in uses), key=lambda each: each.at, default=None)
    return {
        "name": found.name,
        "arn": found.arn,
        "created": found.create_date,
        "policies": [*found.policies, *(each.name for each in found.managed_policies.values())],
        "allowed": sum(use.allowed for use in uses),
        "denied": sum(use.denied for use in uses),
        "last": last,
    }


def _denials(account: Account) -> list[dict[str, Any]]:
    usage = account.authority.usage
    denied: list[dict[str, Any]] = [
        {"owner": owner, "action": use.action, "denied": use.denied, "allowed": use.allowed, "at": use.asked_at}
        for owner in usage.owners()
        for use in usage.of(owner).values()
        if use.denied
    ]
    return sorted(denied, key=lambda each: -each["at"])[:MOST_DENIALS]


def _document(managed: Any) -> str:
    """Return the default version of a managed policy."""
    return next((str(each.document) for each in list(managed.versions) if each.is_default), "")


def _legible(document: Any) -> str:
    """Return a policy with a line for each member."""
    try:
        return json.dumps(json.loads(document), indent=2, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return str(document)
