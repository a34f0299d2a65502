"""Tests of assigning shards to ranks, and of checking a staged dataset before training starts."""

import io
import tarfile
from pathlib import Path

import pytest

from tests.training.datasets import Dataset, shard_row, write_dataset
from training.failures import TrainingFailure
from training.shards import Shard, assign_shards, read_manifest, read_shard, shard_files_in

SHARDS = [Shard(f"shard-{number:05d}.tar", "", 0, 10 + number) for number in range(8)]
NAMES = frozenset(shard.name for shard in SHARDS)
EVEN = frozenset(shard.name for shard in SHARDS[::2])


@pytest.mark.parametrize(
    "present",
    [[NAMES], [NAMES] * 2, [EVEN, NAMES - EVEN], [EVEN, EVEN, NAMES - EVEN, NAMES - EVEN], [NAMES] * 3, [EVEN, NAMES]],
    ids=["one rank", "replicated", "sharded by key", "two ranks on each of two hosts", "three ranks", "overlapping"],
)
def test_every_shard_goes_to_exactly_one_rank_that_has_it(present: list[frozenset[str]]) -> None:
    assigned = assign_shards(SHARDS, present)

    assert sorted(shard.name for mine in assigned for shard in mine) == sorted(NAMES)
    assert all(shard.name in names for mine, names in zip(assigned, present, strict=True) for shard in mine)
    loads = [sum(shard.images for shard in mine) for mine in assigned]
    assert max(loads) - min(loads) <= 20


def test_a_shard_that_no_host_has_is_named() -> None:
    with pytest.raises(TrainingFailure, match=r"lists shard-00001\.tar, but no host has it in its channel"):
        assign_shards(SHARDS, [EVEN, EVEN])


def test_samples_come_in_image_order_with_their_labels(dataset: Dataset) -> None:
    manifest = read_manifest(dataset.root / "manifest")
    shard = manifest.splits["train"][1]

    samples = read_shard(dataset.root / "train", shard, classes=3)

    assert shard_files_in(dataset.root / "train") == {shard.name for shard in manifest.splits["train"]}
    assert [(sample.index, sample.label) for sample in samples] == [(1, 0), (5, 1), (9, 2)]


def test_a_flipped_bit_in_a_shard_is_found_by_its_digest(tmp_path: Path) -> None:
    staged = write_dataset(tmp_path / "data", shards=1, train=1, validation=1, test=1)
    path = staged.shards("train")[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    with pytest.raises(TrainingFailure, match=r"shard-00000\.tar is corrupt: its sha256 is"):
        read_shard(path.parent, read_manifest(staged.root / "manifest").splits["train"][0], classes=3)


@pytest.mark.parametrize("name", ["../../evil.jpg", "00007/00000001.jpg", "notes.txt", "00000/x.jpg"])
def test_a_member_that_is_not_a_staged_image_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "train" / "shard-00000.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    row = shard_row(path, 1)

    with pytest.raises(TrainingFailure, match="is not a staged image of 3 classes"):
        read_shard(path.parent, Shard(path.name, row["sha256"], row["size_bytes"], 1), classes=3)


def test_a_dataset_of_one_class_is_refused(tmp_path: Path) -> None:
    staged = write_dataset(tmp_path / "data", classes=("sky",), train=2, validation=1)

    with pytest.raises(TrainingFailure, match=r"1 class\(es\), but a classifier needs at least two"):
        read_manifest(staged.root / "manifest")


def test_a_class_without_training_images_is_named(tmp_path: Path) -> None:
    staged = write_dataset(tmp_path / "data", train=1, validation=1)
    fields = staged.manifest()
    fields["counts"]["train"]["moss"] = 0
    staged.rewrite(fields)

    with pytest.raises(TrainingFailure, match=r"1 class\(es\) have no training image: moss"):
        read_manifest(staged.root / "manifest")


def test_no_validation_images_is_a_failure(tmp_path: Path) -> None:
    staged = write_dataset(tmp_path / "data", train=1, validation=0)

    with pytest.raises(TrainingFailure, match="no validation images"):
        read_manifest(staged.root / "manifest")


@pytest.mark.parametrize("text", ["{", "{}", '{"format": 2}', "[]"])
def test_a_broken_manifest_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)

    with pytest.raises(TrainingFailure, match=r"manifest\.json is not a readable manifest of format 1"):
        read_manifest(tmp_path)
