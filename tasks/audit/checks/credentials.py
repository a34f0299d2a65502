"""Passwords without MFA, and access keys that are old, several, or the root user's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from tasks.audit.account import ROOT, Account, Credentials
from tasks.audit.findings import Finding, finding
from tasks.run.command_line import aws_command

KEY_DAYS = 90


def check(account: Account) -> Iterator[Finding]:
    """Yield the findings of each row of the credential report."""
    for row in account.credentials:
        yield from _password(row)
        yield from _root_keys(row) if row.user == ROOT else _keys(account, row)


def _password(row: Credentials) -> Iterator[Finding]:
    if row.has_password and not row.has_mfa:
        commands = [] if row.user == ROOT else [aws_command("iam delete-login-profile", user_name=row.user)]
        yield finding(
            "no-mfa", row.arn, row.user, f"user {row.user} signs in with a password and has no MFA", *commands
        )


def _root_keys(row: Credentials) -> Iterator[Finding]:
    if row.keys:
        yield finding("root-access-key", row.arn, row.user, f"the root user has {len(row.keys)} active access keys")


def _keys(account: Account, row: Credentials) -> Iterator[Finding]:
    old = {key: made for key, made in row.keys.items() if made < account.seen_at - timedelta(days=KEY_DAYS)}
    if old:
        shown = ", ".join(f"{key} of {made:%Y-%m-%d}" for key, made in old.items())
        evidence = f"user {row.user} has {shown}, older than {KEY_DAYS} days"
        yield finding("access-key-old", row.arn, row.user, evidence, *(_deactivate(row, key) for key in old))
    if len(row.keys) > 1:
        newest = max(row.keys, key=lambda key: row.keys[key])
        commands = (_deactivate(row, key) for key in row.keys if key != newest)
        evidence = f"user {row.user} has {len(row.keys)} active access keys"
        yield finding("access-key-several", row.arn, row.user, evidence, *commands)


def _deactivate(row: Credentials, key: str) -> str:
    return aws_command("iam update-access-key", user_name=row.user, access_key_id=key, status="Inactive")
