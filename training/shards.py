"""Read a staged dataset: check its manifest.json, assign its tar shards to ranks, and read shards.

A shard is `{split}/shard-00000.tar` with members `{class_index:05d}/{image_index:08d}.jpg`. A shard is assigned to a
rank that has its file. The same rule therefore works with ShardedByS3Key (each host has its own shards), with
FullyReplicated channels (every host has all shards) and with several ranks on a host.
"""

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from training.failures import TrainingFailure
from training.graphs import checksum_of

MANIFEST_FORMAT = 1
_MEMBER = re.compile(r"(?:\./)?(\d{5,})/(\d{8,})\.jpe?g")


@dataclass(frozen=True)
class Shard:
    """One tar file, as the manifest describes it."""

    name: str
    sha256: str
    size_bytes: int
    images: int


@dataclass(frozen=True)
class Manifest:
    """A staged dataset: classes in index order, image counts by split and class, shards by split."""

    digest: str
    name: str
    classes: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    splits: dict[str, tuple[Shard, ...]]

    def images(self, split: str) -> int:
        """Return the number of images of a split."""
        return sum(shard.images for shard in self.splits.get(split, ()))


@dataclass(frozen=True)
class Sample:
    """One encoded picture; `index` is unique within its split and defines the order of the split."""

    index: int
    label: int
    data: bytes


# --- manifest ---------------------------------------------------------------------------------------------------------


def read_manifest(folder: Path) -> Manifest:
    """Read manifest.json and check that a classifier can be trained on the dataset.

    Raises:
        TrainingFailure: the file is missing or malformed; there are fewer than two classes, a class without training
            images, or no validation images.
    """
    path = folder / "manifest.json"
    try:
        manifest = _parse_manifest(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TrainingFailure(f"{path} is not a readable manifest of format {MANIFEST_FORMAT}: {error!r}") from error
    _check_manifest(manifest)
    return manifest


def _parse_manifest(fields: dict[str, Any]) -> Manifest:
    if "checksum" in fields and fields["checksum"] != checksum_of(fields):
        raise ValueError("it is damaged: its checksum is that of another content")
    if fields["format"] != MANIFEST_FORMAT:
        raise ValueError(f"its format is {fields['format']!r}")
    splits = {
        split: tuple(
            Shard(PurePosixPath(row["key"]).name, row["sha256"], int(row["size_bytes"]), int(row["images"]))
            for row in rows
        )
        for split, rows in fields["splits"].items()
    }
    counts = {split: dict(count) for split, count in fields["counts"].items()}
    return Manifest(fields["digest"], fields.get("name", ""), tuple(fields["classes"]), counts, splits)


def _check_manifest(manifest: Manifest) -> None:
    if len(manifest.classes) < 2:
        raise TrainingFailure(f"the dataset has {len(manifest.classes)} class(es), but a classifier needs at least two")
    train = manifest.counts.get("train", {})
    empty = [name for name in manifest.classes if train.get(name, 0) == 0]
    if empty:
        raise TrainingFailure(f"{len(empty)} class(es) have no training image: {', '.join(empty[:5])}")
    if manifest.images("validation") == 0:
        raise TrainingFailure("the dataset has no validation images, which early stopping needs")


# --- assignment ------------------------------------------------------------------------------------------------------


def assign_shards(shards: Sequence[Shard], present: Sequence[frozenset[str]]) -> list[list[Shard]]:
    """Assign each shard to the rank that has its file and the fewest images so far.

    `present[r]` are the shard files that rank r has. Every rank computes the same result.

    Raises:
        TrainingFailure: no rank has a shard's file.
    """
    assigned: list[list[Shard]] = [[] for _ in present]
    loads = [0] * len(present)
    for shard in shards:
        owners = [rank for rank, names in enumerate(present) if shard.name in names]
        if not owners:
            raise TrainingFailure(f"the manifest lists {shard.name}, but no host has it in its channel")
        rank = min(owners, key=lambda owner: loads[owner])
        assigned[rank].append(shard)
        loads[rank] += shard.images
    return assigned


def shard_files_in(folder: Path | None) -> frozenset[str]:
    """Return the file names of the shards in a channel folder; a missing folder has none."""
    return frozenset(path.name for path in folder.rglob("*.tar")) if folder and folder.is_dir() else frozenset()


# --- reading ----------------------------------------------------------------------------------------------------------


def read_shard(folder: Path, shard: Shard, *, classes: int) -> list[Sample]:
    """Check a shard's sha256 and return its samples, sorted by image index; a shard is held in memory (tens of MiB).

    Raises:
        TrainingFailure: the digest or the number of images differs from the manifest, the file is not a tar archive, or
            a member's name is not that of a staged image.
    """
    path = next(iter(sorted(folder.rglob(shard.name))), folder / shard.name)
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != shard.sha256:
        raise TrainingFailure(
            f"{shard.name} is corrupt: its sha256 is {digest[:12]}…, but the manifest lists {shard.sha256[:12]}…"
        )
    samples = _read_members(data, shard, classes)
    if len(samples) != shard.images:
        raise TrainingFailure(f"{shard.name} holds {len(samples)} images, but the manifest lists {shard.images}")
    return sorted(samples, key=lambda sample: sample.index)


def _read_members(data: bytes, shard: Shard, classes: int) -> list[Sample]:
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            return [_sample(archive, member, shard, classes) for member in archive if member.isfile()]
    except tarfile.TarError as error:
        raise TrainingFailure(f"{shard.name} is not a readable tar file: {error}") from error


def _sample(archive: tarfile.TarFile, member: tarfile.TarInfo, shard: Shard, classes: int) -> Sample:
    match = _MEMBER.fullmatch(member.name)
    file = archive.extractfile(member)
    if match is None or file is None or int(match[1]) >= classes:
        raise TrainingFailure(f"{shard.name}: {member.name!r} is not a staged image of {classes} classes")
    return Sample(index=int(match[2]), label=int(match[1]), data=file.read())
