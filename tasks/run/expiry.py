"""The time until which what a run makes may live: a record of the run, and a tag on everything that it makes.

Nothing ends by itself at that time: `kennel down --expired` removes the runs that are past it. The bucket is shared by
all runs and has no such tag.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field

from tasks.run.record_store import Amount, Record, load_record, save_record

LAST_SECOND = 253_402_300_799
"""Of the year 9999, after which Python knows no time."""
EXPIRES_TAG = "kennel-expires"
"""The tag with the time, UTC in ISO 8601."""


@dataclass(frozen=True)
class Expiry(Record, file="expires.json", called="time to live", made_by="pipeline"):
    """When a run is past its time to live, in Unix seconds."""

    unix_seconds: Annotated[Amount, Field(le=LAST_SECOND)]

    @property
    def at(self) -> datetime:
        """The time, in UTC."""
        return datetime.fromtimestamp(self.unix_seconds, UTC)

    @property
    def text(self) -> str:
        """The time as in the tag."""
        return self.at.isoformat(timespec="seconds")


def set_expiry(folder: Path, ttl_hours: float, now: datetime | None = None) -> Expiry:
    """Record that a run may live for `ttl_hours` from now on, in place of an earlier time; return the record."""
    at = (now or datetime.now(UTC)) + timedelta(hours=ttl_hours)
    expiry = Expiry(float(int(at.timestamp())))
    save_record(folder, expiry)
    return expiry


def expiry_of(folder: Path) -> datetime | None:
    """Return when a run is past its time to live, None without one.

    Raises:
        LedgerRefused: the run's record cannot be read.
    """
    found = load_record(folder, Expiry)
    return None if found is None else found.at


def expiry_tags(folder: Path) -> dict[str, str]:
    """Return the tag of a run that has a time to live, else none.

    Raises:
        LedgerRefused: the run's record cannot be read.
    """
    found = load_record(folder, Expiry)
    return {} if found is None else {EXPIRES_TAG: found.text}


def time_of(text: str) -> datetime | None:
    """Return the time that a tag names, None for a text that names none or lacks the offset."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if found.tzinfo is None else found
