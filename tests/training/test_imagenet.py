"""Tests of ImageNet weights as training reads them: conversion, and the preprocessing that the weights state."""

import json
from collections import OrderedDict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save_file
from torchvision import models

from tests.training.datasets import Dataset, train_here
from training.config import Hyperparameters
from training.failures import TrainingFailure
from training.imagenet import converted, export_packaged, published_versions
from training.model import build_backbone
from training.preprocess import Preprocessing
from training.serve import model_fn
from training.weights import METADATA_KEY, load_weights, stated_preprocessing

SMALL = Hyperparameters(backbone="squeezenet1_1", epochs=2, views=1, batch_size=8)
VERSION = "IMAGENET1K_V1"


def state_of(backbone: str) -> "OrderedDict[str, torch.Tensor]":
    """Return a made-up state dict, with the versions of its modules, as torchvision publishes it."""
    torch.manual_seed(7)
    state: OrderedDict[str, torch.Tensor] = models.get_model(backbone, weights=None).state_dict()
    return state


def saved(content: object, folder: Path) -> Path:
    torch.save(content, folder / "published.pth")
    return folder / "published.pth"


def channel(content: bytes, folder: Path) -> Path:
    """Return a weights channel with this file of weights."""
    (folder / "backbone.safetensors").write_bytes(content)
    return folder


@pytest.mark.parametrize("backbone", ["mnasnet0_5", "squeezenet1_1", "shufflenet_v2_x0_5"])
def test_converted_weights_load_into_the_backbone_with_their_preprocessing(tmp_path: Path, backbone: str) -> None:
    state = state_of(backbone)
    folder = channel(converted(backbone, VERSION, saved(state, tmp_path)), tmp_path)
    prepared = stated_preprocessing(folder)
    assert prepared is not None and asdict(prepared) == published_versions(backbone)[0]["preprocessing"]
    built = build_backbone(backbone, prepared)
    assert load_weights(built, folder) is not None
    found = built.network.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in found.items())
    with torch.inference_mode():
        features = built.network.eval()(torch.zeros(1, 3, prepared.crop, prepared.crop))
    assert features.shape == (1, built.width)


def test_the_same_file_is_converted_to_the_same_bytes(tmp_path: Path) -> None:
    path = saved(state_of("squeezenet1_1"), tmp_path)
    assert converted("squeezenet1_1", VERSION, path) == converted("squeezenet1_1", VERSION, path)


def test_each_version_has_its_own_preprocessing() -> None:
    resize = {each["name"]: each["preprocessing"]["resize"] for each in published_versions("resnet50")}
    assert resize == {"IMAGENET1K_V2": 232, "IMAGENET1K_V1": 256}


def test_networks_that_scale_their_input_get_it_scaled_by_the_preprocessing() -> None:
    """torchvision's `transform_input` makes (x - 0.5) / 0.5 of what ImageNet's mean and deviation normalised."""
    (version,) = published_versions("googlenet")
    pixel = torch.rand(1, 3, 1, 1)
    usual, ours = Preprocessing(), Preprocessing.from_json(version["preprocessing"])
    network = models.get_model("googlenet", weights=None, transform_input=True, init_weights=False)
    theirs = network._transform_input(normalised(pixel, usual))
    assert torch.allclose(theirs, normalised(pixel, ours), atol=1e-6)


def normalised(pixel: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    mean, deviation = (torch.tensor(each).view(1, 3, 1, 1) for each in (preprocessing.mean, preprocessing.deviation))
    return (pixel - mean) / deviation


def test_old_names_of_a_densenets_tensors_become_the_current_ones(tmp_path: Path) -> None:
    state = state_of("densenet121")
    old = OrderedDict((old_name(name), value) for name, value in state.items())
    assert old.keys() != state.keys()
    found = load(converted("densenet121", VERSION, saved(old, tmp_path)))
    assert found.keys() == state.keys()


def old_name(name: str) -> str:
    for part in ("norm1", "norm2", "conv1", "conv2"):
        if "denselayer" in name:
            name = name.replace(f".{part}.", f".{part[:-1]}.{part[-1]}.")
    return name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("another network", "does not fit squeezenet1_1"),
        ("not finite", r"features\.0\.weight has values that are no finite numbers"),
        ("no state dict", "is no state dict"),
        ("cut", "is no file of weights"),
    ],
)
def test_a_file_that_is_no_state_dict_of_the_network_is_refused(tmp_path: Path, content: str, message: str) -> None:
    state = state_of("shufflenet_v2_x0_5" if content == "another network" else "squeezenet1_1")
    if content == "not finite":
        state["features.0.weight"][0] = float("nan")
    path = saved([torch.zeros(3)] if content == "no state dict" else state, tmp_path)
    if content == "cut":
        path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(TrainingFailure, match=message):
        converted("squeezenet1_1", VERSION, path)


def test_a_vision_transformer_is_built_for_the_side_of_its_weights() -> None:
    with torch.device("meta"):
        built = build_backbone("vit_b_32", Preprocessing(resize=384, crop=384))
    assert built.network.get_parameter("encoder.pos_embedding").shape == (1, 12 * 12 + 1, 768)


@pytest.mark.parametrize(("size", "side", "resize"), [(1, 240, 272), (2, 260, 292)])
def test_the_larger_lite_networks_load_their_package(tmp_path: Path, size: int, side: int, resize: int) -> None:
    export_packaged(f"efficientnet_lite{size}", tmp_path / "backbone.safetensors")
    built = build_backbone(f"efficientnet_lite{size}")
    assert (built.preprocessing.crop, built.preprocessing.resize) == (side, resize)
    assert load_weights(built, tmp_path) is not None
    with torch.inference_mode():
        assert built.network.eval()(torch.zeros(1, 3, side, side)).shape == (1, built.width)


@pytest.mark.slow
def test_the_stated_preprocessing_is_that_of_training_and_of_serving(dataset: Dataset, tmp_path: Path) -> None:
    stated = Preprocessing(232, 200, "bicubic", (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    weights = tmp_path / "weights"
    weights.mkdir()
    describe = {METADATA_KEY: json.dumps({"preprocessing": asdict(stated)})}
    save_file(dict(state_of("squeezenet1_1")), weights / "backbone.safetensors", describe)

    meta: dict[str, Any] = train_here(dataset.folders(tmp_path / "model", weights=weights), SMALL)

    assert Preprocessing.from_json(meta["preprocessing"]) == stated
    assert model_fn(str(tmp_path / "model")).preprocessing == stated


def test_a_stated_preprocessing_that_cannot_be_read_fails_the_job(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "backbone.safetensors", {METADATA_KEY: '{"preprocessing": {}}'})
    with pytest.raises(TrainingFailure, match="states a preprocessing that cannot be read"):
        stated_preprocessing(tmp_path)
