"""The embeddings of photos by a kept model are those of its backbone, computed without torch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import ROOT
from tests.training.datasets import Trained, picture
from training.model import Embedder, build_backbone
from training.photo_embeddings import FILE, embed_photos
from training.preprocess import load_for_evaluation
from training.serve import BadModel, model_fn


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, label in enumerate(("apple", "sky")):
        (folder / f"{number}.jpg").write_bytes(picture(label, 100 + number))
    (folder / "2.jpg").write_bytes(b"no picture")
    return folder


def test_the_embeddings_are_the_backbones(trained: Trained, photos: Path) -> None:
    command = [sys.executable, "-P", "-m", "training.photo_embeddings", str(trained.folder), str(photos)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = np.load(photos / FILE, allow_pickle=False)

    preprocessing = model_fn(str(trained.folder)).preprocessing
    backbone = build_backbone("efficientnet_lite0", preprocessing)
    embedder = Embedder(backbone)
    state = load_file(trained.folder / "model.safetensors")
    begin = "embedder."
    embedder.load_state_dict({name.removeprefix(begin): each for name, each in state.items() if begin in name})
    images = np.stack([load_for_evaluation((photos / f"{n}.jpg").read_bytes(), preprocessing) for n in range(2)])
    with torch.inference_mode():
        expected = embedder.eval()(torch.from_numpy(images)).numpy()

    assert found.shape == (3, backbone.width) and found.dtype == np.float32
    assert np.isnan(found[2]).all() and "2.jpg" in done.stderr
    np.testing.assert_allclose(found[:2], expected, atol=2e-3 * float(np.abs(expected).max()))


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(BadModel, match=r"no readable meta\.json"):
        embed_photos(tmp_path, photos)
