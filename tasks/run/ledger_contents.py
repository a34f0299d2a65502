"""Read what a run's ledger holds, as far as it is as it was written, and which folders are runs; writes nothing.

Lines are sealed and checked by `tasks.run.ledger_file`; here they are typed, and put together by resource.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from tasks.run import ledger_file, naming
from tasks.run.command_line import path_argument
from tasks.run.errors import LedgerRefused
from tasks.run.ledger_file import FILE_NAME, FORMAT, HEAD_NAME, Entry, Fault, Scan
from tasks.run.ledger_rows import UnknownKind, check_header, check_row
from tasks.run.logical_aws import LogicalAws
from tasks.run.sealed import Damaged

State = Literal["intended", "created", "adopted", "uncertain", "removed"]
_NEEDED = ("kind", "name", "state", "at")
_RECORDS = ("stage_data", "train_sagemaker", "train_ec2", "endpoint", "function", "notebook", "pipeline")
LOST = "lost with the embedded AWS, which was started again"
"""The reason in the row of a resource that was in the memory of an embedded AWS that ended."""


class LedgerOfAnotherRun(LedgerRefused):
    """The ledger in a run's folder is that of another run: the folder was copied or renamed."""


@dataclass(frozen=True)
class LedgerHeader:
    """The account, region and AWS that the resources of a ledger belong to.

    `endpoint` is "aws" or the last known URL of an AWS on loopback. `home` and `generation` name the embedded AWS; they
    are "" for another AWS, and in ledgers of release 0.1.0.
    """

    run_id: str
    account_id: str
    endpoint: str
    region: str
    home: str = ""
    generation: str = ""
    ledger: int = FORMAT

    @property
    def aws(self) -> LogicalAws:
        """The AWS, whose address may change."""
        return LogicalAws(self.endpoint, self.home, self.generation)

    def is_same(self, other: LedgerHeader) -> bool:
        """Tell whether the other header names the same resources: of the same account, region and AWS."""
        place = (self.account_id, self.region) == (other.account_id, other.region)
        return place and self.aws.is_same(other.aws)


@dataclass(frozen=True)
class LedgerRow:
    """The latest state of one resource; `at` is the time of that state (UTC, ISO 8601), `identifier` an ARN or id."""

    kind: str
    name: str
    state: State
    at: str
    identifier: str | None = None
    error: str | None = None

    @property
    def is_live(self) -> bool:
        """Whether the resource may exist: it is not marked as removed."""
        return self.state != "removed"

    @property
    def age_seconds(self) -> float:
        """The number of seconds since the row was written."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.at)).total_seconds()


@dataclass(frozen=True)
class LedgerContents:
    """What a ledger's file holds: the last header, the latest state of every resource, and the damaged lines.

    `lost` are the rows that are closed as lost, as they were before, each with the header that names its AWS.
    """

    header: LedgerHeader | None
    rows: tuple[LedgerRow, ...]
    faults: tuple[Fault, ...] = ()
    lost: tuple[tuple[LedgerHeader, LedgerRow], ...] = ()

    @property
    def live(self) -> tuple[LedgerRow, ...]:
        """The rows of all resources that may exist."""
        return tuple(row for row in self.rows if row.is_live)


def read_ledger(run_dir: Path) -> tuple[LedgerHeader | None, list[LedgerRow]]:
    """Return a run's ledger header and latest rows without an AWS call; (None, []) when there is no ledger.

    Raises:
        LedgerRefused: the file is damaged, cannot be read, or another release of kennel wrote it.
    """
    contents = whole_contents(run_dir)
    return contents.header, list(contents.rows)


def whole_contents(run_dir: Path) -> LedgerContents:
    """Return what a run's ledger holds.

    Raises:
        LedgerRefused: as `read_ledger`.
    """
    contents = inspect_ledger(run_dir)
    if contents.faults:
        raise damaged(run_dir, contents.faults[0])
    return contents


def inspect_ledger(run_dir: Path) -> LedgerContents:
    """Return what a run's ledger holds, as far as it is as it was written, and its damage; without an AWS call.

    Raises:
        LedgerRefused: the file cannot be read, or another release of kennel wrote it.
        LedgerOfAnotherRun: its header names another run.
    """
    path = run_dir / FILE_NAME
    scanned = _scanned(path)
    contents = _contents(scanned) if scanned is not None else LedgerContents(None, ())
    _refuse_foreign(path, contents.faults)
    if contents.header is not None and contents.header.run_id not in {run_dir.name, run_dir.resolve().name}:
        raise _of_another_run(path, contents.header.run_id)
    return contents


def live_rows(run_dir: Path) -> list[LedgerRow]:
    """Return the rows of all resources of a run that may exist, also those of a damaged ledger; without an AWS call.

    Raises:
        LedgerRefused: the file cannot be read.
    """
    return list(inspect_ledger(run_dir).live)


def unread_ledgers(runs: Path, run_id: str | None) -> list[str]:
    """Return what is wrong with each ledger of one run, or of all, that does not even say which AWS it is for.

    What it listed is not known, so that a teardown may have left some of it.
    """
    found = []
    for run_dir in run_folders(runs):
        if run_id not in {None, run_dir.name}:
            continue
        try:
            contents = inspect_ledger(run_dir)
            if contents.faults and contents.header is None:
                raise damaged(run_dir, contents.faults[0])
        except LedgerOfAnotherRun:
            continue
        except LedgerRefused as error:
            found.append(f"{error.what}: {error.why}")
    return found


def run_folders(runs: Path) -> list[Path]:
    """Return the folders of runs, by name: those with a ledger, or with records whose ledger was lost."""
    try:
        return [folder for folder in sorted(runs.iterdir()) if not folder.name.startswith(".") and _is_run(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def has_lost_its_ledger(run_dir: Path) -> bool:
    """Tell whether a run has records and no ledger."""
    return not os.path.lexists(run_dir / FILE_NAME)


def damaged(run_dir: Path, fault: Fault) -> LedgerRefused:
    """Return the error that names the first damaged line of a run's ledger."""
    by_tags = f"kennel down {run_dir.name} --yes, or the run's own command: both find its resources by their tags"
    return LedgerRefused("ledger", f"{run_dir / FILE_NAME}:{fault.line} is damaged", fault.why, by_tags)


def _scanned(path: Path) -> Scan | None:
    """Return the lines of a ledger's file, None if there is no file."""
    try:
        scanned = ledger_file.scan(path)
    except FileNotFoundError as error:
        if not path.is_symlink():
            return None
        why = f"it is a link to {path.readlink()}, where nothing is; a ledger is a file of its own"
        raise LedgerRefused("ledger", f"{path} cannot be read", why, f"ls -ld {path_argument(path)}") from error
    except (OSError, Damaged) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise LedgerRefused("ledger", f"{path} cannot be read", why, f"ls -ld {path_argument(path)}") from error
    return scanned


def _refuse_foreign(path: Path, faults: Iterable[Fault]) -> None:
    """Refuse a ledger that another release of kennel wrote: this one does not know what it lists.

    Raises:
        LedgerRefused: it has such a line.
    """
    for fault in faults:
        if fault.is_foreign:
            choose = "use that release, or choose another name: kennel run --run-id <name>"
            raise LedgerRefused("ledger", f"{path}:{fault.line} cannot be read", fault.why, choose)


def _contents(scanned: Scan) -> LedgerContents:
    header: LedgerHeader | None = None
    rows: dict[tuple[str, str], LedgerRow] = {}
    lost: dict[tuple[str, str], tuple[LedgerHeader, LedgerRow]] = {}
    faults = list(scanned.faults)
    for entry in scanned.entries:
        try:
            if "header" in entry.content:
                header = _header(entry)
                continue
            row = _row(entry, header)
        except ValueError as error:
            faults.append(Fault(entry.line, str(error), is_foreign=isinstance(error, UnknownKind)))
            continue
        key = row.kind, row.name
        before = rows.get(key)
        lost.pop(key, None)
        if row.error == LOST and header is not None and before is not None:
            lost[key] = header, before
        rows[key] = _with_identifier(row, before)
    faults.sort(key=lambda fault: fault.line)
    return LedgerContents(header, tuple(rows.values()), tuple(faults), tuple(lost.values()))


def _is_run(folder: Path) -> bool:
    is_named = naming.RUN_ID.fits(folder.name)
    try:
        names = {path.name for path in folder.iterdir()}
    except NotADirectoryError:
        return False
    except OSError:
        return is_named  # it cannot be read, which is said by whoever reads its ledger
    has_records = HEAD_NAME in names or any(f"{name}.json" in names for name in _RECORDS)
    return FILE_NAME in names or (is_named and has_records)


def _header(entry: Entry) -> LedgerHeader:
    content = entry.content["header"]
    _require_fields(content, LedgerHeader)
    header = LedgerHeader(**content)
    _require_texts({name: value for name, value in vars(header).items() if name != "ledger"})
    check_header(header.account_id, header.region, header.endpoint)
    return header


def _require_fields(content: Mapping[str, object], kind: type) -> None:
    """Raise ValueError for a field too many or too few; its name may be anything, and is not repeated."""
    known = {each.name: each.default is MISSING for each in fields(kind)}
    missing = [name for name, is_needed in known.items() if is_needed and name not in content]
    if missing or not content.keys() <= known.keys():
        raise ValueError(f"{', '.join(missing)} is missing" if missing else "it has a field that no such line has")


def _require_texts(values: Mapping[str, object]) -> None:
    """Raise ValueError for a field that is no text."""
    for name, value in values.items():
        if not isinstance(value, str):
            raise ValueError(f"{name} has to be a text, not {type(value).__name__}")


def _row(entry: Entry, header: LedgerHeader | None) -> LedgerRow:
    _require_fields(entry.content, LedgerRow)
    row = LedgerRow(**entry.content)
    _require_texts({name: value for name, value in vars(row).items() if value is not None or name in _NEEDED})
    if not _is_time(row.at):
        raise ValueError("at has to be a time with its zone")
    if row.state not in get_args(State):
        raise ValueError("its state is none of a row's")
    place = (None, None) if header is None else (header.account_id, header.region)
    check_row(row.kind, row.name, row.identifier, *place)
    return row


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _with_identifier(row: LedgerRow, known: LedgerRow | None) -> LedgerRow:
    """Return a row with the identifier of the row before it, unless that resource was removed and this is a new one."""
    if row.identifier or known is None or (row.is_live and not known.is_live):
        return row
    return replace(row, identifier=known.identifier)


def _of_another_run(path: Path, run_id: str) -> LedgerOfAnotherRun:
    what = f"{path} is the ledger of run {run_id}"
    why = f"the folder {path.parent.name} was copied or renamed, and what the ledger lists belongs to that run"
    return LedgerOfAnotherRun("ledger", what, why, f"remove {path.parent}, or name it {run_id} again")
