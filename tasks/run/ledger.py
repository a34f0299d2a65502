"""Record every resource that a run creates, before the call that creates it.

The ledger is `runs/<run id>/ledger.jsonl`. Its first line is a header (account, endpoint, region). Each further line is
one state of one resource: "intended" (fsynced before the create call), then "created", "adopted" (it existed already)
or "uncertain" (the call failed but may have worked), and finally "removed". An incomplete last line, left by a crash,
is ignored, because its call had not begun. Files have mode 0600 in a folder of mode 0700. `run_lock` keeps a second
process from working on the same run.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from tasks.run.ending import refuse_when_ending
from tasks.run.errors import LedgerRefused, RunBusy
from tasks.run.private_files import private_files

State = Literal["intended", "created", "adopted", "uncertain", "removed"]
FILE_NAME = "ledger.jsonl"
FORMAT = 1


@dataclass(frozen=True)
class LedgerHeader:
    """The account, endpoint and region that the resources of a ledger belong to."""

    run_id: str
    account_id: str
    endpoint: str
    region: str
    ledger: int = FORMAT


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
    def age_seconds(self) -> float:
        """The number of seconds since the row was written."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.at)).total_seconds()


@dataclass
class Creation:
    """The result of a create call: the caller sets `identifier` to the ARN or id of the new resource."""

    kind: str
    name: str
    identifier: str | None = None


class Ledger:
    """The ledger of one run, for one account and endpoint.

    Raises:
        LedgerRefused: by the constructor, when the file belongs to another account or endpoint and still has live
            rows, when it is damaged in the middle, or when its format is not known.
    """

    def __init__(self, run_dir: Path, *, account_id: str, endpoint: str, region: str = "us-east-1") -> None:
        self.path = run_dir / FILE_NAME
        self.header = LedgerHeader(run_dir.name, account_id, endpoint, region)
        self._lock = threading.Lock()
        run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        found, rows = read_ledger(run_dir)
        live = [row for row in rows if row.state != "removed"]
        if found is None or (found != self.header and not live):
            self._append({"header": asdict(self.header)})
        elif found != self.header:
            raise _other_target(self.path, found, self.header)

    @contextmanager
    def create(self, kind: str, name: str) -> Iterator[Creation]:
        """Write the row, run the block, which makes the create call, and add the identifier that the block sets.

        If the block raises, the row becomes "uncertain", because the resource may exist anyway.

        Raises:
            StageFailed: this process was interrupted and only cleans up.
        """
        refuse_when_ending(kind, name)
        self.record(kind, name, "intended")
        crash_point(f"{kind}:before")
        creation = Creation(kind, name)
        try:
            yield creation
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
        row = LedgerRow(kind, name, state, datetime.now(UTC).isoformat(), identifier, error)
        self._append({key: value for key, value in asdict(row).items() if value is not None})

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
        return live_rows(self.path.parent)

    def _append(self, entry: dict[str, object]) -> None:
        line = json.dumps(entry, ensure_ascii=False).encode() + b"\n"
        with self._lock:
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                _cut_incomplete_line(descriptor)
                os.write(descriptor, line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def read_ledger(run_dir: Path) -> tuple[LedgerHeader | None, list[LedgerRow]]:
    """Return a run's ledger header and latest rows without an AWS call; (None, []) when there is no ledger.

    Raises:
        LedgerRefused: a line other than an incomplete last one cannot be read, or the format is not known.
    """
    path = run_dir / FILE_NAME
    if not path.exists():
        return None, []
    header: LedgerHeader | None = None
    rows: dict[tuple[str, str], LedgerRow] = {}
    for number, entry in _entries(path):
        if "header" in entry:
            header, rows = _header(path, entry["header"]), {}
            continue
        row = _row(path, number, entry)
        known = rows.get((row.kind, row.name))
        rows[row.kind, row.name] = row if row.identifier or known is None else _keep_identifier(row, known)
    return header, list(rows.values())


def live_rows(run_dir: Path) -> list[LedgerRow]:
    """Return the rows of all resources of a run that may exist, without an AWS call.

    Raises:
        LedgerRefused: as `read_ledger`.
    """
    return [row for row in read_ledger(run_dir)[1] if row.state != "removed"]


def crash_point(name: str) -> None:
    """Kill this process with SIGKILL if KENNEL_CRASH_AT names this point ("<kind>:before" or "<kind>:after").

    Tests use this to show that a run recovers when the process dies without any cleanup, as in a power failure.
    """
    if os.environ.get("KENNEL_CRASH_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class _HeldLocks:
    """The run locks of this process: the descriptor of each lock file, and how often it was entered."""

    descriptors: dict[Path, tuple[int, int]] = field(default_factory=dict)
    guard: threading.Lock = field(default_factory=threading.Lock)


_HELD = _HeldLocks()


@contextmanager
def run_lock(run_dir: Path) -> Iterator[None]:
    """Lock a run for this process inside the block; the process that holds the lock may enter it again.

    What the process creates meanwhile is private, also when a worker or a notebook runs the flow.

    Raises:
        RunBusy: another process holds the lock; the message names its pid.
    """
    run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = (run_dir / "lock").resolve()
    with _HELD.guard:
        descriptor, depth = _HELD.descriptors.get(path) or (_lock_file(path, run_dir.name), 0)
        _HELD.descriptors[path] = (descriptor, depth + 1)
    try:
        with private_files():
            yield
    finally:
        with _HELD.guard:
            descriptor, depth = _HELD.descriptors.pop(path)
            if depth > 1:
                _HELD.descriptors[path] = (descriptor, depth - 1)
            else:
                os.close(descriptor)


def _lock_file(path: Path, run_id: str) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode().strip() or "unknown"
        os.close(descriptor)
        why = "two processes on one run would create resources twice"
        wait = f"kennel status {run_id}, or wait for process {holder} to end"
        raise RunBusy(f"run {run_id}", f"process {holder} is working on it", why, wait) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _cut_incomplete_line(descriptor: int) -> None:
    """Remove an incomplete last line, so that the next row starts on a line of its own."""
    size = os.fstat(descriptor).st_size
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return
    content = os.pread(descriptor, size, 0)
    os.ftruncate(descriptor, content.rfind(b"\n") + 1)


def _entries(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):  # the part after the last newline is incomplete or empty
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise _damaged(path, number, str(error)) from error
        if not isinstance(entry, dict):
            raise _damaged(path, number, "the line is not a JSON object")
        yield number, entry


def _header(path: Path, entry: object) -> LedgerHeader:
    if not isinstance(entry, dict) or entry.get("ledger") != FORMAT:
        raise _damaged(path, 1, f"its format is not {FORMAT}; another release of kennel wrote it")
    return LedgerHeader(**entry)


def _row(path: Path, number: int, entry: dict[str, object]) -> LedgerRow:
    if entry.get("state") not in get_args(State):
        raise _damaged(path, number, f"the state {entry.get('state')!r} is not known")
    try:
        return LedgerRow(**entry)  # type: ignore[arg-type]
    except TypeError as error:
        raise _damaged(path, number, str(error)) from error


def _keep_identifier(row: LedgerRow, known: LedgerRow) -> LedgerRow:
    return LedgerRow(row.kind, row.name, row.state, row.at, known.identifier, row.error)


def _damaged(path: Path, number: int, why: str) -> LedgerRefused:
    by_tags = "move the file away, then kennel down --yes, which finds the resources by their tags"
    return LedgerRefused("ledger", f"{path}:{number} cannot be read", why, by_tags)


def _other_target(path: Path, found: LedgerHeader, wanted: LedgerHeader) -> LedgerRefused:
    what = f"{path} belongs to account {found.account_id} at {found.endpoint} in {found.region}"
    why = f"this command works on account {wanted.account_id} at {wanted.endpoint} in {wanted.region}"
    switch = f"kennel down --yes with the settings of {found.endpoint}, or move {path.parent} away"
    return LedgerRefused("ledger", what, why, switch)
