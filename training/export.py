"""Save a trained model: its weights, meta.json, the OpenVINO graph that is served, and the serving code.

The graph is compared with torch before it is saved. Everything is written to a temporary folder beside the target and
moved into the target at the end, so a failure leaves no partial model.
"""

import json
import math
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from training.engines import one_thread, traced_graph
from training.failures import TrainingFailure
from training.graphs import checksum_of, has_bf16, import_openvino, sha256_of
from training.model import Classifier, Served
from training.predictions import Predictions
from training.preprocess import Pixels
from training.serve import CODE, SOURCES

# the largest accepted difference of a probability from torch fp32
GRAPH_TOLERANCE = {"f32": 1e-4, "bf16": 0.05}
_SERVING_PACKAGES = ("numpy", "openvino", "pillow", "simplejpeg", "pi-heif")
_PACKAGES = ("torch", "torchvision", "openvino", "numpy", "pillow", "simplejpeg", "pi-heif", "safetensors")


def save_model(
    classifier: Classifier, meta: Mapping[str, Any], predictions: Predictions | None, *, images: Pixels, target: Path
) -> dict[str, float]:
    """Write model.safetensors, meta.json, graph.xml/.bin and code/ to `target`; return the graph's errors by precision.

    `predictions`, of the test split, are written beside them; nothing that serves reads them.
    `images`, (N, H, W, 3) uint8, are the ones on which the graph is compared with torch.

    Raises:
        TrainingFailure: OpenVINO is not installed, the graph differs from torch, or a file cannot be written.
    """
    classifier = classifier.cpu().float().eval()
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".model-") as folder:
        staging = Path(folder)
        with _writing(staging):
            state = {name: value.contiguous() for name, value in classifier.state_dict().items()}
            save_file(state, staging / "model.safetensors")
        errors = _save_graph(classifier, images, staging)
        with _writing(staging):
            _save_code(staging / "code")
            tested = {} if predictions is None else {"predictions": sha256_of(predictions.save(staging))}
            _save_meta({**meta, **tested}, errors, staging)
            for path in staging.iterdir():
                _replace(path, target / path.name)
    return errors


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Tell what cannot be written with the room that is left; OpenVINO raises a RuntimeError that names no reason.

    Raises:
        TrainingFailure: something cannot be written.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        free = f"{shutil.disk_usage(folder).free / 1e6:.1f} MB are free on its disk"
        raise TrainingFailure(f"the model cannot be saved ({type(error).__name__}: {error}); {free}") from error


def _replace(source: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    shutil.move(source, target)


def _save_graph(classifier: Classifier, images: Pixels, folder: Path) -> dict[str, float]:
    try:
        openvino = import_openvino()
    except ImportError as error:
        raise TrainingFailure("openvino is not installed, so the serving graph cannot be saved") from error
    served = Served(classifier).eval()
    graph = traced_graph(openvino, served, torch.from_numpy(images[:1]))
    with _writing(folder):
        openvino.save_model(graph, folder / "graph.xml", compress_to_fp16=False)
    errors = _graph_errors(openvino, folder / "graph.xml", served, images)
    if not errors["f32"] <= GRAPH_TOLERANCE["f32"]:
        raise TrainingFailure(
            f"a probability of the serving graph differs from torch by {errors['f32']:.2g} on {len(images)} images; "
            f"the limit is {GRAPH_TOLERANCE['f32']}"
        )
    return errors


def _graph_errors(openvino: Any, path: Path, served: Served, images: Pixels) -> dict[str, float]:
    """Return, by precision, the largest difference of a probability between the saved graph and torch fp32."""
    with torch.inference_mode(), one_thread():
        expected = served(torch.from_numpy(images)).numpy()
    core = openvino.Core()
    errors = {}
    for precision in ("f32", "bf16") if has_bf16(core) else ("f32",):
        compiled = core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": precision})
        found = np.concatenate([compiled([image[None]])[0] for image in images])
        errors[precision] = float(np.abs(found - expected).max())
    return errors


def serving_precision(errors: Mapping[str, float]) -> str:
    """Return bf16 if it was tested and is within its tolerance, else f32."""
    return "bf16" if errors.get("bf16", math.inf) <= GRAPH_TOLERANCE["bf16"] else "f32"


def _save_code(folder: Path) -> None:
    (folder / "pictures").mkdir(parents=True)
    for name in CODE:
        shutil.copyfile(Path(__file__).parent / SOURCES.get(name, name), folder / name)
    pins = "".join(f"{name}=={version(name)}\n" for name in _SERVING_PACKAGES)
    (folder / "requirements.txt").write_text(pins, encoding="utf-8")


def _save_meta(meta: Mapping[str, Any], errors: Mapping[str, float], folder: Path) -> None:
    names = ["model.safetensors", "graph.xml", "graph.bin", *(f"code/{name}" for name in CODE)]
    content = {
        **meta,
        "graph": {
            "runtime": "openvino",
            "precision": serving_precision(errors),
            "error_against_torch": dict(errors),
            "tolerance": GRAPH_TOLERANCE,
        },
        "files": {name: sha256_of(folder / name) for name in names},
    }
    content = json.loads(json.dumps(content))  # as it will be read: keys are strings, tuples are lists
    sealed = {**content, "checksum": checksum_of(content)}
    (folder / "meta.json").write_text(json.dumps(sealed, indent=2) + "\n", encoding="utf-8")


# --- facts about this run ---------------------------------------------------------------------------------------------


def versions() -> dict[str, str]:
    """Return the versions of Python, the platform and the packages that training uses."""
    found = {"python": sys.version.split()[0], "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def git_commit(env: Mapping[str, str]) -> str:
    """Return the commit of the training code: KENNEL_GIT_COMMIT, else this checkout's HEAD, else "unknown"."""
    if env.get("KENNEL_GIT_COMMIT"):
        return env["KENNEL_GIT_COMMIT"]
    checkout = Path(__file__).resolve().parents[1]
    if not (checkout / ".git").exists():  # a shipped copy may lie inside the checkout of something else
        return "unknown"
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
