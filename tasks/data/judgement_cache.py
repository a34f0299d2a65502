"""Remember the sources that were judged good, and what was found in them, so that an unchanged one is not read again.

A source is recognised by the size and times of its file (or of every file of its folder), or by the listing of its
prefix in a bucket; an archive is also recognised by its sha256. The settings that it was judged with belong to the key,
so another limit means another judgement. Entries are files below `.kennel/judged/`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tasks.data.archive import list_source
from tasks.data.bucket_source import RemoteObjects
from tasks.data.download import read_download_record
from tasks.run.options import DataOptions
from tasks.run.record_store import write_atomically
from tasks.run.records import Quarantined
from tasks.run.sealed import Damaged, read_regular, seal, sha256_of, unseal
from tasks.run.settings import Settings
from tasks.run.waiting import say

STAGING_VERSION = 2
"""The version of the staging code; increase it when the same source gives other bytes or another judgement."""


@dataclass(frozen=True)
class LocatedSource:
    """A source on this machine; `label` is what the user typed, `url` is where it is from; and how to stage it.

    Both are names (`tasks.run.source_name`), without user info and query. `objects` is what was listed below a prefix
    in a bucket, whose objects may not be on this machine yet.
    """

    label: str
    name: str
    path: Path
    url: str | None = None
    objects: RemoteObjects | None = None
    options: DataOptions = DataOptions()


def staging_parameters(settings: Settings) -> dict[str, object]:
    """Return the settings that determine the staged bytes; they are part of a dataset's digest."""
    return {
        "staging_version": STAGING_VERSION,
        "shortest_side_px": settings.shortest_side_px,
        "jpeg_quality": settings.jpeg_quality,
        "max_image_pixels": settings.max_image_pixels,
        "shard_size_bytes": settings.shard_size_bytes,
    }


@dataclass(frozen=True)
class Findings:
    """What the inspection of a source found: the files that are left out, warnings, and the number of other files.

    `unused` are files that look like images, of which the warnings tell; `notes` are what a reader should know.

    They belong to the source and not to the dataset: a source without the broken files gives the same dataset.
    """

    quarantined: tuple[Quarantined, ...] = ()
    warnings: tuple[str, ...] = ()
    ignored: int = 0
    unused: tuple[Quarantined, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def left_out(self) -> tuple[Quarantined, ...]:
        """All files that could be photos of the dataset and are not in it."""
        return (*self.quarantined, *self.unused)


@dataclass(frozen=True)
class Judgement:
    """The digest of the dataset that a good source gives, and the findings."""

    digest: str
    findings: Findings


class JudgementCache:
    """The cached judgement of one source, in the state that the source has when this object is created."""

    def __init__(self, source: LocatedSource, settings: Settings) -> None:
        self._source, self._settings = source, settings
        self._state = self._state_key()

    @property
    def identity(self) -> str:
        """What the source is recognised by: an archive's content, a prefix's listing, or a folder's sizes and times."""
        return self._content_key() or self._state

    def find(self) -> Judgement | None:
        """Return the judgement if the source was judged good before, else None."""
        known = self._read(self._state)
        if known is None and (content := self._content_key()) is not None:
            known = self._read(content)
            if known is not None:
                self._write(self._state, known)  # a copy of a known zip; next time its size and times are enough
        return known

    def store(self, judgement: Judgement) -> None:
        """Store that the source was judged good, unless it has changed since this object was created.

        Raises:
            SourceRefused: the source can no longer be listed.
        """
        if self._state_key() != self._state:
            return
        for key in (self._state, self._content_key()):
            if key is not None:
                self._write(key, judgement)

    def _state_key(self) -> str:
        """Return the key of the source's size and times."""
        path = self._source.path
        if self._source.objects is not None:
            return self._key("objects", self._source.objects.digest)
        if not path.is_dir():
            return self._key("file", str(path.resolve()), _times(path))
        listing = list_source(path, self._settings)
        names = [*listing.folders, *(entry.name for entry in listing.entries)]
        return self._key("folder", str(path.resolve()), [[name, *_times(path / name)] for name in names])

    def _content_key(self) -> str | None:
        """Return the key of an archive's content, or None for a folder or a prefix."""
        path = self._source.path
        if self._source.objects is not None or path.is_dir():
            return None
        record = read_download_record(path) if self._source.url else None
        return self._key("sha256", (record and record.sha256) or sha256_of(path))

    def _key(self, *state: object) -> str:
        rules = {
            **staging_parameters(self._settings),
            "max_quarantined_fraction": self._settings.max_quarantined_fraction,
            "max_image_bytes": self._settings.max_image_bytes,
            "options": self._source.options.model_dump(),
        }
        return hashlib.sha256(json.dumps([state, rules]).encode()).hexdigest()

    def _path(self, key: str) -> Path:
        return self._settings.home / "judged" / f"{key}.json"

    def _read(self, key: str) -> Judgement | None:
        """Return a stored judgement, or None if there is none or another release wrote it, without the findings."""
        path = self._path(key)
        try:
            return _judgement(unseal(read_regular(path))) if path.exists() else None
        except (Damaged, KeyError, TypeError) as error:
            say(f"WARNING: {path} is not used, and the images are judged again: {error}")
            return None

    def _write(self, key: str, judgement: Judgement) -> None:
        content = {"digest": judgement.digest, **asdict(judgement.findings)}
        write_atomically(self._path(key), seal(content))


def _judgement(content: Mapping[str, Any]) -> Judgement | None:
    """Return the judgement of a file, or None when another release wrote it, without the findings."""
    if "unused" not in content:
        return None
    quarantined, unused = (tuple(Quarantined(**item) for item in content[name]) for name in ("quarantined", "unused"))
    told = tuple(content["warnings"]), content["ignored"], unused, tuple(content["notes"])
    return Judgement(content["digest"], Findings(quarantined, *told))


def _times(path: Path) -> list[int]:
    found = path.lstat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
