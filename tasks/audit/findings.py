"""The kinds of findings with their severity and consequence, and the record of one finding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Severity = Literal["low", "medium", "high", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True)
class Kind:
    """A kind of finding; `consequence` says in one sentence what may happen because of it."""

    severity: Severity
    title: str
    consequence: str


KINDS = {
    "full-access": Kind("critical", "every action on everything", "Whoever gets this identity controls the account."),
    "trust-anyone": Kind("critical", "a role for anybody", "A stranger with any account can take its permissions."),
    "root-access-key": Kind("critical", "a key of the root user", "A leaked root key gives the whole account away."),
    "privilege-escalation": Kind("high", "a way to more permissions", "It can give itself the permissions of others."),
    "trust-foreign": Kind("high", "trust in another account", "The other account decides who gets its permissions."),
    "no-mfa": Kind("high", "a password without MFA", "A guessed or leaked password is enough to sign in."),
    "bucket-public": Kind("high", "a public bucket", "Anybody on the internet can use the bucket."),
    "function-public": Kind("high", "a function for anybody", "Strangers can run it with its role, at your cost."),
    "function-url-public": Kind("high", "a function URL for anybody", "Strangers can call it at your cost, unsigned."),
    "service-full-access": Kind("medium", "every action of a service", "One leak reaches everything in the service."),
    "data-exfiltration": Kind("medium", "everybody's data", "It can copy data that has nothing to do with its work."),
    "confused-deputy": Kind("medium", "a service for any customer", "The service may act here for another customer."),
    "role-unused": Kind("medium", "an unused role", "Nobody would notice if an intruder began to use it."),
    "role-orphaned": Kind("medium", "a role left behind", "Whoever may pass roles can give it to something new."),
    "access-key-old": Kind("medium", "an old access key", "The longer a key is used, the more copies of it exist."),
    "access-key-several": Kind("low", "several access keys", "A second key is one more that can leak unnoticed."),
    "profile-unused": Kind("low", "an unused instance profile", "Whoever launches an instance can take its role."),
    "inline-unused": Kind("low", "unused inline rights", "Rights that nobody needs serve only an intruder."),
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One finding about one resource. `commands` mend it, in this order; each is a whole command of the aws CLI.

    Without a command, only the root user can mend it, in the console.
    """

    id: str
    severity: Severity
    arn: str
    name: str
    evidence: str
    consequence: str
    commands: tuple[str, ...]


def finding(kind: str, arn: str, name: str, evidence: str, *commands: str) -> Finding:
    """Return a finding of a kind with its severity and consequence; the commands are given without `aws`."""
    known, whole = KINDS[kind], tuple(f"aws {command}" for command in commands)
    fields = {"id": kind, "severity": known.severity, "consequence": known.consequence}
    return Finding(**fields, arn=arn, name=name, evidence=evidence, commands=whole)  # type: ignore[arg-type]


def at_least(findings: tuple[Finding, ...], severity: Severity) -> tuple[Finding, ...]:
    """Return the findings of a severity or a higher one."""
    return tuple(each for each in findings if SEVERITIES.index(each.severity) >= SEVERITIES.index(severity))
