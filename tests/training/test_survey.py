"""Tests of looking at photos before training: sharpness, and embeddings in the order that was asked for."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from tests.conftest import ROOT
from tests.training.datasets import picture
from training.survey import sharpness_of


def test_a_blurred_photo_is_less_sharp_than_the_photo() -> None:
    sharp = Image.open(io.BytesIO(picture("sky", 1, quality=98)))
    noise = np.random.default_rng(0).integers(0, 255, np.asarray(sharp).shape, np.uint8)
    detailed = Image.blend(sharp, Image.fromarray(noise), 0.3)
    blurred = detailed.filter(ImageFilter.GaussianBlur(3))
    assert sharpness_of(np.asarray(detailed)) > 20 * sharpness_of(np.asarray(blurred)) > 0
    assert sharpness_of(np.zeros((2, 5, 3), np.uint8)) == 0


def test_features_are_of_the_photos_that_were_named_and_alike_for_alike_photos(weights: Path, tmp_path: Path) -> None:
    photos = [picture("apple", 1), picture("sky", 2), picture("apple", 3), picture("apple", 1)]
    spool = tmp_path / "spool"
    spool.write_bytes(b"".join(photos))
    starts = np.cumsum([0, *map(len, photos)]).tolist()
    places = [[str(spool), start, len(data)] for start, data in zip(starts, photos, strict=False)]
    order = {
        "photos": places,
        "embedded": [1, 3, 0, 2],
        "backbone": "efficientnet_lite0",
        "threads": 1,
        "training": 1000,
    }
    (tmp_path / "order.json").write_text(json.dumps({**order, "weights": str(weights)}))
    command = [sys.executable, "-m", "training.survey", str(tmp_path / "order.json"), str(tmp_path / "result.npz")]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["sharpness 4", "embed 4"]
    found = np.load(tmp_path / "result.npz")
    assert found["sharpness"].shape == (4,) and found["features"].shape == (4, 1280)
    assert found["views"] == 4 and found["pace"] > 0
    sky, first, same, other = found["features"]
    assert np.allclose(first, same, rtol=1e-3, atol=1e-3)
    assert np.linalg.norm(first - other) < np.linalg.norm(first - sky)
