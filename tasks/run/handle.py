"""The handle of a run: its id, its folder, its records, its lock and its ledger, from one object.

`RunFolder` asks AWS for nothing: commands read finished runs with it. `Run` also knows the AWS that the run works on,
and so has the run's ledger.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from pathlib import Path

from tasks.run.aws import Aws
from tasks.run.errors import SettingsRefused
from tasks.run.ledger import Ledger, run_lock
from tasks.run.records import Kept, Record, forget_record, load_record, record_path, save_record
from tasks.run.settings import Settings


class RunFolder:
    """The folder of a run and the records in it; constructing it does no I/O."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def id(self) -> str:
        """The run id, which is the folder's name."""
        return self.folder.name

    def path(self, kind: type[Record], /, **fields: object) -> Path:
        """Return the file of a kind of record; `fields` are those that the file's name has."""
        return record_path(self.folder, kind, **fields)

    def find(self, kind: type[Kept], /, **fields: object) -> Kept | None:
        """Return the run's record of a kind, or None when no stage has made it.

        Raises:
            LedgerRefused: the file cannot be read as that record.
        """
        return load_record(self.folder, kind, **fields)

    def need(self, kind: type[Kept]) -> Kept:
        """Return the run's record of a kind.

        Raises:
            SettingsRefused: the run has none; the message names the command that makes it.
            LedgerRefused: the file cannot be read as that record.
        """
        record = self.find(kind)
        if record is None:
            why = f"there is no {self.path(kind)}, which the flow {kind.made_by} writes"
            flow = f"prefect deployment run '{kind.made_by}/{kind.made_by}' -p run_id={self.id}"
            raise SettingsRefused(f"run {self.id}", f"it has no {kind.called}", why, f"kennel run, or {flow}")
        return record

    def keep(self, record: Record) -> Path:
        """Write a record to its file, whole or not at all, and return the path."""
        return save_record(self.folder, record)

    def forget(self, *kinds: type[Record]) -> None:
        """Remove the run's records of some kinds; one that is not there is passed over."""
        for kind in kinds:
            forget_record(self.folder, kind)

    def lock(self) -> AbstractContextManager[None]:
        """Hold the run for this process inside the block; may be entered again by the process that has it.

        Raises:
            RunBusy: another process holds it; its pid is named.
        """
        return run_lock(self.folder)


class Run(RunFolder):
    """A run on an AWS; constructing it does no I/O. It may be used from several threads."""

    def __init__(self, aws: Aws, run_id: str) -> None:
        super().__init__(aws.settings.run_dir(run_id))
        self.aws = aws
        self._opening = threading.Lock()
        self._ledger: Ledger | None = None

    @classmethod
    def load(cls, run_id: str) -> Run:
        """Return the run of an id, on the AWS and in the folder that the environment's settings name.

        Raises:
            SettingsRefused: a setting is out of bounds, or it is not clear which AWS is meant.
        """
        return cls(Aws(Settings.load()), run_id)

    @property
    def settings(self) -> Settings:
        """The settings that the run works with."""
        return self.aws.settings

    @property
    def ledger(self) -> Ledger:
        """The run's ledger for the account and endpoint in use, opened once (one STS call, if none was made yet).

        Raises:
            LedgerRefused: it is another account's or endpoint's and still has live rows, or it is damaged.
            AwsFailed: the account could not be asked for.
        """
        with self._opening:
            if self._ledger is None:
                aws = self.aws
                self._ledger = Ledger(self.folder, account_id=aws.account_id, endpoint=aws.endpoint, region=aws.region)
            return self._ledger
