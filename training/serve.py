"""Serve a saved model: the four handlers of SageMaker's PyTorch inference contract, on an OpenVINO graph without torch.

model.tar.gz contains this file as `code/inference.py`, with `preprocess.py`, `graphs.py` and the folder `pictures`
beside it. Call `model_fn` once in a process; many threads may use the predictor it returns. A response gives a
probability for every class, in class order. The environment variable INFERENCE_NUM_THREADS limits the threads that
compute a request; the default is all cores. KENNEL_MAX_IMAGE_PIXELS and KENNEL_MAX_IMAGE_BYTES limit a picture.
"""

import functools
import json
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

if __package__:
    from training.graphs import checksum_of, has_bf16, import_openvino, require_allowed, sha256_of
    from training.pictures import BadPicture, PictureLimits
    from training.preprocess import Preprocessing, load_for_evaluation
else:  # code/inference.py of a model imports the files beside it, even where this package is installed
    from graphs import (  # type: ignore[import-not-found, no-redef]
        checksum_of,
        has_bf16,
        import_openvino,
        require_allowed,
        sha256_of,
    )
    from pictures import BadPicture, PictureLimits  # type: ignore[import-not-found, no-redef]
    from preprocess import Preprocessing, load_for_evaluation  # type: ignore[import-not-found, no-redef]

try:  # AWS's inference image responds with 500 to every exception that is not of this class
    from sagemaker_inference.errors import BaseInferenceToolkitError as _ErrorBase  # type: ignore[import-not-found]
except ImportError:
    _ErrorBase = ValueError

_IMAGE_TYPES = (
    *("image/jpeg", "image/jpg", "image/png", "image/webp", "image/gif", "image/bmp", "image/x-ms-bmp", "image/tiff"),
    *("image/x-portable-anymap", "image/x-portable-graymap", "image/x-portable-pixmap", "image/jp2", "image/heic"),
    *("image/heif", "image/avif", "application/x-image"),
)
_JSON = "application/json"
_TOP_CLASSES = 5
_PICTURES = ("__init__", "colour", "decode", "headers", "isolation", "limits", "tiff_header", "wide")
CODE = ("inference.py", "preprocess.py", "graphs.py", *(f"pictures/{name}.py" for name in _PICTURES))
SOURCES = {"inference.py": "serve.py"}
"""The file of this package that a file of a model's code is a copy of, where it has another name."""
_CHECKED = ("graph.xml", "graph.bin", "code/inference.py", "code/preprocess.py", "code/graphs.py")
"""What a model of any release has; what else its meta.json names below code/ is checked too."""
_PRECISIONS = ("bf16", "f32")
_WORD = re.compile(r"[A-Za-z0-9.:_/-]{1,100}")
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
class Meta:
    """What serving takes from a model's meta.json, each member checked: the file may be of anyone."""

    classes: tuple[str, ...]
    preprocessing: Preprocessing
    backbone: str
    data_digest: str
    precision: str
    files: Mapping[str, str]

    @staticmethod
    def from_json(content: Mapping[str, Any]) -> "Meta":
        """Build it from the content of meta.json.

        Raises:
            ValueError: a member is missing, or has a value that is not allowed; the message names it.
        """
        missing = {"classes", "preprocessing", "backbone", "data_digest", "files", "graph"} - content.keys()
        if missing:
            raise ValueError(f"there is no {', '.join(sorted(missing))}")
        files, graph = content["files"], content["graph"]
        require_allowed(_are_texts(files), "files", files, "an object that has the sha256 of each file by its name")
        precision = graph.get("precision") if isinstance(graph, dict) else None
        allowed = f"an object whose precision is {' or '.join(_PRECISIONS)}"
        require_allowed(precision in _PRECISIONS, "graph", graph, allowed)
        return Meta(
            classes=_classes(content["classes"]),
            preprocessing=Preprocessing.from_json(content["preprocessing"]),
            backbone=_word("backbone", content["backbone"]),
            data_digest=_word("data_digest", content["data_digest"]),
            precision=str(precision),
            files=files,
        )


@dataclass(frozen=True)
class Prediction:
    """The probabilities, (classes,) float32 in class order, with the labels and the model's description."""

    scores: npt.NDArray[np.float32]
    labels: tuple[str, ...]
    model: Mapping[str, str]


class Predictor:
    """A compiled graph and its preprocessing; each thread uses its own OpenVINO inference request."""

    def __init__(self, compiled: Any, meta: Meta) -> None:
        self._compiled = compiled
        self._local = threading.local()
        self.threads = int(compiled.get_property(_THREADS))
        self.preprocessing = meta.preprocessing
        self.labels = meta.classes
        self.model = {"backbone": meta.backbone, "data_digest": meta.data_digest}

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
        BadModel: a file is missing, its sha256 is not the one in meta.json, a value of meta.json is not allowed, or the
            graph cannot be read or does not fit the classes and the crop; or a limit of pictures is no number.
    """
    folder = Path(model_dir)
    picture_limits()
    meta = _read_meta(folder)
    _check_files(folder, meta.files)
    openvino = import_openvino()
    core = openvino.Core()
    precision = "bf16" if meta.precision == "bf16" and has_bf16(core) else "f32"
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision, **_thread_limit()}
    try:
        graph = core.read_model(folder / "graph.xml")
        _require_fit(folder, graph, meta)
        compiled = core.compile_model(graph, "CPU", options)
    except RuntimeError as error:
        raise error if isinstance(error, BadModel) else BadModel(f"{folder}: graph.xml is unusable: {error}") from error
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
    try:
        picture_limits().require_bytes(len(body))
    except BadPicture as error:
        raise _refused(error) from error
    return bytes(body)


def predict_fn(data: bytes, model: Predictor) -> Prediction:
    """Decode the picture and classify it.

    Raises:
        BadInput: it is not a readable picture (422), or it has too many pixels (413).
    """
    try:
        image = load_for_evaluation(data, model.preprocessing, picture_limits())
    except BadPicture as error:
        raise _refused(error) from error
    return Prediction(model.probabilities(image), model.labels, model.model)


def _refused(error: BadPicture) -> BadInput:
    return BadInput(413 if error.is_too_large else 422, f"the picture cannot be used: {error}")


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


@functools.cache
def picture_limits() -> PictureLimits:
    """Return the limits of pictures that the environment sets.

    Raises:
        BadModel: a variable of the environment is no number.
    """
    try:
        return PictureLimits.from_environment(os.environ)
    except ValueError as error:
        raise BadModel(f"the environment cannot be used: {error}") from error


def _thread_limit() -> dict[str, int]:
    asked = os.environ.get(_THREADS, "")
    return {_THREADS: int(asked)} if asked.isdigit() and int(asked) > 0 else {}


def _read_meta(folder: Path) -> Meta:
    try:
        content = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        is_as_saved = isinstance(content, dict) and content.get("checksum") == checksum_of(content)
    except (OSError, ValueError, RecursionError) as error:
        raise BadModel(f"{folder} has no readable meta.json: {error}") from error
    if not is_as_saved:
        raise BadModel(f"{folder}: meta.json is not the file that training saved (its checksum differs)")
    try:
        return Meta.from_json(content)
    except ValueError as error:
        raise BadModel(f"{folder}: meta.json cannot be used: {error}") from error


def _classes(given: Any) -> tuple[str, ...]:
    """Return the names of the classes; their number is compared with the graph's outputs."""
    names = [each for each in given if isinstance(each, str)] if isinstance(given, list) else []
    is_fit = 0 < len(set(names)) == len(given) and all(each.strip() and _is_utf8(each) for each in names)
    require_allowed(is_fit, "classes", given, "a list of one or more names in UTF-8, each once and none blank")
    return tuple(given)


def _is_utf8(text: str) -> bool:
    return text.encode(errors="ignore").decode() == text


def _word(name: str, given: Any) -> str:
    is_fit = isinstance(given, str) and _WORD.fullmatch(given) is not None
    require_allowed(is_fit, name, given, "a text of 1 to 100 letters, digits, or . : _ / -")
    return str(given)


def _are_texts(given: Any) -> bool:
    return isinstance(given, dict) and all(isinstance(each, str) for each in given.values())


def _require_fit(folder: Path, graph: Any, meta: Meta) -> None:
    """Refuse a graph that takes other pictures than one of the crop's size, or gives other than a score a class."""
    side, classes = meta.preprocessing.crop, len(meta.classes)
    found = [str(port.partial_shape) for port in (*graph.inputs, *graph.outputs)]
    if found != [f"[1,{side},{side},3]", f"[1,{classes}]"]:
        wanted = f"[1,{side},{side},3] and [1,{classes}], for a crop of {side} px and {classes} classes"
        raise BadModel(f"{folder}: graph.xml has the shapes {' and '.join(found)[:200]}, not {wanted}")


def _check_files(folder: Path, files: Mapping[str, str]) -> None:
    for name in dict.fromkeys((*_CHECKED, *(each for each in files if each.startswith("code/")))):
        path = folder / name
        if name not in files or not path.is_file():
            raise BadModel(f"{folder}: {name} is missing from the folder or from meta.json")
        if sha256_of(path) != files[name]:
            raise BadModel(f"{folder}: {name} is not the file that training saved (its sha256 differs from meta.json)")
