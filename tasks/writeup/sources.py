"""Cites values of a run's records: the one way in which a figure gets into the writeup.

A key is a path in a JSON file: `metrics.test_loss`, or `plan.choices[name=min_instances].value`, whose brackets choose
the entry of a list. A number needs the unit that its key's last word says (`_seconds`, `_usd`, `_ms`, …), or that the
record has beside it as `unit`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.account.permission_use import PermissionUse
from tasks.audit.report import AuditReport
from tasks.evidence.record import Evidence
from tasks.notebook.records import NotebookRef
from tasks.report.model_changes import MODEL_CHANGES
from tasks.report.parity import Parity
from tasks.report.summary import StageTimes
from tasks.run.errors import LedgerRefused, StageFailed
from tasks.run.escaping import one_line
from tasks.run.handle import RunFolder
from tasks.run.record_store import Record, parse_record
from tasks.run.records import DatasetRef, EndpointRef, InstanceModel, TrainedModel
from tasks.run.sealed import read_regular, sha256_of, unseal
from tasks.serving.smoke import SmokeResult
from tasks.verdicts.check import ScalingVerdicts

UNITS = {
    "usd": "USD",
    "seconds": "s",
    "ms": "ms",
    "mb": "MB",
    "rps": "requests/s",
    "images": "photos",
    "right": "photos",
    "photos": "photos",
    "requests": "requests",
    "answered": "requests",
    "failures": "requests",
    "accuracy": "",
    "score": "",
    "count": "",
    "interruptions": "",
    "difference": "",
    "error": "",
    "labels": "classes",
}
"""The unit of a number, by the last word of its key."""

_KINDS: tuple[type[Record], ...] = (
    *(DatasetRef, TrainedModel, InstanceModel, EndpointRef, SmokeResult, NotebookRef, Evidence),
    *(AuditReport, Parity, PermissionUse, ScalingVerdicts, StageTimes),
    *MODEL_CHANGES,
)
KINDS: Mapping[str, type[Record]] = {kind.file: kind for kind in _KINDS}
"""The records that are cited."""

_EVIDENCE = "kennel evidence"
_STEP = re.compile(r"([A-Za-z0-9_-]+)(?:\[([a-z_]+)=([^\]]*)\])?")


@dataclass(frozen=True)
class Citation:
    """A value as it stands in the writeup, and where it is from; `sha256` is that of the file."""

    run_id: str
    file: str
    key: str
    shown: str
    sha256: str


class Sources:
    """The records of one run, each read once and checked by its own checksum; `cited` has what was cited so far."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.cited: list[Citation] = []
        self._files: dict[str, tuple[dict[str, Any], str] | None] = {}

    def has(self, file: str, key: str = "") -> bool:
        """Return whether a run has a file, and in it a value other than null."""
        if self._read(file) is None:
            return False
        try:
            return not key or self._find(file, key) is not None
        except KeyError:
            return False

    def value(self, file: str, key: str) -> Any:
        """Return a value on which a sentence depends; it is cited where it is shown.

        Raises:
            StageFailed: there is no such file or key.
        """
        try:
            return self._find(file, key)
        except KeyError as error:
            raise refused(self.run.id, file, key, str(error.args[0])) from error

    def number(self, file: str, key: str, form: str, unit: str) -> Citation:
        """Cite a number with its unit, "" for one that has none.

        Raises:
            StageFailed: there is no such number, or its unit is another one.
        """
        found = self.value(file, key)
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise refused(self.run.id, file, key, f"it is {type(found).__name__}, and a number was asked for")
        known = self._unit_of(file, key)
        if known != unit:
            raise refused(self.run.id, file, key, f"its unit is {known or 'none'}, and {unit or 'none'} was asked for")
        return self._cite(file, key, f"{found:{form}} {unit}".strip())

    def share(self, file: str, key: str) -> Citation:
        """Cite a share from 0 to 1 as percent.

        Raises:
            StageFailed: it is none.
        """
        found = self.value(file, key)
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= 1:
            raise refused(self.run.id, file, key, f"{found!r} is no share")
        return self._cite(file, key, f"{100 * found:.2f} %")

    def text(self, file: str, key: str) -> Citation:
        """Cite a text as it stands in the record.

        Raises:
            StageFailed: there is none.
        """
        found = self.value(file, key)
        if not isinstance(found, str):
            raise refused(self.run.id, file, key, f"it is {type(found).__name__}, and a text was asked for")
        return self._cite(file, key, one_line(found))

    def count(self, file: str, key: str, **wanted: object) -> Citation:
        """Cite how many entries a list has, of those whose fields have the wanted values.

        Raises:
            StageFailed: there is no such list.
        """
        found = self.value(file, key)
        if not isinstance(found, list):
            raise refused(self.run.id, file, key, f"it is {type(found).__name__}, and a list was asked for")
        chosen = [each for each in found if all(each[name] == value for name, value in wanted.items())]
        where = "".join(f"[{name}={value}]" for name, value in wanted.items())
        return self._cite(file, f"number of {key}{where}", f"{len(chosen):,}")

    def file(self, file: str, key: str) -> Citation:
        """Cite another file of the run, which a record names by `file` and `sha256` below a key.

        Raises:
            StageFailed: there is no such file, or it is not the one that the record names.
        """
        name, wanted = (str(self.value(file, f"{key}.{field}")) for field in ("file", "sha256"))
        path = self.run.folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts or path.is_symlink() or not path.is_file():
            raise refused(self.run.id, name, "", f"{file} names it, and it is not there", _EVIDENCE)
        found = sha256_of(path)
        if found != wanted:
            why = f"it was changed: its sha256 is {found[:12]}…, and {file} has {wanted[:12]}…"
            raise refused(self.run.id, name, "", why, _EVIDENCE)
        made = Citation(self.run.id, name, "the whole file", name, found)
        self.cited.append(made)
        return made

    def computed(self, shown: str, formula: str, *of: tuple[str, str]) -> Citation:
        """Cite what was computed of values by a formula, which is named; `of` are their files and keys.

        Raises:
            StageFailed: one of them does not exist.
        """
        for file, key in of:
            self.value(file, key)
        return self._cite(of[0][0], f"{formula} of {', '.join(key for _, key in of)}", shown)

    def _cite(self, file: str, key: str, shown: str) -> Citation:
        read = self._read(file)
        assert read is not None  # its value was found
        made = Citation(self.run.id, file, key, shown, read[1])
        self.cited.append(made)
        return made

    def _unit_of(self, file: str, key: str) -> str:
        parent, _, last = key.rpartition(".")
        if last in ("value", "observed", "predicted", "low", "high") and self.has(file, f"{parent}.unit"):
            return str(self.value(file, f"{parent}.unit"))
        word = last.rpartition("_")[2]
        if word not in UNITS:
            raise refused(self.run.id, file, key, f"the unit of a key that ends in {word!r} is not known")
        return UNITS[word]

    def _find(self, file: str, key: str) -> Any:
        read = self._read(file)
        if read is None:
            raise KeyError(f"there is no {file}")
        found: Any = read[0]
        for name, field, wanted in _steps(key):
            if not isinstance(found, dict) or name not in found:
                raise KeyError(f"there is no {name!r}")
            found = found[name]
            if field:
                found = next((each for each in found if str(each.get(field)) == wanted), None)
                if found is None:
                    raise KeyError(f"no entry of {name!r} has {field}={wanted}")
        return found

    def _read(self, file: str) -> tuple[dict[str, Any], str] | None:
        if file not in self._files:
            path = self.run.folder / file
            if not path.is_file():
                self._files[file] = None
            else:
                self._files[file] = self._checked(file, path)
        return self._files[file]

    def _checked(self, file: str, path: Path) -> tuple[dict[str, Any], str]:
        """Return a record as it stands in its file, after all types and bounds were checked as its readers do."""
        try:
            content = read_regular(path)
            found = unseal(content)
            parse_record(content, KINDS[file], path)
        except (ValueError, OSError) as error:
            raise refused(self.run.id, file, "", f"it is damaged or was changed: {error}") from error
        except LedgerRefused as error:
            raise refused(self.run.id, file, "", f"it is damaged or was changed: {error.why}") from error
        return found, hashlib.sha256(content).hexdigest()


def _steps(key: str) -> Iterator[tuple[str, str, str]]:
    at = 0
    while at < len(key):
        match = _STEP.match(key, at)
        if match is None:
            raise KeyError(f"{key!r} is no path in a record")
        yield match[1], match[2] or "", match[3] or ""
        at = match.end() + 1


def refused(run_id: str, file: str, key: str, why: str, again: str = "kennel run --run-id") -> StageFailed:
    """Return the error of a value that cannot be cited; `again` makes the record anew."""
    what = f"runs/{run_id}/{file}{f', {key}' if key else ''} cannot be cited"
    return StageFailed("writeup", what, why, f"{again} {run_id}, which makes it anew")
