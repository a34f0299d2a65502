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
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tasks.run import ledger_file
from tasks.run.ending import refuse_when_ending
from tasks.run.errors import LedgerRefused
from tasks.run.ledger_contents import (
    LOST,
    LedgerHeader,
    LedgerRow,
    State,
    inspect_ledger,
    read_ledger,
    whole_contents,
)
from tasks.run.ledger_file import FILE_NAME, FORMAT
from tasks.run.logical_aws import is_lost
from tasks.run.lost_answers import look_again
from tasks.run.source_name import source_name


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
        contents = whole_contents(run_dir)
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


def _other_target(path: Path, found: LedgerHeader, wanted: LedgerHeader) -> LedgerRefused:
    what = f"{path} belongs to account {found.account_id} at {found.aws.text} in {found.region}"
    why = f"this command works on account {wanted.account_id} at {wanted.aws.text} in {wanted.region}"
    switch = f"kennel down --yes with the settings of {source_name(found.endpoint)}, or move {path.parent} away"
    return LedgerRefused("ledger", what, why, switch)
