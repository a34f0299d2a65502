"""The checks: each is a pure function of an account's record that yields findings."""

from __future__ import annotations

from tasks.audit.account import Account
from tasks.audit.checks import credentials, permissions, public, trust, unused
from tasks.audit.findings import SEVERITIES, Finding


def check(account: Account, *, unused_days: int) -> tuple[Finding, ...]:
    """Return all findings, the most severe first, then by kind and ARN."""
    found = [
        *permissions.check(account),
        *trust.check(account),
        *unused.check(account, unused_days),
        *credentials.check(account),
        *public.check(account),
    ]
    return tuple(sorted(found, key=lambda each: (-SEVERITIES.index(each.severity), each.id, each.arn)))
