"""Remembering which sources were judged good, so that an unchanged one is not read again.

A source is known by the size and times of its file (or of every file of its folder), or else, for a zip, by its sha256.
Both are kept with the rules it was judged by: another limit is another judgement. Kept below `.kennel/judged/`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from tasks.data.archive import list_source
from tasks.data.download import read_download_record, sha256_of
from tasks.run.record_store import write_atomically
from tasks.run.settings import Settings

STAGING_VERSION = 1
"""Raised when the same source would be staged to other bytes, or judged otherwise."""


@dataclass(frozen=True)
class LocatedSource:
    """A source on this machine. `label` is what the user typed; `url` where it was fetched from."""

    label: str
    name: str
    path: Path
    url: str | None = None


def staging_parameters(settings: Settings) -> dict[str, object]:
    """Return the settings that decide the bytes that are staged; they are part of a dataset's digest."""
    return {
        "staging_version": STAGING_VERSION,
        "shortest_side_px": settings.shortest_side_px,
        "jpeg_quality": settings.jpeg_quality,
        "max_image_pixels": settings.max_image_pixels,
        "shard_size_bytes": settings.shard_size_bytes,
    }


class JudgementCache:
    """What is known of one source, in the state that it has when this is made."""

    def __init__(self, source: LocatedSource, settings: Settings) -> None:
        self._source, self._settings = source, settings
        self._state = self._look()

    def find(self) -> str | None:
        """Return the dataset digest that this very source was judged good with before, or None."""
        known = self._read(self._state)
        if known is None and (content := self._content()) is not None:
            known = self._read(content)
            if known is not None:
                self._write(self._state, known)  # a copy of a known zip: next time its times are enough
        return known

    def store(self, digest: str) -> None:
        """Remember that the source was judged good, unless it has changed since this was made."""
        if self._look() != self._state:
            return
        for key in (self._state, self._content()):
            if key is not None:
                self._write(key, digest)

    def _look(self) -> str:
        path = self._source.path
        if not path.is_dir():
            return self._key("file", str(path.resolve()), _times(path))
        listing = list_source(path, self._settings)
        names = [*listing.folders, *(entry.name for entry in listing.entries)]
        return self._key("folder", str(path.resolve()), [[name, *_times(path / name)] for name in names])

    def _content(self) -> str | None:
        path = self._source.path
        if path.is_dir():
            return None
        record = read_download_record(path)
        return self._key("sha256", (record and record.sha256) or sha256_of(path))

    def _key(self, *state: object) -> str:
        rules = {
            **staging_parameters(self._settings),
            "max_quarantined_fraction": self._settings.max_quarantined_fraction,
            "max_image_bytes": self._settings.max_image_bytes,
        }
        return hashlib.sha256(json.dumps([state, rules]).encode()).hexdigest()

    def _path(self, key: str) -> Path:
        return self._settings.home / "judged" / f"{key}.json"

    def _read(self, key: str) -> str | None:
        path = self._path(key)
        return str(json.loads(path.read_bytes())["digest"]) if path.exists() else None

    def _write(self, key: str, digest: str) -> None:
        write_atomically(self._path(key), json.dumps({"digest": digest}).encode())


def _times(path: Path) -> list[int]:
    found = path.lstat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
