"""What an identity may really do: its policies and those of its groups, less what is denied, within its boundary.

Not considered: conditions (`tasks.audit.policy` says which leave a grant wide), policies of organizations, session
policies, resources' own policies, and grants on single resources.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tasks.audit.account import Identity, Policy
from tasks.audit.policy import Statement, statements

INVENTED = "KennelAudit"
"""No action has this name, so `s3:KennelAudit` is granted only by what grants every action of S3."""


@dataclass(frozen=True)
class Source:
    """A policy and the identity that has it: a user's own or one of a group."""

    owner: Identity
    policy: Policy


@dataclass(frozen=True)
class Grants:
    """The statements of an identity."""

    allowed: tuple[tuple[Source, Statement], ...]
    denied: tuple[Statement, ...]
    boundary: tuple[Statement, ...] | None

    def sources(self, action: str, *, broad: bool = True, passed_to: str = "") -> tuple[Source, ...]:
        """Return the policies that grant an action without a limiting condition, or none if it is taken back.

        With `broad`, only grants on every resource of a type count, otherwise those on any resource.
        """
        if self._is_taken_back(action, broad=broad, passed_to=passed_to):
            return ()
        found = (source for source, each in self.allowed if _grants(each, action, broad=broad, passed_to=passed_to))
        return tuple(dict.fromkeys(found))

    def _is_taken_back(self, action: str, *, broad: bool, passed_to: str) -> bool:
        if any(_denies(each, action) for each in self.denied):
            return True
        if self.boundary is None:
            return False
        inside = any(each.allows and _grants(each, action, broad=broad, passed_to=passed_to) for each in self.boundary)
        return not inside or any(not each.allows and _denies(each, action) for each in self.boundary)

    def whole_services(self) -> dict[str, tuple[Source, ...]]:
        """Return the services of which every action is granted; "*" stands for a grant over the services."""
        every = [*(each for _, each in self.allowed), *(self.boundary or ())]
        named = {action.split(":")[0].lower() for each in every for action in each.actions if ":" in action}
        probes = {"*": f"kennel-audit:{INVENTED}", **{name: f"{name}:{INVENTED}" for name in named if "*" not in name}}
        return {name: sources for name, probe in sorted(probes.items()) if (sources := self.sources(probe))}


def grants_of(identity: Identity, groups: Iterable[Identity]) -> Grants:
    """Return the grants of an identity with those of its groups."""
    owners = [identity, *(group for group in groups if group.name in identity.groups)]
    every = [
        (Source(owner, policy), each)
        for owner in owners
        for policy in owner.policies
        for each in statements(policy.document)
    ]
    boundary = None if identity.boundary is None else statements(identity.boundary)
    allowed = tuple((source, each) for source, each in every if each.allows)
    return Grants(allowed, tuple(each for _, each in every if not each.allows), boundary)


def _grants(statement: Statement, action: str, *, broad: bool, passed_to: str) -> bool:
    is_wide = statement.is_broad or not broad
    return is_wide and statement.covers(action) and not statement.is_limited(passed_to)


def _denies(statement: Statement, action: str) -> bool:
    """Tell whether a statement of a Deny leaves nothing of a grant on every resource."""
    return statement.covers(action) and statement.is_broad and not statement.conditions
