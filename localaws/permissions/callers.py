"""Who signs requests: the root user, IAM's users and sessions of roles, with what bounds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from localaws.partition import partition
from localaws.permissions.circumstances import KeyValues
from localaws.permissions.identities import identity_of
from localaws.permissions.propagation import Propagation
from localaws.policies.decision import Identity, Principal, keys_of
from localaws.policies.documents import Policy, policy


@dataclass(frozen=True)
class Caller:
    """Who asks. `owner_arn`: the user or role whose policies bound it; `values`: condition keys that tell who it is.

    `keys`: the condition keys that matter to an action; `decided` keeps decisions; the caller is made anew when a
    policy changes.
    """

    principal: Principal
    identity: Identity
    owner_arn: str
    values: KeyValues = field(default_factory=dict)
    keys: KeysByAction = field(default_factory=lambda: KeysByAction(Identity()), compare=False)
    decided: dict[Any, Any] = field(default_factory=dict, compare=False)


class KeysByAction(dict[str, frozenset[str]]):
    """The condition keys that an identity's policies ask for, by the action that their statements are about."""

    def __init__(self, identity: Identity) -> None:
        super().__init__()
        self._identity = identity

    def __missing__(self, action: str) -> frozenset[str]:
        """Find them once."""
        return self.setdefault(action, keys_of(self._identity, action=action))


@dataclass(frozen=True)
class Bounds:
    """What AssumeRole gave a session: the texts of its policies by name, None for no bounds, and its tags.

    `transitive`: keys of the tags, in lower case, that sessions have too which are made with this one; so is
    `source_identity`, empty for none.
    """

    policies: Mapping[str, str] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    transitive: frozenset[str] = frozenset()
    source_identity: str = ""
    made_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def inherited(self) -> Mapping[str, str]:
        """The transitive tags."""
        return {name: value for name, value in self.tags.items() if name.lower() in self.transitive}


class Callers:
    """Finds callers by their access keys, or by a role that a service uses. Forgets what it knows when told to."""

    def __init__(self, account_id: str, propagation: Propagation) -> None:
        self._account_id = account_id
        self._propagation = propagation
        self._known: dict[Any, Caller] = {}
        self._bounds: dict[str, Bounds] = {}

    def known(self) -> object:
        """Return what is another object as soon as a policy has changed."""
        if self._propagation.has_arrived():
            self.forget()
        return self._known

    def bind(self, access_key_id: str, bounds: Bounds) -> None:
        """Have these bounds count for the session of a key."""
        self._bounds[access_key_id] = bounds

    def bounds_of(self, access_key_id: str) -> Bounds:
        """Return what counts for the session of a key."""
        return self._bounds.get(access_key_id, Bounds())

    def forget(self) -> None:
        """Read policies anew from now on."""
        self._known = {}

    def root(self) -> Caller:
        """Return the account's root user."""
        return self._once("root", self._root)

    def of_user(self, name: str) -> Caller:
        """Return an IAM user."""
        return self._once(("user", name), lambda: self._user(name))

    def of_session(self, session: Any) -> Caller:
        """Return the session of a role that moto's STS made."""
        return self._once(session.access_key_id, lambda: self._assumed(session))

    def of_role(self, role_arn: str, session_name: str) -> Caller:
        """Return a service's session of a role, without keys."""
        return self._once((role_arn, session_name), lambda: self._session(role_arn, session_name, {}, None))

    def _once(self, key: Any, make: Callable[[], Caller]) -> Caller:
        self.known()
        known = self._known
        if key not in known:
            known[key] = make()
        return known[key]

    def _root(self) -> Caller:
        arn = f"arn:{partition()}:iam::{self._account_id}:root"
        values = {"aws:userid": [self._account_id], "aws:principaltype": ["Account"]}
        return self._caller(Principal(arn, self._account_id, is_root=True), Identity(), arn, values)

    def _user(self, name: str) -> Caller:
        backend = self._backend()
        user = backend.users.get(name)
        arn = user.arn if user else f"arn:{partition()}:iam::{self._account_id}:user/{name}"
        tags = backend.tagger.get_tag_dict_for_resource(arn)
        values = {"aws:username": [name], "aws:userid": [user.id if user else ""], "aws:principaltype": ["User"]}
        identity = identity_of(backend, user)
        return self._caller(Principal(arn, self._account_id), identity, arn, {**values, **_tagged(tags)})

    def _assumed(self, session: Any) -> Caller:
        bounds = self.bounds_of(session.access_key_id)
        asked = [policy(name, text) for name, text in bounds.policies.items()] if bounds.policies is not None else None
        values = {
            "aws:tokenissuetime": [bounds.made_at.strftime("%Y-%m-%dT%H:%M:%SZ")],
            "aws:multifactorauthpresent": ["false"],
            **({"aws:sourceidentity": [bounds.source_identity]} if bounds.source_identity else {}),
            **_tagged(bounds.tags),
        }
        policies = None if asked is None else tuple(asked)
        return self._session(session.role_arn, session.session_name, values, policies, session.role_id)

    def _session(
        self, role_arn: str, name: str, values: KeyValues, asked: tuple[Policy, ...] | None, role_id: str = ""
    ) -> Caller:
        """Return a session of the role that had the id when it was made, by default of the one that has the ARN."""
        backend = self._backend()
        role = next((each for each in list(backend.roles.values()) if each.arn == role_arn), None)
        if role is not None and role_id not in ("", role.id):
            role = None  # another one of its name
        role_name, role_id = role_arn.rpartition("/")[2], role.id if role else role_id
        arn = f"arn:{partition()}:sts::{self._account_id}:assumed-role/{role_name}/{name}"
        tags = _tagged({each["Key"]: each["Value"] for each in role.tags or []} if role else {})
        who = {"aws:userid": [f"{role_id}:{name}"], "aws:principaltype": ["AssumedRole"]}
        principal = Principal(arn, self._account_id, role_arn if role else role_id)
        identity = identity_of(backend, self._propagation.seen(role), session=asked)
        return self._caller(principal, identity, role_arn, {**tags, **who, **values})

    def _caller(self, principal: Principal, identity: Identity, owner_arn: str, values: KeyValues) -> Caller:
        who = {"aws:principalarn": [owner_arn], "aws:principalaccount": [self._account_id]}
        return Caller(principal, identity, owner_arn, {**who, **values}, KeysByAction(identity))

    def _backend(self) -> Any:
        from moto.iam.models import iam_backends

        return iam_backends[self._account_id][partition()]


def _tagged(tags: Mapping[str, str]) -> KeyValues:
    return {f"aws:principaltag/{name.lower()}": [value] for name, value in tags.items()}
