"""The decision: all the policies that a request meets, in AWS's order.

An explicit deny anywhere ends it. Within an account, the identity's policies or the resource's allow; a permissions
boundary and a session's policy bound what the identity's allow. Across accounts both sides have to allow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from localaws.partition import partition
from localaws.policies.context import NOTHING, Context
from localaws.policies.documents import Policy, Principals, Statement

ALLOWED = "allowed"
IMPLICIT_DENY = "implicitDeny"
EXPLICIT_DENY = "explicitDeny"


class Kind(Enum):
    """A kind of policy, by the words of AWS's messages."""

    IDENTITY = "identity-based policy"
    RESOURCE = "resource-based policy"
    BOUNDARY = "permissions boundary"
    SESSION = "session policy"


class Grant(Enum):
    """How a resource's policy means a caller, which decides what else has to allow."""

    NOT = 0
    ACCOUNT = 1  # its account: an administrator there has to allow too
    ROLE = 2  # the role of its session: bounds of role and session apply
    ITSELF = 3  # the caller, or everyone: nothing else is asked


@dataclass(frozen=True)
class Principal:
    """Who asks. `arn` is a user's, a session's or the account's root; `role_arn` that of a session's role.

    `service` is the name of an AWS service that asks for itself, as in "lambda.amazonaws.com". `account_id` is empty
    for one without a name.
    """

    arn: str = ""
    account_id: str = ""
    role_arn: str = ""
    service: str = ""
    is_root: bool = False


ANYONE = Principal()


@dataclass(frozen=True)
class Identity:
    """What bounds a principal. `boundary` and `session`: None for none; `session` is that of AssumeRole's `Policy`."""

    policies: tuple[Policy, ...] = ()
    boundary: Policy | None = None
    session: tuple[Policy, ...] | None = None


@dataclass(frozen=True)
class Request:
    """What is asked: an action (`s3:GetObject`) on a resource's ARN. `owner_id`: the account of the resource."""

    action: str
    resource: str
    context: Context = field(default=NOTHING, compare=False)
    owner_id: str = ""


@dataclass(frozen=True)
class Matched:
    """A statement that decided: of which kind of policy, its policy's name, and its place there from 0."""

    kind: Kind
    policy: str
    position: int


@dataclass(frozen=True)
class Decision:
    """`effect` as SimulatePrincipalPolicy names it; `kind`: the policies that denied; `matched`: what decided."""

    effect: str
    kind: Kind | None = None
    matched: tuple[Matched, ...] = ()

    @property
    def is_allowed(self) -> bool:
        """Whether the request may be carried out."""
        return self.effect == ALLOWED


def decide(
    principal: Principal,
    identity: Identity,
    request: Request,
    resource: Policy | None = None,
    *,
    is_trust: bool = False,
) -> Decision:
    """Decide as AWS does. `resource`: the policy of the resource, or a role's (`is_trust`), which has to allow too."""
    case = _Case(principal, identity, request, resource)
    return case.denied() or case.granted(is_trust=is_trust) or case.allowed()


def keys_of(identity: Identity, resource: Policy | None = None, *, action: str | None = None) -> frozenset[str]:
    """Return the context keys that could matter to a decision, on an action if it is given."""
    bounds = [each for _, policies in _bounds_of(identity) for each in policies]
    every = [*identity.policies, *bounds, *([resource] if resource else [])]
    return frozenset[str]().union(*(each.keys(action) for each in every))


class _Case:
    """One request and all the policies that it meets."""

    def __init__(self, principal: Principal, identity: Identity, request: Request, resource: Policy | None) -> None:
        self._principal, self._request = principal, request
        self._own = identity.policies
        self._bounds = _bounds_of(identity)
        self._is_granted = False
        granted = ((each, self._grant_by(each)) for each in self._applying(resource))
        about = [(each, grant) for each, grant in granted if grant is not Grant.NOT]
        name = resource.name if resource else ""
        self._forbidding = [Matched(Kind.RESOURCE, name, each.position) for each, _ in about if each.is_deny]
        self._granting = [Matched(Kind.RESOURCE, name, each.position) for each, _ in about if not each.is_deny]
        grants = [grant for each, grant in about if not each.is_deny]
        self._grant = max(grants, key=lambda each: each.value, default=Grant.NOT)

    def _grant_by(self, statement: Statement) -> Grant:
        """Return how a statement means the caller; `NotPrincipal` that denies means all with a boundary, as on AWS."""
        principals, is_bounded = statement.principals, any(kind is Kind.BOUNDARY for kind, _ in self._bounds)
        if principals is not None and principals.are_excluded and statement.is_deny:
            return Grant.NOT if _is_exempt(principals, self._principal) and not is_bounded else Grant.ITSELF
        return _grant(principals, self._principal)

    def denied(self) -> Decision | None:
        """Return the explicit deny, if there is one."""
        found = list(self._forbidding)
        for kind, policies in ((Kind.IDENTITY, self._own), *self._bounds):
            found += self._matched(kind, policies, is_deny=True)
        return Decision(EXPLICIT_DENY, found[0].kind, tuple(found)) if found else None

    def granted(self, *, is_trust: bool) -> Decision | None:
        """Return what the resource's policy alone decides, None if the identity's are to be asked."""
        is_named = self._principal.account_id != ""
        is_foreign = self._request.owner_id not in ("", self._principal.account_id)
        if self._grant is Grant.NOT and (is_trust or is_foreign or not is_named):
            return Decision(IMPLICIT_DENY, Kind.RESOURCE)
        if self._grant is Grant.ITSELF and not (is_named and is_foreign):
            return Decision(ALLOWED, None, tuple(self._granting))
        self._is_granted = self._grant is Grant.ROLE and not is_foreign
        return None

    def allowed(self) -> Decision:
        """Return what the identity's policies decide within their bounds."""
        own = self._matched(Kind.IDENTITY, self._own, is_deny=False)
        if not (own or self._principal.is_root or self._is_granted):
            return Decision(IMPLICIT_DENY, Kind.IDENTITY)
        for kind, policies in self._bounds:
            if not self._matched(kind, policies, is_deny=False):
                return Decision(IMPLICIT_DENY, kind)
        return Decision(ALLOWED, None, tuple(own or self._granting))

    def _matched(self, kind: Kind, policies: Iterable[Policy], *, is_deny: bool) -> list[Matched]:
        return [
            Matched(kind, policy.name, each.position)
            for policy in policies
            for each in self._applying(policy)
            if each.is_deny == is_deny
        ]

    def _applying(self, policy: Policy | None) -> Iterator[Statement]:
        asked = self._request
        for each in policy.statements if policy else ():
            if each.applies(asked.action, asked.resource, asked.context):
                yield each


def _bounds_of(identity: Identity) -> list[tuple[Kind, tuple[Policy, ...]]]:
    boundary = [(Kind.BOUNDARY, (identity.boundary,))] if identity.boundary else []
    return [*boundary, *([(Kind.SESSION, identity.session)] if identity.session is not None else [])]


def _grant(principals: Principals | None, caller: Principal) -> Grant:
    if principals is None:
        return Grant.NOT
    names = principals.names.get("AWS", frozenset())
    found = _named(names, principals.names.get("Service", frozenset()), caller)
    if principals.are_excluded:
        return Grant.NOT if found is not Grant.NOT else Grant.ITSELF
    return found


def _named(names: frozenset[str], services: frozenset[str], caller: Principal) -> Grant:
    if "*" in names or (caller.arn and caller.arn in names) or (caller.service and caller.service in services):
        return Grant.ITSELF
    if caller.role_arn and caller.role_arn in names:
        return Grant.ROLE
    return Grant.ACCOUNT if _roots_of(caller) & names else Grant.NOT


def _is_exempt(principals: Principals, caller: Principal) -> bool:
    """Return whether a denying `NotPrincipal` leaves the caller out: it has to name all that the caller is.

    That is the account and the user, or the account, the role and its session.
    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notprincipal.html
    """
    names = principals.names.get("AWS", frozenset())
    if "*" in names or (caller.service and caller.service in principals.names.get("Service", frozenset())):
        return True
    is_named = caller.arn in names and (not caller.role_arn or caller.role_arn in names)
    return bool(_roots_of(caller) & names) and (is_named or caller.is_root)


def _roots_of(caller: Principal) -> set[str]:
    """Return how policies name the caller's account; nothing for one without a name."""
    return {caller.account_id, f"arn:{partition()}:iam::{caller.account_id}:root"} if caller.account_id else set()
