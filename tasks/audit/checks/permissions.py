"""What identities may do: everything, everything of a service, ways to more permissions, everybody's data.

A user has only the findings that none of its groups has already. A group without members grants nobody anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tasks.audit.account import Account, Identity
from tasks.audit.checks.commands import take_away
from tasks.audit.findings import Finding, finding
from tasks.audit.grants import Grants, Source, grants_of
from tasks.audit.risky_actions import ESCALATIONS, EXFILTRATIONS, PASSING, passed_to

SHOWN = 4
_CONTROLS_IAM = "iam:PutRolePolicy"
_ALL = {"*": "every service but those that its policies leave out"}


def check(account: Account) -> Iterator[Finding]:
    """Yield the findings; one of full access stands for all others of the same identity."""
    members = {group for identity in account.identities for group in identity.groups}
    groups = [each for each in account.identities if each.kind == "group" and each.name in members]
    of_groups = {group.name: list(_findings(group, groups)) for group in groups}
    for found in of_groups.values():
        yield from found
    for identity in (each for each in account.identities if each.kind != "group"):
        known = {each.id for group in identity.groups for each in of_groups.get(group, ())}
        if "full-access" not in known:
            yield from (each for each in _findings(identity, groups) if each.id not in known)


def _findings(identity: Identity, groups: list[Identity]) -> Iterator[Finding]:
    grants = grants_of(identity, groups)
    services = grants.whole_services()
    if "*" in services and grants.sources(_CONTROLS_IAM):
        yield from _finding("full-access", identity, {"every action on every resource": services["*"]})
        return
    shown = {_ALL.get(name, f"{name}:*"): sources for name, sources in services.items()}
    yield from _finding("service-full-access", identity, shown)
    ways = {" + ".join(way): sources for way in ESCALATIONS if (sources := _sources(grants, way))}
    yield from _finding("privilege-escalation", identity, ways)
    others = (action for action in EXFILTRATIONS if not {"*", action.split(":")[0]} & {*services})
    reads = {action: sources for action in others if (sources := grants.sources(action))}
    yield from _finding("data-exfiltration", identity, reads)


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


def _finding(kind: str, identity: Identity, granted: Mapping[str, tuple[Source, ...]]) -> Iterator[Finding]:
    if granted:
        every = tuple(dict.fromkeys(source for sources in granted.values() for source in sources))
        more = f" and {len(granted) - SHOWN} more" if len(granted) > SHOWN else ""
        by = ", ".join(dict.fromkeys(source.policy.name for source in every))
        shown = f"{identity.kind} {identity.name} may do {', '.join([*granted][:SHOWN])}{more} (by {by})"
        yield finding(kind, identity.arn, identity.name, shown, *take_away(every))
