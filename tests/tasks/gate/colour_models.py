"""Models that tell colours, as training saves them: a graph of OpenVINO in a model.tar.gz, made in milliseconds."""

import json
import tarfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tests.training.datasets import copy_serving_code
from training.graphs import checksum_of, import_openvino, sha256_of
from training.preprocess import Preprocessing

COLOURS = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0), "blue": (0.0, 0.0, 1.0)}
PREPROCESSING = Preprocessing(resize=32, crop=32)
SHARPNESS = 12.0


def colour_archive(folder: Path, weights: Mapping[str, tuple[float, float, float]] = COLOURS) -> Path:
    """Write an archive whose model takes a photo for the class whose weights fit its mean colour best."""
    folder.mkdir()
    _save_graph(folder / "graph.xml", np.array(list(weights.values()), np.float32))
    copy_serving_code(folder / "code")
    _save_meta(folder, list(weights))
    archive = folder.with_suffix(".tar.gz")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=".")
    return archive


def _save_graph(path: Path, weights: np.ndarray) -> None:
    """Save (1, crop, crop, 3) uint8 -> (1, classes) float32; `weights`: (classes, 3)."""
    openvino = import_openvino()
    ops, side = openvino.opset13, PREPROCESSING.crop
    image = ops.parameter([1, side, side, 3], np.uint8, name="image")
    scaled = ops.multiply(ops.convert(image, "f32"), np.float32(SHARPNESS / 255))
    mean = ops.reduce_mean(scaled, np.array([1, 2], np.int64), keep_dims=False)
    scores = ops.softmax(ops.matmul(mean, weights.T.copy(), False, False), axis=1)
    openvino.save_model(openvino.Model([scores], [image], "colours"), path, compress_to_fp16=False)


def _save_meta(folder: Path, classes: list[str]) -> None:
    files = {str(path.relative_to(folder)): sha256_of(path) for path in folder.rglob("*") if path.is_file()}
    content = {
        "classes": classes,
        "preprocessing": asdict(PREPROCESSING),
        "backbone": "colours",
        "data_digest": "d",
        "graph": {"precision": "f32"},
        "files": files,
    }
    (folder / "meta.json").write_text(json.dumps({**content, "checksum": checksum_of(content)}))
