"""What the doctor found: rows with a status, what was seen, and one line of cure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

Status = Literal["ok", "warn", "fail", "skipped"]
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True)
class Finding:
    """One row. `fail`: a run would end there; `warn`: it would not; `skipped`: it could not be looked at.

    `cure` is a command or a thing to do; it is "" where there is nothing to do.
    """

    check: str
    status: Status
    seen: str
    cure: str = ""


def ok(check: str, seen: str) -> Finding:
    """Return a row about what is as a run needs it."""
    return Finding(check, "ok", seen)


def warn(check: str, seen: str, cure: str) -> Finding:
    """Return a row about what does not end a run."""
    return Finding(check, "warn", seen, cure)


def fail(check: str, seen: str, cure: str) -> Finding:
    """Return a row about what would end a run."""
    return Finding(check, "fail", seen, cure)


def skipped(check: str, why: str, cure: str) -> Finding:
    """Return a row about what could not be looked at, which is never a good sign and never a bad one."""
    return Finding(check, "skipped", f"not looked at: {why}", cure)


def with_status(findings: Iterable[Finding], *statuses: Status) -> list[Finding]:
    """Return the rows of these statuses, in their order."""
    return [each for each in findings if each.status in statuses]


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """Return how many rows there are of each status."""
    found = Counter(each.status for each in findings)
    return {status: found[status] for status in STATUSES}
