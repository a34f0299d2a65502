"""The commands of the aws CLI that mend a finding, without the leading `aws`."""

from __future__ import annotations

import json
from collections.abc import Iterable

from tasks.account.policy_documents import Document
from tasks.audit.account import Identity
from tasks.audit.grants import Source
from tasks.run.command_line import aws_command


def take_away(sources: Iterable[Source]) -> tuple[str, ...]:
    """Return the commands that take policies from those who have them."""
    return tuple(_take_away(source) for source in sources)


def _take_away(source: Source) -> str:
    kind, policy = source.owner.kind, source.policy
    owner = {f"{kind}_name": source.owner.name}
    if policy.arn is None:
        return aws_command(f"iam delete-{kind}-policy", **owner, policy_name=policy.name)
    return aws_command(f"iam detach-{kind}-policy", **owner, policy_arn=policy.arn)


def delete_role(role: Identity) -> tuple[str, ...]:
    """Return the commands that delete a role and its instance profiles; AWS wants its policies gone before."""
    profiles = (command for profile in role.profiles for command in delete_profile(profile, (role.name,)))
    policies = take_away(Source(role, policy) for policy in role.policies)
    return *profiles, *policies, aws_command("iam delete-role", role_name=role.name)


def delete_profile(profile: str, roles: Iterable[str]) -> tuple[str, ...]:
    """Return the commands that delete an instance profile."""
    remove = "iam remove-role-from-instance-profile"
    removed = (aws_command(remove, instance_profile_name=profile, role_name=role) for role in roles)
    return *removed, aws_command("iam delete-instance-profile", instance_profile_name=profile)


def set_trust(role: Identity, document: Document) -> str:
    """Return the command that sets a trust policy."""
    return aws_command("iam update-assume-role-policy", role_name=role.name, policy_document=json.dumps(document))


def set_inline(owner: Identity, policy: str, document: Document) -> str:
    """Return the command that sets an inline policy."""
    named = {f"{owner.kind}_name": owner.name, "policy_name": policy}
    return aws_command(f"iam put-{owner.kind}-policy", **named, policy_document=json.dumps(document))
