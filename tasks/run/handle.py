"""Give access to a run through one object: its id, folder, records, lock and ledger.

`RunFolder` makes no AWS call, so commands use it to read finished runs. `Run` adds the AWS clients that the run works
with, and the run's ledger.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tasks.run.aws import Aws
from tasks.run.errors import LedgerRefused, SettingsRefused
from tasks.run.ledger import Ledger, lost_text
from tasks.run.ledger_contents import LedgerRow
from tasks.run.progress_file import kept_progress
from tasks.run.record_store import (
    AnyRecord,
    Record,
    damaged_records,
    forget_record,
    load_record,
    record_path,
    save_record,
)
from tasks.run.run_lock import run_lock
from tasks.run.settings import Settings
from tasks.run.waiting import say


class RunFolder:
    """The folder of a run and the records in it; constructing it does no I/O."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def id(self) -> str:
        """The run id, which is the folder's name."""
        return self.folder.name

    def inside(self, path: str) -> Path:
        """Return a file's path in the folder, of a path that a record has: the folder may have been moved since."""
        parts = Path(path).parts
        return Path(*parts[parts.index(self.id) + 1 :]) if self.id in parts else Path(path)

    def path(self, kind: type[Record], /, **fields: object) -> Path:
        """Return the path of the file of a kind of record; `fields` are the fields that the file's name contains."""
        return record_path(self.folder, kind, **fields)

    def find(self, kind: type[AnyRecord], /, **fields: object) -> AnyRecord | None:
        """Return the run's record of a kind, or None when no stage has written it.

        Raises:
            LedgerRefused: the file cannot be read as that record.
        """
        return load_record(self.folder, kind, **fields)

    def need(self, kind: type[AnyRecord]) -> AnyRecord:
        """Return the run's record of a kind, which must exist.

        Raises:
            SettingsRefused: the run has no such record; the message names the command that makes it.
            LedgerRefused: the file cannot be read as that record.
        """
        record = self.find(kind)
        if record is None:
            why = f"there is no {self.path(kind)}, which the flow {kind.made_by} writes"
            raise SettingsRefused(f"run {self.id}", f"it has no {kind.called}", why, self._command_of(kind))
        return record

    def _command_of(self, kind: type[Record]) -> str:
        """Return the command and the flow that make a record."""
        commands = {"loadtest": "kennel loadtest {}", "notebook": "kennel notebook create {}"}
        commands["train_ec2"] = "kennel train-ec2 --run-id {}"
        flow = f"prefect deployment run '{kind.made_by}/{kind.made_by}' -p run_id={self.id}"
        return f"{commands.get(kind.made_by, 'kennel run --run-id {}').format(self.id)}, or {flow}"

    def keep(self, record: Record) -> Path:
        """Write a record to its file atomically and return the path."""
        return save_record(self.folder, record)

    def forget(self, *kinds: type[Record]) -> None:
        """Delete the run's records of some kinds; a record that does not exist is skipped."""
        for kind in kinds:
            forget_record(self.folder, kind)

    def lock(self) -> AbstractContextManager[None]:
        """Lock the run for this process inside the block; the process that holds the lock may enter it again.

        Raises:
            RunBusy: another process holds the lock; the message names its pid.
        """
        return run_lock(self.folder)

    @contextmanager
    def at_work(self, *stages: str) -> Iterator[None]:
        """Lock the run inside the block, in which these stages are done, and keep the progress for `kennel status`.

        Raises:
            RunBusy: another process holds the lock; the message names its pid.
        """
        with self.lock(), kept_progress(self.folder, stages):
            yield


class Run(RunFolder):
    """A run together with its AWS clients and its ledger; constructing it does no I/O, and it is thread-safe."""

    def __init__(self, aws: Aws, run_id: str) -> None:
        super().__init__(aws.settings.run_dir(run_id))
        self.aws = aws
        self._opening = threading.Lock()
        self._ledger: Ledger | None = None

    @classmethod
    def load(cls, run_id: str) -> Run:
        """Return the run with an id; the settings from the environment name its AWS and its folder.

        Raises:
            SettingsRefused: a setting is out of bounds, or the settings do not say which AWS to use.
        """
        return cls(Aws(Settings.load()), run_id)

    @property
    def settings(self) -> Settings:
        """The settings that the run uses."""
        return self.aws.settings

    @property
    def ledger(self) -> Ledger:
        """The run's ledger for the account and AWS in use; the first access opens it, which may call STS.

        Raises:
            LedgerRefused: it belongs to another account or AWS and still has live rows, or it is damaged.
            TargetRefused: the caller's account is not the account that the user named.
            AwsFailed: STS did not answer, or refused the call.
        """
        with self._opening:
            if self._ledger is None:
                self._ledger = self._open_ledger()
            return self._ledger

    def find(self, kind: type[AnyRecord], /, **fields: object) -> AnyRecord | None:
        """Return the run's record of a kind, or None when no stage has written it.

        Raises:
            LedgerRefused: it cannot be read; the error names all records of the run that cannot.
        """
        try:
            return super().find(kind, **fields)
        except LedgerRefused as error:
            raise _with_others(error, damaged_records(self.folder)) from error

    def need(self, kind: type[AnyRecord]) -> AnyRecord:
        """Return the run's record of a kind, which must exist, and so must the resource that it names.

        Raises:
            SettingsRefused: the run has no such record, or the ledger says that its resource was removed or lost.
            LedgerRefused: a file cannot be read.
            TargetRefused, AwsFailed: as `ledger` raises them.
        """
        record = super().need(kind)
        closed = {(row.kind, row.name): row for row in self.ledger.rows() if not row.is_live}
        gone = next((closed[key] for key in record.resources if key in closed), None)
        if gone is not None:
            raise _gone(self.id, kind, gone)
        return record

    def _open_ledger(self) -> Ledger:
        account_id, aws = self.aws.account_id, self.aws.identity
        ledger = Ledger(
            self.folder,
            account_id=account_id,
            endpoint=aws.endpoint,
            region=self.aws.region,
            home=aws.home,
            generation=aws.generation,
        )
        if ledger.lost:
            say(f"run {self.id}: lost with the embedded AWS, which was started again: {lost_text(ledger.lost)}")
        if ledger.reopened:
            say(f"run {self.id}: taken for lost, but of this embedded AWS: {lost_text(ledger.reopened)}; used again")
        return ledger


def _with_others(first: LedgerRefused, damaged: list[LedgerRefused]) -> LedgerRefused:
    """Return the error of one record, to which the others that cannot be read are added."""
    others = [each for each in damaged if each.what != first.what]
    if not others:
        return first
    why = "; ".join([first.why, *(f"and {each.what}: {each.why}" for each in others)])
    paths = " ".join(each.what.partition(" does not hold ")[0] for each in (first, *others))
    return LedgerRefused(first.where, first.what, why, f"remove or move {paths} and run the same command again")


def _gone(run_id: str, kind: type[Record], row: LedgerRow) -> SettingsRefused:
    what = f"its {kind.called} does not exist any more"
    why = f"{row.kind} {row.name} was {row.error or 'removed'}"
    again = "repeat the kennel run, or kennel train-ec2, by which it was made: what is missing is made anew"
    return SettingsRefused(f"run {run_id}", what, why, again)
