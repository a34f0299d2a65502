"""Keep which photo is in which of the splits that were made for a source, so that it stays there when photos are added.

There is one file for each source, by its name, and each choice of shares and seed, below `.kennel/splits/`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from tasks.data.judgement_cache import LocatedSource
from tasks.run.errors import LedgerRefused
from tasks.run.record_store import write_atomically
from tasks.run.sealed import Damaged, read_regular, seal, unseal
from tasks.run.settings import Settings
from tasks.run.source_name import source_identity


class SplitRecord:
    """The splits that were made for a source, with its options for them."""

    def __init__(self, source: LocatedSource, settings: Settings) -> None:
        name = source_identity(source.label) if source.url else str(source.path.resolve())
        chosen = [name, source.options.split, source.options.split_seed]
        key = hashlib.sha256(json.dumps(chosen).encode()).hexdigest()
        self._source, self.path = source, Path(settings.home) / "splits" / f"{key}.json"

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
            what, cure = f"{self.path} does not hold the splits of a source", f"remove or move {self.path}"
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
            write_atomically(
                self.path, seal({"source": self._source.label, "photos": [list(each) for each in ordered]})
            )
