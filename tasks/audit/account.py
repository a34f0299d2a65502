"""The record of an account at one moment, which `collect` fills and the checks judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from tasks.account.policy_documents import Document

ROOT = "<root_account>"
"""How the credential report calls the root user."""

MANY_REGIONS = 4
"""So many regions are counted and not named."""


@dataclass(frozen=True)
class Policy:
    """A policy as somebody has it; `arn` is None for an inline one."""

    name: str
    arn: str | None
    document: Document = field(hash=False)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A role, user or group with its policies; `trust`, `last_used` and `profiles` are those of a role.

    `last_used` is None where IAM recorded no use in the last 400 days.
    """

    kind: Literal["role", "user", "group"]
    name: str
    arn: str
    created: datetime
    policies: tuple[Policy, ...] = ()
    boundary: Document | None = field(default=None, hash=False)
    groups: tuple[str, ...] = ()
    trust: Document | None = field(default=None, hash=False)
    last_used: datetime | None = None
    last_used_region: str | None = None
    profiles: tuple[str, ...] = ()

    def is_idle(self, now: datetime, days: int) -> bool:
        """Tell whether it is older than `days` and was not used for as long."""
        return max(self.created, self.last_used or self.created) < now - timedelta(days=days)


@dataclass(frozen=True)
class Use:
    """Something that uses a role or an instance profile, by its ARN: ("lambda", "function f", "arn:…")."""

    service: str
    what: str
    arn: str


@dataclass(frozen=True)
class Profile:
    """An instance profile with the names of its roles (AWS allows one)."""

    name: str
    arn: str
    roles: tuple[str, ...]


@dataclass(frozen=True)
class FunctionPolicy:
    """The resource policy of a function, or of one of its aliases (`qualifier`)."""

    name: str
    arn: str
    qualifier: str | None
    document: Document
    region: str


@dataclass(frozen=True)
class Bucket:
    """A bucket's policy and the URIs of its ACL's grantees, each without what a public access block makes void."""

    name: str
    document: Document
    grantees: tuple[str, ...]


@dataclass(frozen=True)
class Credentials:
    """A row of the credential report; `keys` maps the ids of active keys to the days on which they were made."""

    user: str
    arn: str
    has_password: bool
    has_mfa: bool
    keys: Mapping[str, datetime]


@dataclass(frozen=True, kw_only=True)
class Account:
    """What was seen of an account; of services that have regions, in these `regions`.

    `notes` has a line for everything that could not be looked at. `unseen` are the services whose users of roles are
    not all known. `last_accessed` maps an ARN to the services that its policies name and the last use of each, or None
    if there was none in the tracking period.
    """

    account_id: str
    regions: tuple[str, ...]
    seen_at: datetime
    partition: str = "aws"
    identities: tuple[Identity, ...] = ()
    service_linked: int = 0
    profiles: tuple[Profile, ...] = ()
    uses: tuple[Use, ...] = ()
    unseen: frozenset[str] = frozenset()
    functions: tuple[FunctionPolicy, ...] = ()
    buckets: tuple[Bucket, ...] = ()
    credentials: tuple[Credentials, ...] = ()
    last_accessed: Mapping[str, Mapping[str, datetime | None]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def roles(self) -> tuple[Identity, ...]:
        """The roles that are not service-linked."""
        return tuple(each for each in self.identities if each.kind == "role")

    @property
    def where(self) -> str:
        """The regions in words."""
        return ", ".join(self.regions) if len(self.regions) < MANY_REGIONS else f"{len(self.regions)} regions"

    def used(self, service: str) -> set[str]:
        """Return the ARNs of the roles or instance profiles that something of a service uses."""
        return {use.arn for use in self.uses if use.service == service}
