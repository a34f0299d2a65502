"""AWS's own managed policies, as moto has them, loaded before the first operation that could name one.

There are some 1,580 of them, and reading takes 0.2 s: a server that nobody asks for one does without.
"""

import functools
import inspect
import json
from collections.abc import Callable
from typing import Any

from moto.iam.models import AWSManagedPolicy, IAMBackend, ManagedPolicy
from moto.iam.responses import IamResponse

OPERATIONS = (
    *("attach_role_policy", "attach_user_policy", "attach_group_policy", "create_role", "create_user"),
    *("get_policy", "get_policy_version", "list_policies", "list_policy_versions", "list_entities_for_policy"),
    *("put_role_permissions_boundary", "get_account_summary"),
)

_details = IAMBackend.get_account_authorization_details


def load(backend: Any) -> None:
    """Give a backend AWS's managed policies, once."""
    if backend.aws_managed_policies:
        return
    from moto.iam.aws_managed_policies import aws_managed_policies_data

    backend.aws_managed_policies = [
        AWSManagedPolicy.from_data(name, backend.account_id, backend.region_name, data)
        for name, data in json.loads(aws_managed_policies_data).items()
    ]
    backend.managed_policies.update((each.arn, each) for each in backend.aws_managed_policies)


def install_managed_policies() -> None:
    """Have the operations that could name one load them first; the account's details have those that are attached."""
    for name in OPERATIONS:
        setattr(IamResponse, name, _loading(inspect.unwrap(getattr(IamResponse, name))))
    IAMBackend.get_account_authorization_details = _of_the_account  # type: ignore[method-assign]
    ManagedPolicy.policy_name = property(lambda self: self.name)  # type: ignore[attr-defined]


def _of_the_account(self: IAMBackend, policy_filter: list[str]) -> dict[str, Any]:
    found = _details(self, policy_filter)
    used = (each for each in found["managed_policies"] if each.attachment_count or ":iam::aws:" not in each.arn)
    return {**found, "managed_policies": list(used)}


def _loading(answer: Callable[[IamResponse], Any]) -> Callable[[IamResponse], Any]:
    @functools.wraps(answer)
    def loaded(self: IamResponse) -> Any:
        if _may_name_one(self):
            load(self.backend)
        return answer(self)

    return loaded


def _may_name_one(response: IamResponse) -> bool:
    """Return whether a request could be about a managed policy: a role or user mostly has no boundary."""
    action = response._get_action()
    return action not in ("CreateRole", "CreateUser") or "PermissionsBoundary" in response._get_params()
