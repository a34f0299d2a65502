"""The commands of the aws CLI that mend a finding, without the leading `aws`."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable

from tasks.account.policy_documents import Document
from tasks.audit.account import Identity
from tasks.audit.grants import Source


def take_away(sources: Iterable[Source]) -> tuple[str, ...]:
    """Return the commands that take policies from those who have them."""
    return tuple(_take_away(source) for source in sources)


def _take_away(source: Source) -> str:
    kind, name, policy = source.owner.kind, shlex.quote(source.owner.name), source.policy
    if policy.arn is None:
        return f"iam delete-{kind}-policy --{kind}-name {name} --policy-name {shlex.quote(policy.name)}"
    return f"iam detach-{kind}-policy --{kind}-name {name} --policy-arn {shlex.quote(policy.arn)}"


def delete_role(role: Identity) -> tuple[str, ...]:
    """Return the commands that delete a role and its instance profiles; AWS wants its policies gone before."""
    profiles = (command for profile in role.profiles for command in delete_profile(profile, (role.name,)))
    policies = take_away(Source(role, policy) for policy in role.policies)
    return *profiles, *policies, f"iam delete-role --role-name {shlex.quote(role.name)}"


def delete_profile(profile: str, roles: Iterable[str]) -> tuple[str, ...]:
    """Return the commands that delete an instance profile."""
    name = f"--instance-profile-name {shlex.quote(profile)}"
    removed = (f"iam remove-role-from-instance-profile {name} --role-name {shlex.quote(role)}" for role in roles)
    return *removed, f"iam delete-instance-profile {name}"


def set_trust(role: Identity, document: Document) -> str:
    """Return the command that sets a trust policy."""
    name, text = shlex.quote(role.name), shlex.quote(json.dumps(document))
    return f"iam update-assume-role-policy --role-name {name} --policy-document {text}"


def set_inline(owner: Identity, policy: str, document: Document) -> str:
    """Return the command that sets an inline policy."""
    kind, name, text = owner.kind, shlex.quote(owner.name), shlex.quote(json.dumps(document))
    return f"iam put-{kind}-policy --{kind}-name {name} --policy-name {shlex.quote(policy)} --policy-document {text}"
