"""What identities may do: everything, everything of a service, ways to more permissions, everybody's data.

A user has only the findings that none of its groups has already. A group without members grants nobody anything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from tasks.audit.account import Account, Identity
from tasks.audit.checks.commands import take_away
from tasks.audit.findings import Finding, finding
from tasks.audit.grants import Grants, Source, grants_of
from tasks.audit.risky_actions import ESCALATIONS, EXFILTRATIONS, PASSING, passed_to

SHOWN = 4
Ways = dict[str, tuple[Source, ...]]
_CONTROLS_IAM = "iam:PutRolePolicy"
_ALL = {"*": "every service but those that its policies leave out"}


def check(account: Account) -> Iterator[Finding]:
    """Yield the findings; one of full access stands for all others of the same identity."""
    members = {group for identity in account.identities for group in identity.groups}
    groups = [each for each in account.identities if each.kind == "group" and each.name in members]
    of_groups = {group.name: _granted(group, groups) for group in groups}
    for identity in account.identities:
        if identity.kind == "group":
            yield from _finding_of_each(identity, of_groups.get(identity.name, {}))
        elif not any("full-access" in of_groups.get(name, {}) for name in identity.groups):
            known = {
                (kind, way)
                for name in identity.groups
                for kind, ways in of_groups.get(name, {}).items()
                for way in ways
            }
            yield from _finding_of_each(identity, _granted(identity, groups), known)


def _granted(identity: Identity, groups: list[Identity]) -> dict[str, Ways]:
    """Return by kind of finding what the identity may do, and the policies that grant it."""
    grants = grants_of(identity, groups)
    services = grants.whole_services()
    if "*" in services and grants.sources(_CONTROLS_IAM):
        return {"full-access": {"every action on every resource": services["*"]}}
    others = (action for action in EXFILTRATIONS if not {"*", action.split(":")[0]} & {*services})
    return {
        "service-full-access": {_ALL.get(name, f"{name}:*"): sources for name, sources in services.items()},
        "privilege-escalation": {" + ".join(way): found for way in ESCALATIONS if (found := _sources(grants, way))},
        "data-exfiltration": {action: found for action in others if (found := grants.sources(action))},
    }


def _sources(grants: Grants, way: tuple[str, ...]) -> tuple[Source, ...]:
    """Return the policies that take part in a way, or none if one of its actions is not granted.

    The role that is passed needs to be any role; for what it is passed to, one resource is enough.
    """
    service = passed_to(way)
    steps = [
        grants.sources(each, broad=not service or each == PASSING, passed_to=service if each == PASSING else "")
        for each in way
    ]
    return tuple(source for step in steps for source in step) if all(steps) else ()


def _finding_of_each(
    identity: Identity, granted: Mapping[str, Ways], known: Collection[tuple[str, str]] = ()
) -> Iterator[Finding]:
    """Yield a finding for each kind that has a way which is not known already."""
    for kind, every in granted.items():
        ways = {way: sources for way, sources in every.items() if (kind, way) not in known}
        if ways:
            policies = tuple(dict.fromkeys(source for sources in ways.values() for source in sources))
            more = f" and {len(ways) - SHOWN} more" if len(ways) > SHOWN else ""
            by = ", ".join(dict.fromkeys(source.policy.name for source in policies))
            shown = f"{identity.kind} {identity.name} may do {', '.join([*ways][:SHOWN])}{more} (by {by})"
            yield finding(kind, identity.arn, identity.name, shown, *take_away(policies))
