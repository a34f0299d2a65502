"""Record every resource that a run creates, before the call that creates it.

The ledger is `runs/<run id>/ledger.jsonl`. Its first line is a header (account, region, and which AWS). Each further
line is one state of one resource: "intended" (fsynced before the create call), then "created", "adopted" (it existed
already) or "uncertain" (the call failed but may have worked), and finally "removed". `tasks.run.ledger_file` seals and
checks the lines. Files have mode 0600 in a folder of mode 0700.

The embedded AWS keeps what it has in memory. When it was started again, all that the former one had is lost, and its
rows are closed.
"""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from botocore.exceptions import BotoCoreError, ClientError

from tasks.run import ledger_file, naming
from tasks.run.ending import refuse_when_ending
from tasks.run.errors import LedgerRefused
from tasks.run.ledger_file import FILE_NAME, FORMAT, HEAD_NAME, Entry, Fault
from tasks.run.logical_aws import LogicalAws, is_lost
from tasks.run.lost_answers import look_again
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


@dataclass
class Creation:
    """The result of a create call: the caller sets `identifier` to the ARN or id of the new resource."""

    kind: str
    name: str
    identifier: str | None = None


class Ledger:
    """The ledger of one run, for one account and one AWS.

    `lost` are the rows that opening it closed as lost; `reopened` those that had been, of the AWS that is in use.

    Raises:
        LedgerRefused: by the constructor, when the file belongs to another account or AWS and still has live rows, or
            when it is damaged.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        account_id: str,
        endpoint: str,
        region: str = "us-east-1",
        home: str = "",
        generation: str = "",
    ) -> None:
        self.path = run_dir / FILE_NAME
        self.header = LedgerHeader(run_dir.name, account_id, endpoint, region, home, generation)
        self.lost: tuple[LedgerRow, ...] = ()
        run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        contents = _whole(run_dir)
        found, live = contents.header, contents.live
        if found is not None and live and not found.is_same(self.header):
            if not is_lost(found.aws, self.header.aws):
                raise _other_target(self.path, found, self.header)
            self.lost = live
            close_lost(run_dir)
        if found != self.header:
            ledger_file.append(self.path, {"header": asdict(self.header)})
        self.reopened = tuple(row for header, row in contents.lost if header.is_same(self.header))
        for row in self.reopened:
            self.record(row.kind, row.name, row.state, identifier=row.identifier, error=row.error)

    @contextmanager
    def create(self, kind: str, name: str, look: Callable[[], str | None] | None) -> Iterator[Creation]:
        """Write the row, run the block, which makes the create call, and add the identifier that the block sets.

        If AWS's answer was lost, the call may have worked, and its repetition was refused ("already exists"). So when
        the block raises AWS's error, `look` looks for the resource, checks that it is the run's, and returns its
        identifier, or None when it does not exist; if it exists, the creation succeeded. `look` is None for a block
        that looks by itself or that may be repeated. If the block raises and nothing is found, the row becomes
        "uncertain".

        Raises:
            OwnershipRefused: `look` finds a resource of that name that does not belong to the run.
            StageFailed: this process was interrupted and only cleans up.
        """
        refuse_when_ending(kind, name)
        self.record(kind, name, "intended")
        crash_point(f"{kind}:before")
        creation = Creation(kind, name)
        try:
            refuse_when_ending(kind, name)  # again: an interruption since the first look has not seen this row
            try:
                yield creation
            except (ClientError, BotoCoreError) as error:
                if look is None:
                    raise
                creation.identifier = look_again(error, f"{kind} {name}", look)
        except BaseException as error:
            self.record(
                kind, name, "uncertain", identifier=creation.identifier, error=f"{type(error).__name__}: {error}"
            )
            raise
        crash_point(f"{kind}:after")
        self.record(kind, name, "created", identifier=creation.identifier)

    def adopt(self, kind: str, name: str, identifier: str | None = None) -> None:
        """Record that a resource of this run exists already; write nothing if the ledger has it as existing.

        A row that was only "intended" or "uncertain" becomes "created", because the call had worked.

        Raises:
            LedgerRefused: as `read_ledger`.
        """
        states = {row.state for row in self.rows() if (row.kind, row.name) == (kind, name)}
        if states & {"created", "adopted"}:
            return
        self.record(kind, name, "created" if states & {"intended", "uncertain"} else "adopted", identifier=identifier)

    def mark_removed(self, kind: str, name: str) -> None:
        """Record that a resource no longer exists."""
        self.record(kind, name, "removed")

    def record(
        self, kind: str, name: str, state: State, *, identifier: str | None = None, error: str | None = None
    ) -> None:
        """Append one state and fsync it."""
        self._append(_content(LedgerRow(kind, name, state, datetime.now(UTC).isoformat(), identifier, error)))

    def rows(self) -> list[LedgerRow]:
        """Return the latest state of every resource, in the order of their first rows.

        Raises:
            LedgerRefused: as `read_ledger`.
        """
        return read_ledger(self.path.parent)[1]

    def live(self) -> list[LedgerRow]:
        """Return the rows of all resources that may exist, which are those that are not marked as removed.

        Raises:
            LedgerRefused: as `read_ledger`.
        """
        return [row for row in self.rows() if row.is_live]

    def _append(self, content: dict[str, Any]) -> None:
        if not self.path.exists():  # it is new, or it was removed while the run goes on
            ledger_file.append(self.path, {"header": asdict(self.header)})
        ledger_file.append(self.path, content)


def read_ledger(run_dir: Path) -> tuple[LedgerHeader | None, list[LedgerRow]]:
    """Return a run's ledger header and latest rows without an AWS call; (None, []) when there is no ledger.

    Raises:
        LedgerRefused: the file is damaged, cannot be read, or another release of kennel wrote it.
    """
    contents = _whole(run_dir)
    return contents.header, list(contents.rows)


def _whole(run_dir: Path) -> LedgerContents:
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
    try:
        scanned = ledger_file.scan(path)
    except FileNotFoundError:
        return LedgerContents(None, ())
    except (OSError, Damaged) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise LedgerRefused("ledger", f"{path} cannot be read", why, f"ls -ld {path}") from error
    for fault in scanned.faults:
        if fault.is_foreign:
            choose = "use that release, or choose another name: kennel run --run-id <name>"
            raise LedgerRefused("ledger", f"{path}:{fault.line} cannot be read", fault.why, choose)
    header: LedgerHeader | None = None
    rows: dict[tuple[str, str], LedgerRow] = {}
    lost: dict[tuple[str, str], tuple[LedgerHeader, LedgerRow]] = {}
    faults = list(scanned.faults)
    for entry in scanned.entries:
        try:
            if "header" in entry.content:
                header = _header(entry)
                continue
            row = _row(entry)
        except (TypeError, ValueError) as error:
            faults.append(Fault(entry.line, str(error)))
            continue
        key = row.kind, row.name
        before = rows.get(key)
        lost.pop(key, None)
        if row.error == LOST and header is not None and before is not None:
            lost[key] = header, before
        rows[key] = _with_identifier(row, before)
    if header is not None and header.run_id not in {run_dir.name, run_dir.resolve().name}:
        raise _of_another_run(path, header.run_id)
    faults.sort(key=lambda fault: fault.line)
    return LedgerContents(header, tuple(rows.values()), tuple(faults), tuple(lost.values()))


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
        return [folder for folder in sorted(runs.iterdir()) if _is_run(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def has_lost_its_ledger(run_dir: Path) -> bool:
    """Tell whether a run has records and no ledger."""
    return not os.path.lexists(run_dir / FILE_NAME)


def _is_run(folder: Path) -> bool:
    is_named = re.match(naming.RUN_ID_PATTERN, folder.name) is not None
    try:
        names = {path.name for path in folder.iterdir()}
    except NotADirectoryError:
        return False
    except OSError:
        return is_named  # it cannot be read, which is said by whoever reads its ledger
    has_records = HEAD_NAME in names or any(f"{name}.json" in names for name in _RECORDS)
    return FILE_NAME in names or (is_named and has_records)


def close_lost(run_dir: Path) -> None:
    """Record that the live resources of a run were lost with the embedded AWS that had them.

    Raises:
        LedgerRefused: the file is damaged or cannot be read.
    """
    now = datetime.now(UTC).isoformat()
    for row in read_ledger(run_dir)[1]:
        if row.is_live:
            closed = LedgerRow(row.kind, row.name, "removed", now, error=LOST)
            ledger_file.append(run_dir / FILE_NAME, _content(closed))


def renew_ledger(run_dir: Path) -> Path:
    """Set a damaged ledger aside, write a new one of its undamaged live rows, and return the path of the old file.

    Without an undamaged header no ledger is written, because it is not known which AWS the rows belong to.

    Raises:
        LedgerRefused: the file cannot be read.
        OSError: the folder cannot be written.
    """
    contents, path = inspect_ledger(run_dir), run_dir / FILE_NAME
    aside = ledger_file.set_aside(path)
    if contents.header is not None:
        ledger_file.append(path, {"header": asdict(replace(contents.header, ledger=FORMAT))})
        for row in contents.live:
            ledger_file.append(path, _content(row))
    return aside


def lost_text(rows: tuple[LedgerRow, ...]) -> str:
    """Return how many resources of each kind some rows name, such as "2 × role, 1 × endpoint"."""
    counts = Counter(row.kind for row in rows)
    return ", ".join(f"{count} × {kind}" for kind, count in counts.items())


def crash_point(name: str) -> None:
    """Kill this process with SIGKILL if KENNEL_CRASH_AT names this point ("<kind>:before" or "<kind>:after").

    Tests use this to show that a run recovers when the process dies without any cleanup, as in a power failure.
    """
    if os.environ.get("KENNEL_CRASH_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)


def _content(row: LedgerRow) -> dict[str, Any]:
    return {key: value for key, value in asdict(row).items() if value is not None}


def _header(entry: Entry) -> LedgerHeader:
    header = LedgerHeader(**entry.content["header"])
    _require_texts({name: value for name, value in vars(header).items() if name != "ledger"})
    return header


def _require_texts(fields: Mapping[str, object]) -> None:
    """Raise ValueError for a field that is no text."""
    for name, value in fields.items():
        if not isinstance(value, str):
            raise ValueError(f"{name} has to be a text, not {value!r:.80}")


def _row(entry: Entry) -> LedgerRow:
    row = LedgerRow(**entry.content)
    _require_texts({name: value for name, value in vars(row).items() if value is not None or name in _NEEDED})
    if datetime.fromisoformat(row.at).tzinfo is None:
        raise ValueError(f"at has to be a time with its zone, not {row.at!r:.80}")
    if row.state not in get_args(State):
        raise ValueError(f"the state {row.state!r} is not known")
    return row


def _with_identifier(row: LedgerRow, known: LedgerRow | None) -> LedgerRow:
    """Return a row with the identifier of the row before it, unless that resource was removed and this is a new one."""
    if row.identifier or known is None or (row.is_live and not known.is_live):
        return row
    return replace(row, identifier=known.identifier)


def damaged(run_dir: Path, fault: Fault) -> LedgerRefused:
    """Return the error that names the first damaged line of a run's ledger."""
    by_tags = f"kennel down {run_dir.name} --yes, or the run's own command: both find its resources by their tags"
    return LedgerRefused("ledger", f"{run_dir / FILE_NAME}:{fault.line} is damaged", fault.why, by_tags)


def _of_another_run(path: Path, run_id: str) -> LedgerOfAnotherRun:
    what = f"{path} is the ledger of run {run_id}"
    why = f"the folder {path.parent.name} was copied or renamed, and what the ledger lists belongs to that run"
    return LedgerOfAnotherRun("ledger", what, why, f"remove {path.parent}, or name it {run_id} again")


def _other_target(path: Path, found: LedgerHeader, wanted: LedgerHeader) -> LedgerRefused:
    what = f"{path} belongs to account {found.account_id} at {found.aws.text} in {found.region}"
    why = f"this command works on account {wanted.account_id} at {wanted.aws.text} in {wanted.region}"
    switch = f"kennel down --yes with the settings of {found.endpoint}, or move {path.parent} away"
    return LedgerRefused("ledger", what, why, switch)
