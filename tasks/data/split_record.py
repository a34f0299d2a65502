"""Keep which photo is in which of the splits that were made, so that it stays there when photos are added.

There is one file for each choice of shares and seed below `.kennel/splits/`, for all sources together: a photo is known
by the digest of its bytes, so it keeps its split when its source is renamed, moved or packed anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tasks.run.errors import LedgerRefused
from tasks.run.options import DataOptions
from tasks.run.record_store import write_atomically
from tasks.run.sealed import Damaged, read_regular, seal, unseal
from tasks.run.settings import Settings


class SplitRecord:
    """The splits that were made with some options."""

    def __init__(self, options: DataOptions, settings: Settings) -> None:
        shares = options.split.replace("/", "-")
        self.path = Path(settings.home) / "splits" / f"{shares}-seed-{options.split_seed}.json"

    def read(self) -> dict[str, str]:
        """Return the splits of the photos by the hex sha256 of their bytes, the oldest first; {} if none were made.

        Raises:
            LedgerRefused: the file is damaged; without it, test photos of before could come into train.
        """
        if not self.path.exists():
            return {}
        try:
            photos = unseal(read_regular(self.path))["photos"]
            return {str(digest): str(split) for digest, split in photos}
        except (Damaged, ValueError, KeyError, TypeError) as error:
            what, cure = f"{self.path} does not hold the splits of photos", f"remove or move {self.path}"
            raise LedgerRefused("splits", what, str(error), f"{cure} to have them made anew") from error

    def add(self, splits: Mapping[str, str]) -> None:
        """Add the splits of new photos; those that are kept stay as they are.

        Raises:
            LedgerRefused: the file is damaged.
            DiskFailed: it cannot be written.
        """
        kept = self.read()
        together = {**splits, **kept}
        if len(together) > len(kept):
            ordered = [*kept.items(), *((digest, split) for digest, split in splits.items() if digest not in kept)]
            write_atomically(self.path, seal({"photos": [list(each) for each in ordered]}))
