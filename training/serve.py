"""Serve a saved model: the four handlers of SageMaker's PyTorch inference contract, on an OpenVINO graph without torch.

model.tar.gz contains this file as `code/inference.py`, with `preprocess.py` and `graphs.py` beside it. Call `model_fn`
once in a process; many threads may use the predictor it returns. A response gives a probability for every class, in
class order. The environment variable INFERENCE_NUM_THREADS limits the threads that compute a request; the default is
all cores.
"""

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

if __package__:
    from training.graphs import checksum_of, has_bf16, import_openvino, sha256_of
    from training.preprocess import BadImage, Preprocessing, load_for_evaluation
else:  # code/inference.py of a model imports the files beside it, even where this package is installed
    from graphs import checksum_of, has_bf16, import_openvino, sha256_of  # type: ignore[import-not-found, no-redef]
    from preprocess import (  # type: ignore[import-not-found, no-redef]
        BadImage,
        Preprocessing,
        load_for_evaluation,
    )

try:  # AWS's inference image responds with 500 to every exception that is not of this class
    from sagemaker_inference.errors import BaseInferenceToolkitError as _ErrorBase  # type: ignore[import-not-found]
except ImportError:
    _ErrorBase = ValueError

MAX_BODY_BYTES = 20 * 1024 * 1024
_IMAGE_TYPES = ("image/jpeg", "image/jpg", "image/png", "image/webp", "application/x-image")
_JSON = "application/json"
_TOP_CLASSES = 5
_CHECKED = ("graph.xml", "graph.bin", "code/inference.py", "code/preprocess.py", "code/graphs.py")
_THREADS = "INFERENCE_NUM_THREADS"  # the name of OpenVINO's property; OpenVINO ignores OMP_NUM_THREADS


class BadInput(_ErrorBase):  # type: ignore[misc]
    """The request is invalid; the server responds with `status_code` (406, 413, 415 or 422) and the message."""

    def __init__(self, status_code: int, message: str) -> None:
        Exception.__init__(self, message)
        self.status_code = status_code
        self.message = message
        self.phrase = HTTPStatus(status_code).phrase


class BadModel(RuntimeError):
    """The model folder is not as training saved it, so the model is not loaded."""


@dataclass(frozen=True)
class Prediction:
    """The probabilities, (classes,) float32 in class order, with the labels and the model's description."""

    scores: npt.NDArray[np.float32]
    labels: tuple[str, ...]
    model: Mapping[str, str]


class Predictor:
    """A compiled graph and its preprocessing; each thread uses its own OpenVINO inference request."""

    def __init__(self, compiled: Any, meta: Mapping[str, Any]) -> None:
        self._compiled = compiled
        self._local = threading.local()
        self.threads = int(compiled.get_property(_THREADS))
        self.preprocessing = Preprocessing.from_json(meta["preprocessing"])
        self.labels = tuple(meta["classes"])
        self.model = {"backbone": meta["backbone"], "data_digest": meta["data_digest"]}

    def probabilities(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Classify one image: (crop, crop, 3) uint8 -> (classes,) float32."""
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._compiled.create_infer_request()
        request.infer([image[None]])
        return np.array(request.get_output_tensor().data[0], np.float32)


# --- the contract -----------------------------------------------------------------------------------------------------


def model_fn(model_dir: str) -> Predictor:
    """Check the files of an unpacked model.tar.gz against meta.json, then load the graph.

    Raises:
        BadModel: a file is missing, its sha256 is not the one in meta.json, or the graph does not fit the classes.
    """
    folder = Path(model_dir)
    meta = _read_meta(folder)
    _check_files(folder, meta["files"])
    openvino = import_openvino()
    core = openvino.Core()
    precision = "bf16" if meta["graph"]["precision"] == "bf16" and has_bf16(core) else "f32"
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision, **_thread_limit()}
    compiled = core.compile_model(folder / "graph.xml", "CPU", options)
    if compiled.output(0).shape[1] != len(meta["classes"]):
        raise BadModel(
            f"{folder}: graph.xml has {compiled.output(0).shape[1]} outputs for {len(meta['classes'])} classes"
        )
    predictor = Predictor(compiled, meta)
    side = predictor.preprocessing.crop
    predictor.probabilities(np.zeros((side, side, 3), np.uint8))  # the first inference is slow
    return predictor


def input_fn(body: bytes | bytearray, content_type: str | None) -> bytes:
    """Check the content type and size of a request; return the encoded picture.

    Raises:
        BadInput: the content type is not accepted (415), the body is too large (413) or empty (422).
    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind not in _IMAGE_TYPES:
        raise BadInput(415, f"content type {kind or 'none'!r} is not accepted; send one of {', '.join(_IMAGE_TYPES)}")
    if len(body) > MAX_BODY_BYTES:
        raise BadInput(413, f"the body is {len(body)} bytes; at most {MAX_BODY_BYTES} are accepted")
    if not body:
        raise BadInput(422, "the body is empty; send the bytes of one picture")
    return bytes(body)


def predict_fn(data: bytes, model: Predictor) -> Prediction:
    """Decode the picture and classify it.

    Raises:
        BadInput: it is not a readable JPEG, PNG or WebP (422), or it has too many pixels (413).
    """
    try:
        image = load_for_evaluation(data, model.preprocessing)
    except BadImage as error:
        raise BadInput(413 if error.is_too_large else 422, str(error)) from error
    return Prediction(model.probabilities(image), model.labels, model.model)


def output_fn(prediction: Prediction, accept: str | None = None) -> tuple[str, str]:
    """Return the JSON response and its content type.

    Raises:
        BadInput: the Accept header excludes JSON (406).
    """
    kinds = {kind.partition(";")[0].strip().lower() for kind in (accept or "*/*").split(",")}
    if not kinds & {_JSON, "*/*", "application/*"}:
        raise BadInput(406, f"the Accept header {accept!r} excludes JSON, but only {_JSON} is produced")
    scores = [round(float(score), 6) for score in prediction.scores]
    best = np.argsort(-prediction.scores, kind="stable")[:_TOP_CLASSES]
    answer = {
        "labels": list(prediction.labels),
        "scores": scores,
        "top5": [{"label": prediction.labels[index], "score": scores[index]} for index in best],
        "model": dict(prediction.model),
    }
    return json.dumps(answer, allow_nan=False), _JSON


# --- loading ----------------------------------------------------------------------------------------------------------


def _thread_limit() -> dict[str, int]:
    asked = os.environ.get(_THREADS, "")
    return {_THREADS: int(asked)} if asked.isdigit() and int(asked) > 0 else {}


def _read_meta(folder: Path) -> dict[str, Any]:
    try:
        meta: dict[str, Any] = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadModel(f"{folder} has no readable meta.json: {error}") from error
    if not isinstance(meta, dict) or meta.get("checksum") != checksum_of(meta):
        raise BadModel(f"{folder}: meta.json is not the file that training saved (its checksum differs)")
    missing = {"classes", "preprocessing", "backbone", "data_digest", "files", "graph"} - meta.keys()
    if missing:
        raise BadModel(f"{folder}: meta.json has no {', '.join(sorted(missing))}")
    return meta


def _check_files(folder: Path, files: Mapping[str, str]) -> None:
    for name in _CHECKED:
        path = folder / name
        if name not in files or not path.is_file():
            raise BadModel(f"{folder}: {name} is missing from the folder or from meta.json")
        if sha256_of(path) != files[name]:
            raise BadModel(f"{folder}: {name} is not the file that training saved (its sha256 differs from meta.json)")
