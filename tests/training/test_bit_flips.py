"""No damaged file is used silently: 300 seeded single-bit flips in each kind of file that training or serving reads."""

import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.bit_flips import FLIPS, flipped
from tests.training.datasets import CLASSES, Dataset, copy_serving_code, write_dataset
from training.checkpoint import FitCheckpoint, ShardCache
from training.failures import TrainingFailure
from training.graphs import checksum_of, sha256_of
from training.model import Backbone
from training.preprocess import Preprocessing
from training.serve import CODE, BadModel, model_fn
from training.shards import read_manifest, read_shard
from training.weights import load_weights

FEATURES = torch.arange(400, dtype=torch.float32).reshape(20, 1, 20)
FITTED = {"model.weight": FEATURES[:, 0], "best.weight": FEATURES[:, 0] + 1, "optimizer.0.step": torch.tensor(7.0)}


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_dataset(tmp_path_factory.mktemp("flips") / "data", shards=1, train=1, validation=1)


def test_embeddings_of_a_damaged_file_are_not_used_and_that_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    cache = ShardCache(tmp_path, said.append)
    cache.save("shard", {"features": FEATURES, "index": torch.arange(20)})
    (path,) = (tmp_path / "embeddings").iterdir()
    used = [where for where in flipped(path) if cache.load("shard") is not None]
    assert used == [] and len(said) == FLIPS
    assert said[0].startswith(
        f"WARNING: the checkpoint {path} is not used, and the shard is embedded again: its sha256"
    )
    kept = cache.load("shard")
    assert kept is not None and torch.equal(kept["features"], FEATURES)


def test_embeddings_under_the_name_of_another_shard_are_not_used(tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, print)
    cache.save("one", {"features": FEATURES})
    shutil.copy(tmp_path / "embeddings" / "one.checkpoint", tmp_path / "embeddings" / "two.checkpoint")
    assert cache.load("two") is None


def test_a_damaged_state_of_a_fit_is_not_used_and_that_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    checkpoint = FitCheckpoint(tmp_path, "head", fingerprint="same", interval_seconds=0, say=said.append)
    assert checkpoint.save(FITTED, {"epoch": 3, "best_epoch": 2, "best": None})
    assert checkpoint.path is not None
    used = [where for where in flipped(checkpoint.path) if checkpoint.load() is not None]
    assert used == [] and len(said) == FLIPS and "the fit starts from its beginning" in said[0]
    kept = checkpoint.load()
    assert kept is not None and kept.facts["epoch"] == 3
    assert all(torch.equal(kept.tensors[name], value) for name, value in FITTED.items())


def test_a_file_of_a_release_without_digests_is_not_used(tmp_path: Path) -> None:
    said: list[str] = []
    checkpoint = FitCheckpoint(tmp_path, "head", fingerprint="same", interval_seconds=0, say=said.append)
    save_file(FITTED, tmp_path / "head.checkpoint", {"facts": json.dumps({"fingerprint": "same"})})
    assert checkpoint.load() is None and len(said) == 1


class Executed:
    """Unpickling it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_a_pickle_as_checkpoint_or_weights_is_never_executed(tmp_path: Path) -> None:
    content = pickle.dumps(Executed(tmp_path / "executed"))
    checkpoint = FitCheckpoint(tmp_path, "head", fingerprint="same", interval_seconds=0, say=print)
    (tmp_path / "head.checkpoint").write_bytes(content + hashlib.sha256(content).digest())
    assert checkpoint.load() is None
    (tmp_path / "backbone.safetensors").write_bytes(content)
    with pytest.raises(TrainingFailure, match="does not fit linear"):
        load_weights(Backbone("linear", 5, Preprocessing(), torch.nn.Linear(20, 5), "_fc."), tmp_path)
    assert not (tmp_path / "executed").exists()


def test_a_damaged_shard_or_manifest_fails_the_job(staged: Dataset) -> None:
    shard = read_manifest(staged.root / "manifest").splits["train"][0]
    whole = read_shard(staged.root / "train", shard, classes=len(CLASSES))
    for where in flipped(staged.shards("train")[0]):
        with pytest.raises(TrainingFailure, match="is corrupt: its sha256 is"):
            read_shard(staged.root / "train", shard, classes=len(CLASSES))
            pytest.fail(where)
    fields = staged.manifest()
    staged.rewrite({**fields, "checksum": checksum_of(fields)})
    manifest = read_manifest(staged.root / "manifest")
    path = staged.root / "manifest" / "manifest.json"
    assert [where for where in flipped(path) if not _is_refused(path, unless=manifest)] == []
    assert read_shard(staged.root / "train", shard, classes=len(CLASSES)) == whole


def _is_refused(path: Path, *, unless: object) -> bool:
    """Tell whether a manifest is refused, or is the same in spite of the flip (in a blank, for example)."""
    try:
        return read_manifest(path.parent) == unless
    except TrainingFailure:
        return True


def test_damaged_weights_fail_the_job(tmp_path: Path) -> None:
    network = torch.nn.Linear(20, 5)
    path = tmp_path / "backbone.safetensors"
    save_file(network.state_dict(), path)
    backbone = Backbone("linear", 5, Preprocessing(), network, "_fc.")
    expected = sha256_of(path)
    for where in flipped(path):
        with pytest.raises(TrainingFailure, match="is damaged: its sha256 is"):
            load_weights(backbone, tmp_path, expected)
            pytest.fail(where)
    assert load_weights(backbone, tmp_path, expected) == expected


@pytest.mark.parametrize("name", ["meta.json", "graph.xml", "graph.bin", *(f"code/{name}" for name in CODE[:4])])
def test_a_model_with_a_damaged_file_is_not_served(tmp_path: Path, name: str) -> None:
    copy_serving_code(tmp_path / "code")
    for graph in ("graph.xml", "graph.bin"):
        (tmp_path / graph).write_bytes(graph.encode() * 200)
    files = {each.relative_to(tmp_path).as_posix(): sha256_of(each) for each in tmp_path.rglob("*.*")}
    meta: dict[str, Any] = {"classes": ["cat", "dog"], "backbone": "resnet18", "data_digest": "00"}
    meta |= {"preprocessing": vars(Preprocessing()), "graph": {"precision": "f32"}, "files": files}
    (tmp_path / "meta.json").write_text(json.dumps({**meta, "checksum": checksum_of(meta)}, indent=2))
    for where in flipped(tmp_path / name):
        with pytest.raises(BadModel, match=r"is not the file that|no readable meta"):
            model_fn(str(tmp_path))
            pytest.fail(where)
    with pytest.raises(BadModel, match=r"graph\.xml is unusable"):  # every digest fits, and no graph lies in this file
        model_fn(str(tmp_path))
