"""Reading a staged dataset: manifest.json and tar shards, checked against it, shared out among the ranks.

A shard is `{split}/shard-00000.tar` with members `{class_index:05d}/{image_index:08d}.jpg`. Which rank reads which
shard follows from which files each rank sees, so the same rule serves ShardedByS3Key (each host has its own), several
ranks on a host, and FullyReplicated channels (everyone has all).
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

MANIFEST_FORMAT = 1
_MEMBER = re.compile(r"(?:\./)?(\d{5,})/(\d{8,})\.jpe?g")


@dataclass(frozen=True)
class Shard:
    """One tar file as the manifest promises it."""

    name: str
    sha256: str
    size_bytes: int
    images: int


@dataclass(frozen=True)
class Manifest:
    """The staged dataset: classes in index order, images by split and class, shards by split."""

    digest: str
    name: str
    classes: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    splits: dict[str, tuple[Shard, ...]]

    def images(self, split: str) -> int:
        return sum(shard.images for shard in self.splits.get(split, ()))


@dataclass(frozen=True)
class Sample:
    """One encoded picture; `index` is unique within its split and gives the global order."""

    index: int
    label: int
    data: bytes


# --- manifest ---------------------------------------------------------------------------------------------------------


def read_manifest(folder: Path) -> Manifest:
    """Read and judge manifest.json.

    Raises:
        TrainingFailure: missing or malformed, fewer than two classes, an empty class, no validation images.
    """
    path = folder / "manifest.json"
    try:
        manifest = _parse_manifest(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingFailure(f"{path}: not a readable manifest of format {MANIFEST_FORMAT}: {error!r}") from error
    _judge(manifest)
    return manifest


def _parse_manifest(fields: dict[str, Any]) -> Manifest:
    if fields["format"] != MANIFEST_FORMAT:
        raise ValueError(f"format {fields['format']!r}")
    splits = {
        split: tuple(
            Shard(PurePosixPath(row["key"]).name, row["sha256"], int(row["size_bytes"]), int(row["images"]))
            for row in rows
        )
        for split, rows in fields["splits"].items()
    }
    counts = {split: dict(count) for split, count in fields["counts"].items()}
    return Manifest(fields["digest"], fields.get("name", ""), tuple(fields["classes"]), counts, splits)


def _judge(manifest: Manifest) -> None:
    if len(manifest.classes) < 2:
        raise TrainingFailure(f"the dataset has {len(manifest.classes)} class(es): a classifier needs at least two")
    train = manifest.counts.get("train", {})
    empty = [name for name in manifest.classes if train.get(name, 0) == 0]
    if empty:
        raise TrainingFailure(f"{len(empty)} class(es) have no training image: {', '.join(empty[:5])}")
    if manifest.images("validation") == 0:
        raise TrainingFailure("the dataset has no validation images: early stopping needs them")


# --- sharing out ------------------------------------------------------------------------------------------------------


def assign_shards(shards: Sequence[Shard], present: Sequence[frozenset[str]]) -> list[list[Shard]]:
    """Give each shard to the rank that has its file and fewest images so far; `present[r]` = file names rank r sees.

    Every rank computes the same answer. Raises:
        TrainingFailure: a shard's file is on no host.
    """
    assigned: list[list[Shard]] = [[] for _ in present]
    loads = [0] * len(present)
    for shard in shards:
        owners = [rank for rank, names in enumerate(present) if shard.name in names]
        if not owners:
            raise TrainingFailure(f"{shard.name} of the manifest is in no host's channel")
        rank = min(owners, key=lambda owner: loads[owner])
        assigned[rank].append(shard)
        loads[rank] += shard.images
    return assigned


def names_in(folder: Path | None) -> frozenset[str]:
    """File names of the shards in a channel folder; an absent folder has none."""
    return frozenset(path.name for path in folder.rglob("*.tar")) if folder and folder.is_dir() else frozenset()


# --- reading ----------------------------------------------------------------------------------------------------------


def read_shard(folder: Path, shard: Shard, *, classes: int) -> list[Sample]:
    """Read one shard whole (tens of MiB by construction), checked by sha256 first, in image order.

    Raises:
        TrainingFailure: digest or image count differ from the manifest, or a member is not named as a staged image.
    """
    path = next(iter(sorted(folder.rglob(shard.name))), folder / shard.name)
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != shard.sha256:
        raise TrainingFailure(
            f"{shard.name} is corrupt: sha256 {digest[:12]}… where the manifest says {shard.sha256[:12]}…"
        )
    samples = _read_members(data, shard, classes)
    if len(samples) != shard.images:
        raise TrainingFailure(f"{shard.name} holds {len(samples)} images where the manifest says {shard.images}")
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
