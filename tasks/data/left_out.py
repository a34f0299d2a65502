"""Write the list of all files that are left out of a dataset, with the reasons, as a CSV that a person can open."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tasks.run.errors import DataRefused
from tasks.run.escaping import csv_text
from tasks.run.record_store import write_atomically
from tasks.run.records import Quarantined
from tasks.run.settings import Settings

FILE = "left_out.csv"
"""The name of the list in the folder of a run."""


def write_left_out(path: Path, left_out: Sequence[Quarantined]) -> None:
    """Write the list; an older one is replaced, and removed when nothing is left out.

    Raises:
        DiskFailed: it cannot be written.
    """
    if not left_out:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(("file", "reason"))
    rows.writerows((csv_text(item.name), csv_text(item.reason)) for item in left_out)
    write_atomically(path, text.getvalue().encode("utf-8-sig"))


@contextmanager
def refused_listed(left_out: Sequence[Quarantined], name: str, settings: Settings) -> Iterator[None]:
    """When the data is refused inside the block, write the list below `.kennel/refused/` and name it in the error.

    Raises:
        DataRefused: the block raised it.
    """
    try:
        yield
    except DataRefused as error:
        if not left_out:
            raise
        path = settings.home / "refused" / f"{hashlib.sha256(name.encode()).hexdigest()[:12]}.csv"
        write_left_out(path, left_out)
        why = f"{error.why}; all files that are left out are listed in {path}"
        raise DataRefused(error.where, error.what, why, error.next_command) from error
