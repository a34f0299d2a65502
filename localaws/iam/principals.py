"""Principals in policies of resources: they exist when a policy is stored, and stay who they were.

AWS keeps the unique id of a user or role that a policy names by its ARN, and shows the ARN for as long as that one
exists. Here the ARN is kept, and replaced by the id when the user or role is deleted: another one of its name is not
meant. Renamed, it is named by its new ARN.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from moto.iam.models import IAMBackend

from localaws.partition import partition
from localaws.policies.documents import list_of, statements_of

_ID_STARTS = ("AIDA", "AROA")  # of users and roles

_create_user, _update_user = IAMBackend.create_user, IAMBackend.update_user
_delete_user, _delete_role = IAMBackend.delete_user, IAMBackend.delete_role


def unknown_principals(backend: Any, document: Any) -> list[str]:
    """Return the users and roles of this account that a policy names and that do not exist, by ARN or unique id."""
    known = {each.arn for each in _identities(backend)}
    return [name for name in _names(document) if _is_of_account(backend, name) and name not in known]


def create_user(self: IAMBackend, *given: Any, **more: Any) -> Any:
    """Make a user with an id of AWS's form."""
    user = _create_user(self, *given, **more)
    user.id = f"AIDA{user.id[4:].upper()}"
    return user


def update_user(self: IAMBackend, user_name: str, *given: Any, **more: Any) -> None:
    """Rename a user, in the policies that name it too."""
    user, before = self.get_user(user_name), self.get_user(user_name).arn
    _update_user(self, user_name, *given, **more)
    _replace(self, before, user.arn)


def delete_user(self: IAMBackend, user_name: str) -> None:
    """Delete a user; policies that name it name its id from now on."""
    user = self.get_user(user_name)
    _delete_user(self, user_name)
    _replace(self, user.arn, user.id)


def delete_role(self: IAMBackend, role_name: str) -> None:
    """Delete a role; policies that name it name its id from now on."""
    role = self.get_role(role_name)
    _delete_role(self, role_name)
    _replace(self, role.arn, role.id)


def install_principals() -> None:
    """Put these in the place of moto's."""
    IAMBackend.create_user = create_user  # type: ignore[method-assign]
    IAMBackend.update_user = update_user  # type: ignore[method-assign]
    IAMBackend.delete_user = delete_user  # type: ignore[method-assign]
    IAMBackend.delete_role = delete_role  # type: ignore[method-assign]


def _identities(backend: Any) -> Iterator[Any]:
    yield from list(backend.roles.values())
    yield from list(backend.users.values())


def _is_of_account(backend: Any, name: str) -> bool:
    if name.startswith(_ID_STARTS):
        return True
    return name.startswith(f"arn:{partition()}:iam::{backend.account_id}:") and not name.endswith(":root")


def _named(document: Any) -> Iterator[tuple[Any, str]]:
    """Return where a policy names principals of AWS's: elements that are one name or a list, each by its holder."""
    for each in statements_of(document):
        for element in ("Principal", "NotPrincipal"):
            if isinstance(each.get(element), str):
                yield each, element
            elif "AWS" in each.get(element, {}):
                yield each[element], "AWS"


def _names(document: Any) -> Iterator[str]:
    for holder, element in _named(document):
        yield from list_of(holder[element])


def _replace(backend: Any, before: str, after: str) -> None:
    """Replace a principal in all policies of the account's roles, buckets and functions."""
    if before == after:
        return
    from moto.awslambda.models import lambda_backends
    from moto.s3.models import s3_backends

    account_id = backend.account_id
    for role in list(backend.roles.values()):
        role.assume_role_policy_document = _replaced(role.assume_role_policy_document, before, after)
    buckets: Any = s3_backends[account_id][partition()].buckets
    for bucket in list(buckets.values()):
        if bucket.policy:
            bucket.policy = _replaced(bytes(bucket.policy).decode(), before, after).encode()
    for region in list(lambda_backends[account_id].values()):
        for group in list(region._lambdas._functions.values()):
            for function in (group["latest"], *group["versions"]):
                _replace_in({"Statement": function.policy.statements}, before, after)


def _replaced(text: str, before: str, after: str) -> str:
    document = json.loads(text)
    return json.dumps(document) if _replace_in(document, before, after) else text


def _replace_in(document: Any, before: str, after: str) -> bool:
    """Replace a principal in a policy; return whether it was there."""
    every = [each for each in _named(document) if before in list_of(each[0][each[1]])]
    for holder, element in every:
        names = [after if name == before else name for name in list_of(holder[element])]
        holder[element] = names if isinstance(holder[element], list) else names[0]
    return bool(every)
