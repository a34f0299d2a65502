"""Findings that somebody accepts, until a date, with a reason: a TOML file with a table `[[accepted]]` for each.

[[accepted]]
finding = "trust-foreign"
arn = "arn:aws:iam::123456789012:role/backup-vendor"
reason = "the contract with the vendor, ticket 4711"
until = 2027-03-31
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from tasks.audit.findings import KINDS, Finding
from tasks.run.errors import SettingsRefused
from tasks.run.sealed import read_regular
from tasks.run.text_form import TextForm


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"it has to be one of {', '.join(KINDS)}")
    return kind


class Accepted(BaseModel):
    """An accepted finding; it is silenced up to the end of the day `until`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    finding: Annotated[str, AfterValidator(_known)]
    arn: Annotated[str, TextForm("arn:.*", "an ARN, which begins with arn:")]
    reason: str = Field(min_length=1)
    until: date


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    accepted: tuple[Accepted, ...] = ()


def read_baseline(path: Path) -> tuple[Accepted, ...]:
    """Read a baseline file.

    Raises:
        SettingsRefused: it cannot be read, is not TOML, or a field is missing, unknown or not allowed.
    """
    try:
        return _File.model_validate(tomllib.loads(read_regular(path).decode())).accepted
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        what, why = f"{path}: {where}={first['input']!r:.80}", first["msg"]
    except (OSError, ValueError) as error:
        what, why = str(path), str(error)
    remedy = f"correct {path}: each [[accepted]] has finding, arn, reason and until = <year>-<month>-<day>"
    raise SettingsRefused("baseline", what, why, remedy)


def silence(
    findings: Iterable[Finding], accepted: Sequence[Accepted], today: date
) -> tuple[tuple[Finding, ...], tuple[str, ...], int]:
    """Return the findings that are left, a note for each entry that silences nothing, and how many were silenced."""
    found = tuple(findings)
    present, notes = {(each.id, each.arn) for each in found}, []
    for entry in accepted:
        what = f"the baseline's {entry.finding} of {entry.arn}"
        if (entry.finding, entry.arn) not in present:
            notes.append(f"{what} matches no finding: remove it")
        elif entry.until < today:
            notes.append(f"{what} ended on {entry.until}: {entry.reason}")
    silenced = {(entry.finding, entry.arn) for entry in accepted if entry.until >= today}
    left = tuple(each for each in found if (each.id, each.arn) not in silenced)
    return left, tuple(notes), len(found) - len(left)
