"""The toolkit's default `input_fn` and `output_fn`: JSON, CSV and NPY to and from numpy arrays."""

import io
import json
from typing import Any

JSON = "application/json"
CSV = "text/csv"
NPY = "application/x-npy"
UTF8_TYPES = frozenset({JSON, CSV})  # handed to input_fn as str, everything else as bytes


class UnsupportedFormat(ValueError):
    """A content type that the default handlers cannot read (415) or write (406)."""

    def __init__(self, content_type: str, status_code: int) -> None:
        super().__init__(f"Content type {content_type} is not supported by this framework.")
        self.status_code = status_code
        self.code = "UnsupportedMediaType" if status_code == 415 else "NotAcceptable"


class Undecodable(ValueError):
    """The body is not what its content type says."""

    status_code = 400
    code = "BadRequest"


def base_type(content_type: str) -> str:
    """Return the media type without parameters, in lower case: `text/csv` of `Text/CSV; charset=utf-8`."""
    return content_type.partition(";")[0].strip().lower()


def decode(data: str | bytes, content_type: str) -> Any:
    """Return the array that a body holds.

    Raises:
        UnsupportedFormat: neither JSON, CSV nor NPY.
        Undecodable: the body is not of its type.
    """
    import numpy

    kind = base_type(content_type)
    if kind not in {JSON, CSV, NPY}:
        raise UnsupportedFormat(content_type, 415)
    text = data if isinstance(data, str) else ""
    raw = data if isinstance(data, bytes) else data.encode()
    try:
        if kind == JSON:
            return numpy.array(json.loads(text))
        if kind == CSV:
            return numpy.genfromtxt(io.StringIO(text), dtype=numpy.float32, delimiter=",")
        return numpy.load(io.BytesIO(raw), allow_pickle=False)
    except (ValueError, EOFError, RecursionError) as error:
        raise Undecodable(f"the body is not {kind}: {error}") from error


def encode(prediction: Any, accept: str) -> str | bytes:
    """Return a prediction (array or nested list) as a body of type `accept`.

    Raises:
        UnsupportedFormat: `accept` is neither JSON, CSV nor NPY.
    """
    import numpy

    kind = base_type(accept)
    if kind == JSON:
        return json.dumps(prediction, default=_plain)
    if kind == CSV:
        lines = io.StringIO()
        numpy.savetxt(lines, numpy.atleast_1d(numpy.asarray(prediction)), delimiter=",", fmt="%s")
        return lines.getvalue()
    if kind == NPY:
        buffer = io.BytesIO()
        numpy.save(buffer, numpy.asarray(prediction), allow_pickle=False)
        return buffer.getvalue()
    raise UnsupportedFormat(accept, 406)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
