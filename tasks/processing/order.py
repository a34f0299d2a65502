"""What the hosts of a staging job are to do, as this machine writes it and each host reads it.

The order has the listing of the source and no photo, the settings that decide how photos are staged, and the splits
that photos have from earlier stagings. It names neither the job nor where it works, so that the same order has the same
bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

from tasks.account.encryption import Encryption
from tasks.account.objects import StoredObject
from tasks.data.bucket_source import Place, RemoteObjects
from tasks.data.download import download_folder
from tasks.data.entries import Entry, Listing
from tasks.data.judgement_cache import LocatedSource
from tasks.run.options import DataOptions
from tasks.run.sealed import parse_json
from tasks.run.settings import Settings

RULES = (
    *("shortest_side_px", "jpeg_quality", "shard_size_bytes", "max_image_pixels", "max_image_bytes"),
    *("max_archive_files", "max_archive_bytes", "max_archive_ratio"),
    *("max_quarantined_fraction", "imbalance_warning_ratio"),
)
"""The settings that decide what becomes of a photo and of a source; a host takes its other ones from where it runs."""


@dataclass(frozen=True)
class Order:
    """The order of one staging job; `shares` is in how many parts the photos are dealt to the hosts."""

    account_id: str
    region: str
    bucket: str
    label: str
    name: str
    url: str | None
    options: str
    place: Place
    objects: tuple[StoredObject, ...]
    entries: tuple[Entry, ...]
    folders: tuple[str, ...]
    rules: Mapping[str, Any]
    known: Mapping[str, str]
    encryption: Encryption
    shares: int

    @classmethod
    def of(cls, source: LocatedSource, settings: Settings, known: Mapping[str, str], **where: Any) -> Order:
        """Return the order to stage a source of a bucket; `where`: the other fields.

        Raises:
            ValueError: the source was not listed in a bucket.
        """
        if source.objects is None:
            raise ValueError("only what is in a bucket can be staged by a job")
        return cls(
            label=source.label,
            name=source.name,
            url=source.url,
            options=source.options.model_dump_json(),
            place=source.objects.place,
            objects=source.objects.objects,
            entries=source.objects.listing.entries,
            folders=source.objects.listing.folders,
            rules={name: getattr(settings, name) for name in RULES},
            known=dict(known),
            **where,
        )

    def to_bytes(self) -> bytes:
        """Return the order as compressed JSON; the same order always gives the same bytes.

        The splits that are known are pairs, because their order is their age.
        """
        content = {
            **asdict(self),
            "objects": [astuple(each) for each in self.objects],
            "entries": self.entries,
            "known": [list(each) for each in self.known.items()],
        }
        return gzip.compress(json.dumps(content, sort_keys=True).encode(), mtime=0)

    @classmethod
    def from_bytes(cls, data: bytes) -> Order:
        """Return the order that `to_bytes` wrote."""
        content = parse_json(gzip.decompress(data))
        return cls(
            **{
                **content,
                "place": Place(**content["place"]),
                "objects": tuple(StoredObject(*each) for each in content["objects"]),
                "entries": tuple(Entry(*each) for each in content["entries"]),
                "folders": tuple(content["folders"]),
                "known": dict(content["known"]),
                "encryption": Encryption(**content["encryption"]),
            }
        )

    @property
    def digest(self) -> str:
        """The hex sha256 of the order without the splits that are known, which other stagings add to."""
        return hashlib.sha256(replace(self, known={}).to_bytes()).hexdigest()

    @property
    def data_options(self) -> DataOptions:
        """How photos are distributed, and what becomes of copies."""
        return DataOptions.model_validate_json(self.options)

    def remote(self, settings: Settings) -> RemoteObjects:
        """Return the objects of the source as they were listed; their bytes will be below the settings' home."""
        root = download_folder(self.place.uri, settings) / "objects"
        return RemoteObjects(
            self.place, self.objects, Listing(self.place.uri, "folder", self.entries, self.folders, root)
        )

    def located(self, settings: Settings) -> LocatedSource:
        """Return the source; an archive's path is where it will be."""
        remote = self.remote(settings)
        path = Path(settings.home) / "source" if self.place.is_archive else remote.listing.root
        objects = None if self.place.is_archive else remote
        return LocatedSource(self.label, self.name, path, self.url, objects, self.data_options)
