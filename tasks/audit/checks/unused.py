"""What nobody uses: roles, instance profiles, and the services that inline policies grant.

A role is orphaned when a service alone may assume it and nothing of that service uses it in the regions that were
looked at. It is not when the service could not be looked at whole, or when its last use was in another region.
SageMaker has more users of roles than are looked at, so there a role must be idle as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from tasks.account.policy_documents import many
from tasks.audit.account import Account, Identity, Policy
from tasks.audit.checks.commands import delete_profile, delete_role, set_inline, take_away
from tasks.audit.findings import Finding, finding
from tasks.audit.grants import Source
from tasks.audit.policy import trusted

COMPUTE = {"lambda.amazonaws.com": "lambda", "sagemaker.amazonaws.com": "sagemaker", "ec2.amazonaws.com": "ec2"}
_SOUGHT = {
    "lambda": "no function",
    "sagemaker": "no notebook instance, model, job, domain or pipeline",
    "ec2": "no instance and no launch template",
}


def check(account: Account, days: int) -> Iterator[Finding]:
    """Yield the findings; an orphaned role is not reported as unused too, nor is its instance profile."""
    orphaned = {role.name for role in account.roles if _orphan_of(account, role, days)}
    for role in account.roles:
        service = _orphan_of(account, role, days)
        if service:
            shown = f"role {role.name} is for {service}, and {_SOUGHT[service]} in {account.where} uses it"
            yield finding("role-orphaned", role.arn, role.name, shown, *delete_role(role))
        elif role.is_idle(account.seen_at, days):
            last = "never" if role.last_used is None else f"last on {role.last_used:%Y-%m-%d}"
            shown = f"role {role.name} of {role.created:%Y-%m-%d} was used {last}"
            yield finding("role-unused", role.arn, role.name, shown, *delete_role(role))
    yield from _profiles(account, orphaned)
    for identity in account.identities:
        yield from _inline(account, identity, days)


def _orphan_of(account: Account, role: Identity, days: int) -> str:
    """Return the service whose user of the role is gone, or "" if the role is no orphan."""
    principals = {value for _, _, value in trusted(role.trust or {}, frozenset())}
    service = COMPUTE.get(next(iter(principals)), "") if len(principals) == 1 else ""
    is_elsewhere = role.last_used_region is not None and role.last_used_region not in account.regions
    if not service or service in account.unseen or is_elsewhere:
        return ""
    if service == "sagemaker" and not role.is_idle(account.seen_at, days):
        return ""
    profiles = {each.arn for each in account.profiles if role.name in each.roles}
    return "" if account.used(service) & (profiles if service == "ec2" else {role.arn}) else service


def _profiles(account: Account, orphaned: set[str]) -> Iterator[Finding]:
    unused = () if "ec2" in account.unseen else (p for p in account.profiles if p.arn not in account.used("ec2"))
    for profile in unused:
        if not orphaned & {*profile.roles}:
            shown = f"{_SOUGHT['ec2']} in {account.where} uses the instance profile {profile.name}"
            commands = delete_profile(profile.name, profile.roles)
            yield finding("profile-unused", profile.arn, profile.name, shown, *commands)


def _inline(account: Account, identity: Identity, days: int) -> Iterator[Finding]:
    """Yield a finding for each inline policy that names services which its owner, older than `days`, did not use."""
    limit, accessed = account.seen_at - timedelta(days=days), account.last_accessed.get(identity.arn)
    if accessed is None or identity.created > limit:
        return
    for policy in (each for each in identity.policies if each.arn is None):
        idle = sorted(name for name in _services(policy) if name in accessed and _is_before(accessed[name], limit))
        if idle:
            shown = f"{identity.kind} {identity.name} did not use {', '.join(idle)} of its policy {policy.name}"
            yield finding("inline-unused", identity.arn, identity.name, shown, _without(identity, policy, set(idle)))


def _is_before(used: datetime | None, limit: datetime) -> bool:
    return used is None or used < limit


def _services(policy: Policy) -> set[str]:
    raw = (each for each in many(policy.document.get("Statement")) if each.get("Effect") == "Allow")
    return {str(action).split(":")[0].lower() for each in raw for action in many(each.get("Action"))}


def _without(owner: Identity, policy: Policy, services: set[str]) -> str:
    """Return the command that takes the services out of the policy, or deletes it if nothing is left."""
    kept = []
    for raw in many(policy.document.get("Statement")):
        actions = [each for each in many(raw.get("Action")) if str(each).split(":")[0].lower() not in services]
        if actions or "Action" not in raw:
            kept.append({**raw, **({"Action": actions} if actions else {})})
    if not kept:
        return take_away([Source(owner, policy)])[0]
    return set_inline(owner, policy.name, {**policy.document, "Statement": kept})
