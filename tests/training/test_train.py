"""Tests of whole training jobs on a tiny dataset: the saved model, two hosts, interruption, and failures."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import openvino
import pytest
import torch
from safetensors.torch import load_file

from tests.training.datasets import (
    CLASSES,
    DIGEST,
    SMALL,
    Dataset,
    Trained,
    picture,
    shard_row,
    train_here,
    write_dataset,
)
from training.failures import TrainingFailure
from training.graphs import sha256_of
from training.train import main
from training.weights import export_packaged

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
HEAD = ("head.0.weight", "head.0.bias", "head.2.weight", "head.2.bias")


def arguments(dataset: Dataset, weights: Path, folder: Path, *more: str) -> list[str]:
    """Return the command line of a job equal to `SMALL`; everything it writes is under `folder`."""
    given = {"train": dataset.root / "train", "validation": dataset.root / "validation", "test": dataset.root / "test"}
    given |= {"manifest": dataset.root / "manifest", "weights": weights, "model-dir": folder / "model"}
    given |= {"output-dir": folder / "output"}
    paths = [text for name, path in given.items() for text in (f"--{name}", str(path))]
    small = f"--backbone {SMALL.backbone} --epochs {SMALL.epochs} --views 2 --batch-size 8 --threads 1".split()
    return [*paths, *small, *more]


def start(command: Sequence[str], **env: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **env}
    script = [sys.executable, str(ROOT / "training" / "train.py"), *command]
    return subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def assert_same_heads(first: Path, second: Path, *, tolerance: float) -> None:
    one, two = load_file(first / "model.safetensors"), load_file(second / "model.safetensors")
    for name in HEAD:
        assert (one[name] - two[name]).abs().max() <= tolerance


# --- what a job leaves ------------------------------------------------------------------------------------------------


def test_a_job_leaves_weights_meta_graph_and_serving_code_and_nothing_else(trained: Trained) -> None:
    files = {str(path.relative_to(trained.folder)) for path in trained.folder.rglob("*") if path.is_file()}

    code = {f"code/{name}" for name in ("inference.py", "preprocess.py", "graphs.py", "requirements.txt")}
    assert files == {"model.safetensors", "meta.json", "graph.xml", "graph.bin"} | code
    assert list(trained.folder.parent.iterdir()) == [trained.folder]


def test_meta_describes_the_model_and_how_it_was_trained(trained: Trained, weights: Path) -> None:
    meta = trained.meta

    assert meta["classes"] == list(CLASSES)
    assert meta["preprocessing"]["interpolation"] == "bicubic"
    assert meta["head"] == [1280, 128, 3]
    assert meta["config"]["views"] == 2
    assert meta["weights"] == sha256_of(weights / "backbone.safetensors")
    assert meta["data_digest"] == DIGEST
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", meta["git_commit"])
    assert meta["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert {"prepare", "embed", "fit", "test"} <= meta["seconds"].keys()
    assert meta["engine"]["error"] <= meta["engine"]["tolerance"]
    assert meta["files"]["graph.bin"] == sha256_of(trained.folder / "graph.bin")


def test_metrics_are_means_with_the_number_of_images(trained: Trained) -> None:
    metrics = trained.meta["metrics"]

    assert (metrics["validation_images"], metrics["test_images"]) == (6, 9)
    assert metrics["test_accuracy"] * 9 == pytest.approx(round(metrics["test_accuracy"] * 9), abs=1e-9)
    assert metrics["test_accuracy"] >= 8 / 9  # the classes are three plain colours
    assert metrics["best_epoch"] <= metrics["epochs"] == SMALL.epochs


def test_the_frozen_backbone_is_saved_unchanged(trained: Trained, weights: Path) -> None:
    saved, given = load_file(trained.folder / "model.safetensors"), load_file(weights / "backbone.safetensors")

    for name, value in given.items():
        if not name.startswith("_fc."):
            assert torch.equal(saved[f"embedder.backbone.{name}"], value), name


def test_the_graph_gives_probabilities_of_uint8_pictures(trained: Trained) -> None:
    compiled = openvino.Core().compile_model(trained.folder / "graph.xml", "CPU")

    assert list(compiled.input(0).shape) == [1, 224, 224, 3]
    assert compiled.input(0).element_type == openvino.Type.u8
    assert list(compiled.output(0).shape) == [1, 3]
    assert trained.meta["graph"]["error_against_torch"]["f32"] <= 1e-4


# --- many ranks, interruptions ----------------------------------------------------------------------------------------


def test_two_hosts_with_disjoint_shards_train_the_head_of_one_host(
    dataset: Dataset, weights: Path, trained: Trained, tmp_path: Path
) -> None:
    port = str(free_port())
    hosts = [_host(dataset, tmp_path / f"host-{rank}", rank) for rank in range(2)]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
    jobs = [
        start(arguments(host, weights, tmp_path), RANK=str(rank), SM_CURRENT_HOST=f"algo-{rank + 1}", **common)
        for rank, host in enumerate(hosts)
    ]

    logs = [job.communicate(timeout=120)[0] for job in jobs]

    assert [job.returncode for job in jobs] == [0, 0], logs
    assert "host=algo-1 rank=0 split=train shards=2 images=6 names=shard-00000.tar,shard-00002.tar" in logs[0]
    assert "host=algo-2 rank=1 split=train shards=2 images=6 names=shard-00001.tar,shard-00003.tar" in logs[1]
    assert "epoch=1 " in logs[0]
    assert "epoch=" not in logs[1]
    assert_same_heads(trained.folder, tmp_path / "model", tolerance=1e-5)


def _host(dataset: Dataset, root: Path, rank: int) -> Dataset:
    """Make one host's channels as ShardedByS3Key does: every second shard, and the whole manifest."""
    for split in ("train", "validation", "test"):
        (root / split).mkdir(parents=True)
        for path in dataset.shards(split)[rank::2]:
            (root / split / path.name).symlink_to(path)
    (root / "manifest").symlink_to(dataset.root / "manifest")
    return Dataset(root)


def test_a_spot_interruption_is_resumed_to_the_same_head(dataset: Dataset, weights: Path, tmp_path: Path) -> None:
    long = ("--epochs", "60", "--patience", "60", "--checkpoint-interval-seconds", "0")
    checkpoint = ("--checkpoint-dir", str(tmp_path / "checkpoints"))
    job = start(
        arguments(dataset, weights, tmp_path / "first", *long, "--epochs", "10000", "--patience", "10000", *checkpoint)
    )
    _interrupt_at_an_epoch(job)

    assert job.returncode == 143
    assert not (tmp_path / "first" / "model").exists()
    assert main(arguments(dataset, weights, tmp_path / "second", *long, *checkpoint)) == 0
    cached = {path.name for path in (tmp_path / "checkpoints" / "embeddings").iterdir()}
    assert len(cached) == 12  # 4 shards in each of 3 splits: the second run used those of the first
    assert main(arguments(dataset, weights, tmp_path / "whole", *long)) == 0
    assert_same_heads(tmp_path / "second" / "model", tmp_path / "whole" / "model", tolerance=0)


def _interrupt_at_an_epoch(job: subprocess.Popen[str]) -> None:
    assert job.stdout is not None
    for line in job.stdout:
        if line.startswith("epoch=3 "):
            job.send_signal(signal.SIGTERM)
            break
    rest, _ = job.communicate(timeout=60)
    assert "INTERRUPTED: stopped by SIGTERM after epoch" in rest


def test_fine_tuning_runs_on_a_cpu_and_is_kept_only_if_validation_improves(
    dataset: Dataset, weights: Path, tmp_path: Path
) -> None:
    tuned = replace(SMALL, epochs=1, finetune=True, finetune_epochs=1, finetune_learning_rate=1e-4)

    meta = train_here(dataset.folders(tmp_path / "model", weights=weights), tuned)

    assert meta["metrics"]["test_images"] == 9
    assert meta["metrics"]["epochs"] == 1
    assert meta["graph"]["error_against_torch"]["f32"] <= 1e-4
    saved, given = load_file(tmp_path / "model" / "model.safetensors"), load_file(weights / "backbone.safetensors")
    has_moved = not torch.equal(saved["embedder.backbone._conv_stem.weight"], given["_conv_stem.weight"])
    assert has_moved == (meta["metrics"]["best_epoch"] == 1)
    assert torch.equal(saved["embedder.backbone._bn0.running_mean"], given["_bn0.running_mean"])


# --- failures ---------------------------------------------------------------------------------------------------------


def fail(capsys: pytest.CaptureFixture[str], command: Sequence[str], folder: Path) -> str:
    """Run a job that must fail; return the failure file."""
    assert main(command) == 1
    text = (folder / "output" / "failure").read_text()
    assert not (folder / "model").exists()
    assert f"FAILED: {text}" in capsys.readouterr().err
    return text


def test_a_damaged_picture_inside_a_sound_shard_fails_the_job(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    staged = write_dataset(tmp_path / "data", shards=1, train=2, validation=1, test=1)
    path = staged.shards("train")[0]
    good = picture("sky", 5)
    path.write_bytes(path.read_bytes().replace(good[200:], bytes(len(good) - 200)))
    fields = staged.manifest()
    fields["splits"]["train"] = [shard_row(path, 6)]
    staged.rewrite(fields)

    text = fail(capsys, arguments(staged, weights, tmp_path), tmp_path)

    assert text.startswith("image 5 of class 2 is corrupt: the picture is truncated or damaged")


def test_labels_that_differ_from_the_manifest_fail_the_job(
    dataset: Dataset, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = dataset.manifest()
    fields["counts"]["train"] |= {"moss": 5}
    (tmp_path / "manifest").mkdir()
    (tmp_path / "manifest" / "manifest.json").write_text(json.dumps(fields))

    command = [*arguments(dataset, weights, tmp_path), "--manifest", str(tmp_path / "manifest")]

    assert fail(capsys, command, tmp_path) == "class 'moss' has 4 training images, but the manifest lists 5"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--learning-rate", "1e9"), "loss has exploded at epoch 1"),
        (("--backbone", "resnet51"), "--backbone 'resnet51' is neither efficientnet_lite0 nor"),
        (("--weights", "/nowhere"), "the weights channel /nowhere has no backbone.safetensors"),
        (("--test", "/nowhere"), "the manifest lists shard-00000.tar, but no host has it in its channel"),
        (("--epochs", "-1"), "hyperparameters: argument --epochs: -1 is not between 1 and 10000"),
    ],
)
def test_a_failed_job_states_the_cause_and_leaves_no_model(
    dataset: Dataset,
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    more: tuple[str, str],
    message: str,
) -> None:
    monkeypatch.setenv("SM_OUTPUT_DIR", str(tmp_path / "output"))

    assert message in fail(capsys, [*arguments(dataset, weights, tmp_path), *more], tmp_path)


def test_weights_of_another_network_are_refused(dataset: Dataset, weights: Path, tmp_path: Path) -> None:
    folders = dataset.folders(tmp_path / "model", weights=weights)

    with pytest.raises(TrainingFailure, match=r"backbone\.safetensors does not fit resnet18"):
        train_here(folders, replace(SMALL, backbone="resnet18"))


def test_only_packaged_weights_can_be_exported(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingFailure, match="no installed package has weights for 'resnet50'; available: efficientnet_lite0"
    ):
        export_packaged("resnet50", tmp_path / "x")


def test_a_failure_on_one_host_ends_both_with_its_message(dataset: Dataset, weights: Path, tmp_path: Path) -> None:
    hosts = [_host(dataset, tmp_path / f"host-{rank}", rank) for rank in range(2)]
    broken = hosts[1].shards("validation")[0]
    broken.unlink()
    broken.write_bytes(b"not a tar")
    common = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "GLOO_SOCKET_IFNAME": "lo",
    }
    jobs = [
        start(arguments(host, weights, tmp_path / f"{rank}"), RANK=str(rank), **common)
        for rank, host in enumerate(hosts)
    ]

    logs = [job.communicate(timeout=120)[0] for job in jobs]

    assert [job.returncode for job in jobs] == [1, 1], logs
    for rank in range(2):
        assert f"{broken.name} is corrupt: its sha256 is" in (tmp_path / f"{rank}" / "output" / "failure").read_text()
        assert not (tmp_path / f"{rank}" / "model").exists()


def test_a_missing_rank_ends_the_job_after_the_timeout(dataset: Dataset, weights: Path, tmp_path: Path) -> None:
    env: Mapping[str, str] = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    lonely = arguments(dataset, weights, tmp_path, "--collective-timeout-seconds", "2")

    job = start(lonely, RANK="0", GLOO_SOCKET_IFNAME="lo", **env)
    log, _ = job.communicate(timeout=60)

    assert job.returncode == 1, log
    assert (tmp_path / "output" / "failure").read_text()
