"""Finds a model's `inference.py` and calls its functions as the sagemaker-inference-toolkit does.

`model_fn(model_dir)` once; then per request `input_fn(data, content_type)`, `predict_fn(data, model)`,
`output_fn(prediction, accept)`, or `transform_fn(model, data, content_type, accept)` in place of the three. Each may
take a `context` as one argument more. What is missing has the toolkit's default.
Source: github.com/aws/sagemaker-inference-toolkit, `transformer.py` and `default_inference_handler.py`.
"""

import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from localaws.sagemaker.model_server import codec

Function = Callable[..., Any]


class HandlersRefused(Exception):
    """The model's code cannot be served; the message says why."""


@dataclass
class Context:
    """What a handler that asks for it learns of its instance and request, and may add to the answer."""

    system_properties: Mapping[str, Any]
    request_headers: Mapping[str, str] = field(default_factory=dict)
    response_headers: dict[str, str] = field(default_factory=dict)

    def get_request_header(self, _index: int, key: str) -> str | None:
        """Return a request header; names are in lower case."""
        return self.request_headers.get(key.lower())

    def set_response_header(self, _index: int, key: str, value: str) -> None:
        """Add a header to the answer."""
        self.response_headers[key] = value


@dataclass(frozen=True)
class Answer:
    """A body and its content type, with the headers that a handler added."""

    body: bytes
    content_type: str
    headers: Mapping[str, str]


class Handlers:
    """A model with its functions. Making one imports the code; `load` reads the model."""

    def __init__(self, module: ModuleType, model_dir: Path) -> None:
        found = {name: getattr(module, name, None) for name in ("model_fn", "input_fn", "predict_fn", "output_fn")}
        self._transform = getattr(module, "transform_fn", None)
        if self._transform and any(found[name] for name in ("input_fn", "predict_fn", "output_fn")):
            raise HandlersRefused(
                "Cannot use transform_fn implementation in conjunction with input_fn, predict_fn, and/or output_fn "
                "implementation"
            )
        self._model_fn = _taking(found["model_fn"] or _default_model_fn, 1)
        self._run = _taking(self._transform, 4) if self._transform else _three_steps(found)
        self._properties = {"model_dir": str(model_dir), "gpu_id": None}
        self._model_dir = model_dir
        self._model: Any = None

    def load(self) -> None:
        """Call `model_fn`; whatever it raises comes through."""
        self._model = self._model_fn(Context(self._properties), str(self._model_dir))

    def answer(self, data: bytes, content_type: str, accept: str, headers: Mapping[str, str]) -> Answer:
        """Return the answer to one request; what a handler raises comes through. Thread-safe if the handlers are."""
        context = Context(self._properties, headers)
        text = codec.base_type(content_type) in codec.UTF8_TYPES
        result = self._run(context, self._model, _utf8(data) if text else data, content_type, accept)
        body, kind = result if isinstance(result, tuple) else (result, accept)
        return Answer(_to_bytes(body), kind, context.response_headers)


def find_code(model_dir: Path, program: str, submit_directory: str) -> Path:
    """Return the path of the model's script: in `submit_directory`, else `code/`, else at the top of the artefact.

    Raises:
        HandlersRefused: there is none, or the name leaves the artefact.
    """
    inside = submit_directory.removeprefix("/opt/ml/model").lstrip("/")
    folders = dict.fromkeys([inside, "code", ""])
    for folder in folders:
        script = (model_dir / folder / program).resolve()
        if script.is_file() and script.is_relative_to(model_dir.resolve()):
            return script
    tried = ", ".join(str(Path(folder) / program) for folder in folders)
    raise HandlersRefused(f"model.tar.gz has no inference script; looked for {tried}")


def check_requirements(folder: Path) -> None:
    """Compare `requirements.txt`, if there is one, with what is installed: nothing is ever installed here.

    Raises:
        HandlersRefused: a requirement is not satisfied.
    """
    path = folder / "requirements.txt"
    if not path.is_file():
        return
    from packaging.requirements import InvalidRequirement, Requirement

    for line in path.read_text(encoding="utf-8").splitlines():
        wanted = line.partition("#")[0].partition(" --hash=")[0].strip()
        if wanted.startswith("--"):
            continue  # where pip would look, and here nothing is installed
        try:
            requirement = Requirement(wanted) if wanted else None
        except InvalidRequirement as error:
            raise HandlersRefused(f"requirements.txt: {wanted!r} is not a requirement: {error}") from error
        if requirement and (not requirement.marker or requirement.marker.evaluate()):
            installed = _version(requirement.name)
            if installed is None or not requirement.specifier.contains(installed, prereleases=True):
                raise HandlersRefused(
                    f"requirements.txt requires {wanted}; here it is {installed or 'missing'} and cannot be installed"
                )


def import_script(script: Path) -> ModuleType:
    """Import the script with its folder first on the path; whatever it raises comes through."""
    sys.path.insert(0, str(script.parent))
    specification = importlib.util.spec_from_file_location(script.stem, script)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[script.stem] = module
    specification.loader.exec_module(module)
    return module


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _taking(function: Function, count: int) -> Function:
    """Return `function` as one that takes the context first and passes it on only where it is asked for."""
    takes = len(inspect.signature(function).parameters)
    if takes == count:
        return lambda _context, *values: function(*values)
    if takes == count + 1:
        return lambda context, *values: function(*values, context)
    raise HandlersRefused(
        f"{function.__name__} definition takes {count} or {count + 1} arguments but {takes} were given."
    )


def _three_steps(found: Mapping[str, Any]) -> Function:
    read = _taking(found["input_fn"] or codec.decode, 2)
    predict = _taking(found["predict_fn"] or _default_predict_fn, 2)
    write = _taking(found["output_fn"] or codec.encode, 2)

    def run(context: Context, model: Any, data: str | bytes, content_type: str, accept: str) -> Any:
        return write(context, predict(context, read(context, data, content_type), model), accept)

    return run


def _default_model_fn(model_dir: str) -> Any:
    raise NotImplementedError(f"Please provide a model_fn implementation. (the artefact is in {model_dir})")


def _default_predict_fn(data: Any, model: Any) -> Any:
    raise NotImplementedError(
        f"Please provide a predict_fn implementation. ({type(model).__name__}, {type(data).__name__})"
    )


def _utf8(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise codec.Undecodable(f"the body is not UTF-8: {error}") from error


def _to_bytes(body: Any) -> bytes:
    if isinstance(body, str):
        return body.encode()
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    raise TypeError(f"output_fn returned {type(body).__name__}: it must return str, bytes or (body, content type)")
