"""The record of an audit, and how it is shown: rows of a table, Markdown, SARIF."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from tasks.audit.account import Account
from tasks.audit.baseline import Accepted, silence
from tasks.audit.checks import check
from tasks.audit.findings import KINDS, SEVERITIES, Finding
from tasks.run.aws import Aws
from tasks.run.escaping import code_span, markdown_table, markdown_text
from tasks.run.record_store import Record

LEVELS = {"critical": "error", "high": "error", "medium": "warning", "low": "note"}
SCORES = {"critical": "9.5", "high": "8.0", "medium": "5.0", "low": "2.0"}
"""GitHub's `security-severity`: over 9.0 is critical, 7.0 to 8.9 high, 4.0 to 6.9 medium."""
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


@dataclass(frozen=True, kw_only=True)
class AuditReport(Record, file="audit.json", called="audit", made_by="audit"):
    """What an audit found, the most severe first; `notes` name what was not looked at, and idle baseline entries."""

    account_id: str
    regions: tuple[str, ...]
    taken: str
    identities: int
    service_linked: int
    silenced: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One line: how many findings of each severity there are, and what was left out."""
        counts = Counter(each.severity for each in self.findings)
        found = ", ".join(f"{counts[name]} {name}" for name in reversed(SEVERITIES) if counts[name])
        left = (
            f"left out: service-linked roles {self.service_linked}, findings that the baseline accepts {self.silenced}"
        )
        return f"{found or 'no findings'} in {self.identities} roles, users and groups; {left}"


def judge(aws: Aws, account: Account, accepted: Iterable[Accepted], *, unused_days: int) -> AuditReport:
    """Check an account, silence what is accepted, and make the commands those of the AWS in use."""
    found, notes, silenced = silence(check(account, unused_days=unused_days), tuple(accepted), account.seen_at.date())
    return AuditReport(
        account_id=account.account_id,
        regions=account.regions,
        taken=account.seen_at.isoformat(timespec="seconds"),
        identities=len(account.identities),
        service_linked=account.service_linked,
        silenced=silenced,
        findings=tuple(replace(each, commands=_for(aws, each.commands)) for each in found),
        notes=(*account.notes, *notes),
    )


def _for(aws: Aws, commands: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(aws.cli(command.removeprefix("aws ")) for command in commands)


BY_ROOT = "(the root user mends it, in the console)"


def audit_markdown(report: AuditReport) -> str:
    """Return the audit as a section of Markdown."""
    head = ("severity", "finding", "what", "mended by")
    rows = [
        (each.severity, code_span(each.id, in_table=True), _what(each), "<br>".join(_commands(each)))
        for each in report.findings
    ]
    table = [*markdown_table(head, rows), ""] if rows else []
    notes = [f"- {markdown_text(note)}" for note in report.notes]
    about = f"Account {report.account_id}, {report.taken}: {report.summary}."
    return "\n".join(["## Audit", "", markdown_text(about), "", *table, *notes, ""])


def _what(each: Finding) -> str:
    return f"{markdown_text(each.evidence)}. {markdown_text(each.consequence)}"


def _commands(each: Finding) -> list[str]:
    return [code_span(command, in_table=True) for command in each.commands] or [BY_ROOT]


def sarif(report: AuditReport, version: str) -> dict[str, Any]:
    """Return the findings as a SARIF 2.1.0 log; `version` is kennel's. A location is an ARN, as there is no file."""
    rules = [
        {
            "id": name,
            "name": name,
            "shortDescription": {"text": kind.title},
            "fullDescription": {"text": kind.consequence},
            "defaultConfiguration": {"level": LEVELS[kind.severity]},
            "properties": {"security-severity": SCORES[kind.severity], "tags": ["security"]},
        }
        for name, kind in KINDS.items()
    ]
    driver = {"name": "kennel", "version": version, "rules": rules}
    results = [_result(each, [*KINDS].index(each.id)) for each in report.findings]
    notes = [{"level": "note", "message": {"text": note}} for note in report.notes]
    invocation = {"executionSuccessful": True, "toolExecutionNotifications": notes}
    run = {"tool": {"driver": driver}, "invocations": [invocation], "results": results}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(each: Finding, rule: int) -> dict[str, Any]:
    commands = "\n".join(each.commands) or BY_ROOT
    place = {"artifactLocation": {"uri": each.arn.replace(":", "/")}, "region": {"startLine": 1}}
    print_of = hashlib.sha256(f"{each.id} {each.arn} {each.evidence}".encode()).hexdigest()
    return {
        "ruleId": each.id,
        "ruleIndex": rule,
        "level": LEVELS[each.severity],
        "message": {"text": f"{each.evidence}. {each.consequence}\nMended by:\n{commands}"},
        "locations": [{"physicalLocation": place, "logicalLocations": [{"fullyQualifiedName": each.arn}]}],
        "partialFingerprints": {"kennelAudit/v1": print_of},
    }
