"""Fixtures made once a session: a tiny dataset, the packaged weights, and one model trained on them."""

from pathlib import Path

import pytest
import torch

from tests.training.datasets import Dataset, Trained, train_here, write_dataset
from training.imagenet import export_packaged


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Limit torch to one thread: with tiny tensors its threads only wait for each other on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset of three classes: 12 training, 6 validation and 9 test pictures in four shards a split."""
    return write_dataset(tmp_path_factory.mktemp("staged") / "data", train=4, validation=2, test=3)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights channel with the packaged ImageNet weights of EfficientNet-Lite0."""
    folder = tmp_path_factory.mktemp("weights")
    export_packaged("efficientnet_lite0", folder / "backbone.safetensors")
    return folder


@pytest.fixture(scope="session")
def trained(dataset: Dataset, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """One model, trained in this process without a checkpoint folder."""
    folder = tmp_path_factory.mktemp("job") / "model"
    return Trained(folder, train_here(dataset.folders(folder, weights=weights)))
