"""The record of a run's evidence: pictures of the console's pages, and answers of AWS's describing calls."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tasks.run.disk import source_boundary
from tasks.run.handle import Run
from tasks.run.record_store import Count, Record
from tasks.run.records import EndpointRef
from tasks.run.sealed import sha256_of

FOLDER = Path("evidence")
_JUDGED = ("loadtest.json", "scaling.json")


@dataclass(frozen=True)
class Screen:
    """A page of the console as it was. `file` is its path in the run's folder, `page` its address below the token.

    A page that is kept as HTML has no size in pixels. `is_cut`: the page is longer than its picture. `taken`: UTC, ISO
    8601.
    """

    name: str
    caption: str
    page: str
    file: str
    sha256: str
    size_bytes: Count
    width_px: Count
    height_px: Count
    is_cut: bool
    taken: str

    @property
    def is_picture(self) -> bool:
        """Whether it is a PNG; else it is a page that a browser shows."""
        return self.width_px > 0


@dataclass(frozen=True)
class Described:
    """What AWS answered about a resource that the ledger names: the operation, and what of its answer is shown."""

    kind: str
    name: str
    call: str
    facts: Mapping[str, str]


@dataclass(frozen=True)
class Evidence(Record, file="evidence.json", called="evidence", made_by="pipeline"):
    """What a run looked like at one moment. `about` is the digest of what it had made and measured until then.

    `notes` say what there is not, and why.
    """

    about: str
    taken: str
    screens: tuple[Screen, ...]
    described: tuple[Described, ...]
    notes: tuple[str, ...] = field(default=())


def digest_of(run: Run) -> str:
    """Return a digest that changes when the run makes, removes or measures something.

    Raises:
        LedgerRefused: the ledger is damaged.
        AwsFailed: it is opened for the first time, and STS refused.
        DiskFailed: a record may not be read.
    """
    endpoint = run.find(EndpointRef)
    made = [f"{row.kind} {row.name} {row.is_live}" for row in run.ledger.rows()]
    deployed = [] if endpoint is None else [endpoint.created, endpoint.config_name]
    paths = [run.folder / name for name in _JUDGED]
    measured = [_sha256(path) for path in paths if path.is_file()]
    return hashlib.sha256("\n".join([*made, *deployed, *measured]).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with source_boundary("evidence", path):
        return sha256_of(path)
