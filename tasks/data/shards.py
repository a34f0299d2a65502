"""Distribute images over tar shards and build the bytes of a shard.

The images of a split are sorted by (class, source digest, name), and image i goes to shard i mod n. So each shard has
an equal part of each class, and 1, 2, 4 or 8 hosts get equal parts. A shard is a ustar file built in memory. The same
images always give the same bytes, because times and owners are fixed. Staged bytes are hashed again when they are
packed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tasks.data.judgement import LabelledImage
from tasks.data.worker_pool import Decoded
from tasks.run.errors import KennelError

MIN_SHARDS = 8
_BLOCK = 512


class StagedImage(NamedTuple):
    """A decoded image with its split, its class and its name in the source."""

    split: str
    class_index: int
    class_name: str
    name: str
    decoded: Decoded

    @property
    def labelled(self) -> LabelledImage:
        """The image in the form that `tasks.data.judgement.judge` reads."""
        return LabelledImage(self.split, self.class_name, self.name, self.decoded.source_sha256)


@dataclass(frozen=True)
class ShardPlan:
    """The images of one shard, each with its index in the split; `key` is relative to the dataset's prefix."""

    split: str
    key: str
    images: tuple[tuple[int, StagedImage], ...]


def plan_shards(images: Sequence[StagedImage], split: str, shard_size_bytes: int) -> list[ShardPlan]:
    """Distribute the images of a split over max(min(8, images), bytes / shard size) shards."""
    ordered = sorted(
        (image for image in images if image.split == split),
        key=lambda image: (image.class_index, image.decoded.source_sha256, image.name),
    )
    size_bytes = sum(image.decoded.size_bytes for image in ordered)
    count = max(min(MIN_SHARDS, len(ordered)), -(-size_bytes // shard_size_bytes))
    numbered = list(enumerate(ordered))
    return [
        ShardPlan(split, f"{split}/shard-{number:05d}.tar", tuple(numbered[number::count])) for number in range(count)
    ]


def member_name(image_index: int, image: StagedImage) -> str:
    """Return an image's name in its shard, which contains no part of the name in the source."""
    return f"{image.class_index:05d}/{image_index:08d}.jpg"


def pack_shard(plan: ShardPlan) -> bytes:
    """Return the bytes of a shard (about 32 MiB).

    Raises:
        KennelError: the bytes of a staged image have changed since it was decoded.
    """
    parts = bytearray()
    with SpoolReader() as spools:
        for index, image in plan.images:
            data = spools.read(image.decoded)
            if hashlib.sha256(data).hexdigest() != image.decoded.staged_sha256:
                what = f"the staged bytes of {image.name} have changed since it was decoded"
                why = "the spool file on this disk was changed or damaged"
                raise KennelError("shards", what, why, "run the same command again")
            parts += _tar_header(member_name(index, image), len(data))
            parts += data
            parts += bytes(-len(data) % _BLOCK)
    parts += bytes(2 * _BLOCK)
    return bytes(parts)


def image_rows(plans: Sequence[ShardPlan]) -> Iterator[bytes]:
    """Yield the lines of images.jsonl, one for each image in the order of the shards; JSON escapes keep odd names."""
    for plan in plans:
        for index, image in plan.images:
            row = {
                "split": plan.split,
                "class": image.class_name,
                "name": image.name,
                "source_sha256": image.decoded.source_sha256,
                "sha256": image.decoded.staged_sha256,
                "width": image.decoded.width,
                "height": image.decoded.height,
                "shard": plan.key,
                "member": member_name(index, image),
            }
            yield json.dumps(row).encode() + b"\n"


class SpoolReader:
    """Reads staged images from spool files, each of which is opened once."""

    def __init__(self) -> None:
        self._open: dict[Path, int] = {}

    def __enter__(self) -> SpoolReader:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)

    def read(self, image: Decoded) -> bytes:
        """Return the staged bytes of an image."""
        if image.spool not in self._open:
            self._open[image.spool] = os.open(image.spool, os.O_RDONLY)
        return os.pread(self._open[image.spool], image.size_bytes, image.offset)


def _tar_header(name: str, size_bytes: int) -> bytes:
    """Return the POSIX ustar header (IEEE 1003.1-1988) of a regular file with mode 0644, owner 0 and time 0."""
    owner = b"0000644\x000000000\x000000000\x00"
    head = name.encode().ljust(100, b"\0") + owner + b"%011o\x0000000000000\x00" % size_bytes
    tail = b"0" + bytes(100) + b"ustar\x0000" + bytes(32 + 32) + b"0000000\x000000000\x00" + bytes(155 + 12)
    checksum = sum(head) + sum(tail) + 8 * ord(" ")
    return head + b"%06o\0 " % checksum + tail
