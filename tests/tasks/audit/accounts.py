"""Small records of accounts for the checks, at a fixed moment."""

from datetime import UTC, datetime, timedelta
from typing import Any

from tasks.audit.account import Account, Identity, Policy
from tasks.audit.checks import check
from tasks.audit.findings import Finding
from tests.tasks.audit.planted import OWN, Raw, document

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)


def days_ago(days: int) -> datetime:
    return NOW - timedelta(days=days)


def arn(kind: str, name: str) -> str:
    return f"arn:aws:iam::{OWN}:{kind}/{name}"


def identity(kind: Any, name: str, *statements: Raw, age: int = 1, **more: Any) -> Identity:
    """Return an identity with one inline policy, "inline", if there are statements."""
    policies = (Policy("inline", None, document(*statements)),) if statements else ()
    return Identity(
        **{"policies": policies, "created": days_ago(age), **more}, kind=kind, name=name, arn=arn(kind, name)
    )


def role(name: str, *statements: Raw, trusts: tuple[Raw, ...] = (), **more: Any) -> Identity:
    return identity("role", name, *statements, trust=document(*trusts), **more)


def account(*identities: Identity, **more: Any) -> Account:
    return Account(**{"regions": ("us-east-1",), **more}, account_id=OWN, seen_at=NOW, identities=identities)


def found(*identities: Identity, **more: Any) -> list[Finding]:
    return list(check(account(*identities, **more), unused_days=90))


def kinds(*identities: Identity, **more: Any) -> list[tuple[str, str]]:
    """Return (name, kind) of each finding."""
    return sorted((each.name, each.id) for each in found(*identities, **more))
