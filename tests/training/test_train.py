"""Whole jobs on a tiny dataset: the model that is saved, two hosts, interruption, fine-tuning."""

import json
import re
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

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
    train_here,
)
from tests.training.jobs import arguments, free_port, of_host, start
from training.graphs import sha256_of
from training.serve import CODE
from training.train import main

pytestmark = pytest.mark.slow

HEAD = ("head.0.weight", "head.0.bias", "head.2.weight", "head.2.bias")


def assert_same_heads(first: Path, second: Path, *, tolerance: float) -> None:
    one, two = load_file(first / "model.safetensors"), load_file(second / "model.safetensors")
    for name in HEAD:
        assert (one[name] - two[name]).abs().max() <= tolerance


# --- what a job leaves ------------------------------------------------------------------------------------------------


def test_a_job_leaves_weights_meta_graph_and_serving_code_and_nothing_else(trained: Trained) -> None:
    files = {str(path.relative_to(trained.folder)) for path in trained.folder.rglob("*") if path.is_file()}

    code = {f"code/{name}" for name in (*CODE, "requirements.txt")}
    assert files == {"model.safetensors", "meta.json", "graph.xml", "graph.bin", "predictions.safetensors"} | code
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


def test_the_predictions_of_the_test_split_give_its_metrics(trained: Trained) -> None:
    found, metrics = load_file(trained.folder / "predictions.safetensors"), trained.meta["metrics"]

    assert found["index"].tolist() == list(range(9))
    assert torch.bincount(found["labels"]).tolist() == [3, 3, 3]
    assert (found["predicted"] == found["labels"]).double().mean().item() == metrics["test_accuracy"]
    assert found["scores"].sum(1).tolist() == pytest.approx([1.0] * 9, abs=1e-6)
    right = found["scores"].double()[torch.arange(9), found["labels"]]
    assert -right.log().mean().item() == pytest.approx(metrics["test_loss"], rel=1e-4)
    assert trained.meta["predictions"] == sha256_of(trained.folder / "predictions.safetensors")


def test_the_learning_curve_has_a_point_for_each_epoch(trained: Trained) -> None:
    metrics, curve = trained.meta["metrics"], trained.meta["curves"]["head"]

    assert len(curve) == metrics["epochs"] and all(epoch["train_loss"] > 0 for epoch in curve)
    best = curve[metrics["best_epoch"] - 1]["validation"]
    assert best == {name: metrics[f"validation_{name}"] for name in ("loss", "accuracy", "images")}
    assert min(epoch["validation"]["loss"] for epoch in curve) == best["loss"]


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
    hosts = [of_host(dataset, tmp_path / f"host-{rank}", rank) for rank in range(2)]
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
    one, two = (load_file(path / "predictions.safetensors") for path in (trained.folder, tmp_path / "model"))
    assert all(torch.equal(one[name], two[name]) for name in ("index", "labels", "predicted"))
    assert (one["scores"] - two["scores"]).abs().max() <= 1e-5


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


def test_a_search_on_two_hosts_trains_the_model_of_one_host_with_the_winners_hyperparameters(
    dataset: Dataset, weights: Path, tmp_path: Path
) -> None:
    searching = ("--trials", "5")
    hosts = [of_host(dataset, tmp_path / f"host-{rank}", rank) for rank in range(2)]
    common = {"SM_HOST_COUNT": "2", "SM_MASTER_ADDR": "127.0.0.1", "SM_MASTER_PORT": str(free_port())}
    common |= {"GLOO_SOCKET_IFNAME": "lo"}  # as SageMaker's basic driver tells of the hosts
    jobs = [
        start(arguments(host, weights, tmp_path / "two", *searching), SM_CURRENT_HOST_RANK=str(rank), **common)
        for rank, host in enumerate(hosts)
    ]
    assert main(arguments(dataset, weights, tmp_path / "one", *searching)) == 0
    logs = [job.communicate(timeout=120)[0] for job in jobs]

    assert [job.returncode for job in jobs] == [0, 0], logs
    assert logs[0].count("trial=") - logs[0].count("chose trial") == 6 and "trial=" not in logs[1]
    assert logs[0].count("split=test") == 1, "the test split is read once, for the winner"
    found = [json.loads((tmp_path / name / "model" / "meta.json").read_text()) for name in ("one", "two")]
    assert _timeless(found[0]["search"]) == _timeless(found[1]["search"])
    chosen = {name: found[0]["config"][name] for name in found[0]["search"]["space"]}
    assert chosen == found[0]["search"]["trials"][found[0]["search"]["winner"]]["parameters"]
    values = [text for name, value in chosen.items() for text in (f"--{name.replace('_', '-')}", repr(value))]
    assert main(arguments(dataset, weights, tmp_path / "direct", *values)) == 0
    for name in ("one", "two"):
        assert_same_heads(tmp_path / name / "model", tmp_path / "direct" / "model", tolerance=1e-5)


def _timeless(search: dict[str, Any]) -> dict[str, Any]:
    return {**search, "seconds": 0, "trials": [{**trial, "seconds": 0} for trial in search["trials"]]}


def test_a_search_over_the_fine_tuning_tries_whole_networks(
    dataset: Dataset, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuning = ("--finetune", "--finetune-epochs", "1", "--trials", "1", "--epochs", "2")
    assert main(arguments(dataset, weights, tmp_path, *tuning)) == 0

    search = json.loads((tmp_path / "model" / "meta.json").read_text())["search"]
    assert search["space"].keys() == {"finetune_learning_rate", "weight_decay", "label_smoothing"}
    assert [trial["state"] for trial in search["trials"]] == ["complete", "complete"]
    assert "the search chose trial" in capsys.readouterr().out


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
    assert {stage: len(curve) for stage, curve in meta["curves"].items()} == {"head": 1, "finetune": 1}
    found = load_file(tmp_path / "model" / "predictions.safetensors")
    assert (found["predicted"] == found["labels"]).double().mean().item() == meta["metrics"]["test_accuracy"]
    assert meta["graph"]["error_against_torch"]["f32"] <= 1e-4
    saved, given = load_file(tmp_path / "model" / "model.safetensors"), load_file(weights / "backbone.safetensors")
    has_moved = not torch.equal(saved["embedder.backbone._conv_stem.weight"], given["_conv_stem.weight"])
    assert has_moved == (meta["metrics"]["best_epoch"] == 1)
    assert torch.equal(saved["embedder.backbone._bn0.running_mean"], given["_bn0.running_mean"])
