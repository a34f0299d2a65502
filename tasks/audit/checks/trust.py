"""Who may assume a role: anybody, another account, or a service on behalf of anybody (the confused deputy).

A service counts as a confused deputy only if AWS documents that it sends `aws:SourceArn` or `aws:SourceAccount` when it
assumes a role; for others, EC2 and Lambda among them, the condition would lock the service out. Prowler's users had to
report these: https://github.com/prowler-cloud/prowler/issues 2248 (service-linked), 2810 (EC2), 4714 and 7021 (services
without the keys), 5454 (conditions by organization).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from tasks.account.policy_documents import Document, many
from tasks.audit.account import Account, Identity
from tasks.audit.checks.commands import set_trust
from tasks.audit.findings import Finding, finding
from tasks.audit.policy import CALLERS, SOURCES, Statement, statements, trusted

SENDS_ITS_SOURCE = {
    f"{name}.amazonaws.com"
    for name in (
        *("bedrock", "codebuild", "comprehend", "datasync", "fis", "forecast", "iot", "kendra", "personalize"),
        *("pipes", "sagemaker", "scheduler", "states", "transfer", "vpc-flow-logs"),
    )
}
SHARED_ISSUERS = {"token.actions.githubusercontent.com", "gitlab.com", "app.terraform.io"}
"""OpenID Connect issuers that give tokens to all of their customers, who differ in `sub`."""

ASSUME, WITH_PROVIDER = "sts:AssumeRole", "sts:assumerolewith"
_ACCOUNT = re.compile(r"(?:arn:[^:]*:[^:]*:[^:]*:)?(\d{12})(?::.*)?")
_ALL_ACCOUNTS = re.compile(r"\*|arn:[^:]*:[^:]*:[^:]*:\*:.*")
Mend = Callable[[Statement, dict[str, Any]], dict[str, Any]]


def check(account: Account) -> Iterator[Finding]:
    """Yield the findings about the trust policies of the roles."""
    for role in account.roles:
        trust = role.trust or {}
        anyone = {each[2] for each in trusted(trust, CALLERS) if _is_anyone(*each)}
        foreign = {each[2] for each in trusted(trust, CALLERS | {"sts:externalid"}) if _is_foreign(account, *each[1:])}
        deputies = {value for _, kind, value in trusted(trust, SOURCES) if kind == "Service"} & SENDS_ITS_SOURCE
        own = f"arn:{account.partition}:iam::{account.account_id}:root"
        keep_out, limit = _keep_out(own, anyone | foreign), _limit(account.account_id, deputies)
        yield from _finding("trust-anyone", role, anyone, "without a condition on who that is", keep_out)
        yield from _finding("trust-foreign", role, foreign, "without an external id or another condition", keep_out)
        yield from _finding("confused-deputy", role, deputies, "without aws:SourceArn or aws:SourceAccount", limit)


def _is_anyone(statement: Statement, kind: str, value: str) -> bool:
    issuer = value.partition("oidc-provider/")[2]
    is_open = issuer in SHARED_ISSUERS and not statement.is_limited_to({f"{issuer}:sub"})
    return is_open if kind == "Federated" else kind == "AWS" and _ALL_ACCOUNTS.fullmatch(value) is not None


def _is_foreign(account: Account, kind: str, value: str) -> bool:
    found = _ACCOUNT.fullmatch(value)
    return kind == "AWS" and found is not None and found[1] != account.account_id


def _finding(kind: str, role: Identity, values: set[str], lacks: str, mend: Mend) -> Iterator[Finding]:
    if values and role.trust:
        shown = f"role {role.name} trusts {', '.join(sorted(values))} {lacks}"
        yield finding(kind, role.arn, role.name, shown, set_trust(role, _mended(role.trust, mend)))


def _mended(trust: Document, mend: Mend) -> Document:
    parts = zip(statements(trust), many(trust["Statement"]), strict=True)
    return {**trust, "Statement": [mend(each, dict(raw)) if each.allows else raw for each, raw in parts]}


def _keep_out(own: str, strangers: set[str]) -> Mend:
    """Return what replaces the strangers by `own`, the account itself, whose own policies then decide."""

    def mend(read: Statement, raw: dict[str, Any]) -> dict[str, Any]:
        if not strangers & {value for _, value in read.principals}:
            return raw
        kept = [value for kind, value in read.principals if kind == "AWS" and value not in strangers]
        services = [value for kind, value in read.principals if kind == "Service"]
        is_federated = any(kind == "Federated" for kind, _ in read.principals)
        principal = {"AWS": [*kept, own], **({"Service": services} if services else {})}
        dropped = {"NotPrincipal"} | ({"Condition"} if is_federated else set())
        left = {name: value for name, value in raw.items() if name not in dropped}
        return {**left, **({"Action": _without_provider(raw)} if is_federated else {}), "Principal": principal}

    return mend


def _without_provider(raw: dict[str, Any]) -> str | list[str]:
    """Return a statement's actions where no provider vouches any more: AssumeRole for `AssumeRoleWith...`."""
    actions = [str(each) for each in many(raw.get("Action", ASSUME))]
    kept = list(dict.fromkeys(ASSUME if each.lower().startswith(WITH_PROVIDER) else each for each in actions))
    return kept if len(kept) > 1 else kept[0]


def _limit(account_id: str, deputies: set[str]) -> Mend:
    """Return what lets the services act for resources of this account only."""

    def mend(read: Statement, raw: dict[str, Any]) -> dict[str, Any]:
        if not deputies & {value for _, value in read.principals} or read.is_limited_to(SOURCES):
            return raw
        conditions = raw.get("Condition") or {}
        equal = {**conditions.get("StringEquals", {}), "aws:SourceAccount": account_id}
        return {**raw, "Condition": {**conditions, "StringEquals": equal}}

    return mend
