"""Tests of the engines: the fastest that agrees with torch fp32 is chosen, and a refusal is logged."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.datasets import picture
from training.engines import (
    TOLERANCE,
    Engine,
    EngineUnavailable,
    Features,
    OpenVinoEngine,
    TorchEngine,
    choose_engine,
    padded_batches,
    run_padded,
)
from training.model import Embedder, build_backbone
from training.preprocess import Pixels, load_for_evaluation
from training.weights import load_weights

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def embedder(weights: Path) -> Embedder:
    backbone = build_backbone("efficientnet_lite0")
    load_weights(backbone, weights)
    return Embedder(backbone).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images() -> Pixels:
    preprocessing = build_backbone("efficientnet_lite0").preprocessing
    return np.stack([load_for_evaluation(picture("sky", number), preprocessing) for number in range(3)])


class WrongEngine:
    name = "wrong"
    batch_size = 4

    def run(self, batches: Iterable[Pixels]) -> Iterator[Features]:
        for batch in batches:
            yield np.ones((len(batch), 1280), np.float32)


def absent() -> Engine:
    raise EngineUnavailable("no such device")


def test_a_wrong_or_absent_engine_is_skipped_and_logged(embedder: Embedder, images: Pixels) -> None:
    lines: list[str] = []

    choice = choose_engine(
        embedder, images, device=CPU, threads=1, say=lines.append, candidates=[absent, lambda: WrongEngine()]
    )

    assert choice.engine.name == "torch-cpu-fp32"
    assert lines[0] == "engine skipped: no such device"
    assert lines[1].startswith("engine REFUSED: the features of wrong differ from torch fp32 by ")


def test_the_default_engine_is_openvino_and_within_the_stated_tolerance(embedder: Embedder, images: Pixels) -> None:
    choice = choose_engine(embedder, images, device=CPU, threads=1, say=lambda _line: None)

    assert choice.engine.name.startswith("openvino-cpu-")
    assert 0 < choice.error <= TOLERANCE
    assert choice.images == 3


def test_features_depend_neither_on_the_number_of_threads_nor_on_the_rest_of_the_batch(
    embedder: Embedder, images: Pixels
) -> None:
    one = run_padded(OpenVinoEngine(embedder, side=224, threads=1), images)
    two = run_padded(OpenVinoEngine(embedder, side=224, threads=2), images[::-1].copy())

    assert (one == two[::-1]).all()


def test_torch_gives_close_results_in_fp32_and_in_bf16(embedder: Embedder, images: Pixels) -> None:
    try:
        low = TorchEngine(embedder, CPU, is_bf16=True)
    except EngineUnavailable as reason:
        pytest.skip(str(reason))
    expected = next(TorchEngine(embedder, CPU, is_bf16=False).run([images[:1]]))

    found = next(low.run([images[:1]]))

    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) <= TOLERANCE


def test_batches_are_regrouped_in_order_and_the_last_is_filled_up() -> None:
    groups = [np.full((3, 2, 2, 3), number, np.uint8) for number in range(1, 4)]

    batches = list(padded_batches(groups, 4))

    assert [len(batch) for batch in batches] == [4, 4, 4]
    assert np.concatenate(batches)[:, 0, 0, 0].tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3, 0, 0, 0]
