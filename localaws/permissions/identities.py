"""What moto's IAM stores of a user, group or role, compiled for decisions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from localaws.policies.decision import Identity
from localaws.policies.documents import Policy, policy


@dataclass(frozen=True)
class Attached:
    """A policy of an identity and AWS's SourcePolicyType of it: user, group, role, aws-managed or user-managed."""

    kind: str
    policy: Policy


def attached_to(backend: Any, owner: Any) -> list[Attached]:
    """Return the inline and attached policies of moto's user, group or role, and those of a user's groups.

    Raises:
        UnknownOperator: a condition has an operator that IAM does not have.
    """
    groups = [each for each in list(backend.groups.values()) if owner in each.users] if owner is not None else []
    return [each for one in (owner, *groups) if one is not None for each in _policies_of(one)]


def identity_of(backend: Any, owner: Any, *, session: tuple[Policy, ...] | None = None) -> Identity:
    """Return what bounds moto's user or role; None is one that is gone, which may nothing.

    Raises:
        UnknownOperator: a condition has an operator that IAM does not have.
    """
    arn = getattr(owner, "permissions_boundary_arn", None)
    boundary = _managed(arn, backend.managed_policies.get(arn)) if arn else None
    return Identity(tuple(each.policy for each in attached_to(backend, owner)), boundary, session)


def _policies_of(owner: Any) -> Iterator[Attached]:
    for name, text in list(owner.policies.items()):
        yield Attached(type(owner).__name__.lower(), policy(name, text))
    for each in list(owner.managed_policies.values()):
        kind = "aws-managed" if ":iam::aws:" in each.arn else "user-managed"
        yield Attached(kind, _managed(each.arn, each))


def _managed(arn: str, stored: Any) -> Policy:
    """Return a managed policy's default version; of one that is gone, a policy that allows nothing."""
    return policy(arn, default_version(stored) if stored else json.dumps({"Statement": []}))


def default_version(stored: Any) -> str:
    """Return the text of the default version of a managed policy of moto's."""
    return str(next(each.document for each in stored.versions if each.is_default))
