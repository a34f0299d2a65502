"""Every way in which a job fails: it states the cause and leaves no model, and one host's failure ends all."""

import json
import resource
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.datasets import (
    SMALL,
    Dataset,
    picture,
    shard_row,
    train_here,
    write_dataset,
)
from tests.training.jobs import arguments, free_port, of_host, start
from training.failures import TrainingFailure
from training.imagenet import export_packaged
from training.train import main

pytestmark = pytest.mark.slow


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

    assert text.startswith("image 5 of class 2 is corrupt: it is truncated or damaged")


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


def test_a_model_that_cannot_be_written_fails_the_job_with_the_room_that_is_left(
    dataset: Dataset, weights: Path, tmp_path: Path
) -> None:
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, hard))
    try:
        assert main(arguments(dataset, weights, tmp_path)) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
    text = (tmp_path / "output" / "failure").read_text()
    assert text.startswith("the model cannot be saved (SafetensorError: ") and text.endswith(" MB are free on its disk")
    assert list((tmp_path / "model").iterdir()) == [], "nothing partial is left"


def test_weights_of_another_network_are_refused(dataset: Dataset, weights: Path, tmp_path: Path) -> None:
    folders = dataset.folders(tmp_path / "model", weights=weights)

    with pytest.raises(TrainingFailure, match=r"backbone\.safetensors does not fit resnet18"):
        train_here(folders, replace(SMALL, backbone="resnet18"))


def test_only_packaged_weights_can_be_exported(tmp_path: Path) -> None:
    with pytest.raises(
        TrainingFailure, match="no installed package has weights for 'resnet50'; available: efficientnet_lite0, "
    ):
        export_packaged("resnet50", tmp_path / "x")


def test_a_failure_on_one_host_ends_both_with_its_message(dataset: Dataset, weights: Path, tmp_path: Path) -> None:
    hosts = [of_host(dataset, tmp_path / f"host-{rank}", rank) for rank in range(2)]
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
