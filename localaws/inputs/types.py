"""Checks that the values of a request are of their members' types, as a service does that reads it.

The JSON services' refusal is SerializationException; the others write everything as text, of which numbers and
booleans have to be such. Sources: the answers of DynamoDB and Lambda, e.g. github.com/aws/aws-sdk-js/issues/2103;
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html (InvalidArgument);
https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html (MalformedInput is XML services').
"""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

_JAVA = {
    "string": "String",
    "integer": "Integer",
    "long": "Long",
    "float": "Float",
    "double": "Double",
    "boolean": "Boolean",
    "blob": "ByteBuffer",
    "timestamp": "Date",
}
_NUMBERS = ("integer", "long", "float", "double")
_COLLECTIONS = ("structure", "list", "map")


class NotOfItsType(ValueError):
    """A value that is not of its member's type; the message is AWS's for JSON. `path`: where it is."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


def check_type(shape: Any, value: Any, path: str, *, is_text: bool) -> None:
    """Check a value against a shape. `is_text`: numbers, booleans and moments are written as text.

    Null is a member of a structure that is not given; a list or map has none (Smithy calls those that may "sparse",
    and no service here has any): https://smithy.io/2.0/spec/type-refinement-traits.html#sparse-trait

    Raises:
        NotOfItsType: it, or something in it, is of another type.
    """
    kind = shape.type_name
    if getattr(shape, "is_document_type", False):
        return
    if value is None:
        raise NotOfItsType(path, f"Null value found where {kind} was expected.")
    if kind not in _COLLECTIONS:
        _check_scalar(kind, value, path, is_text=is_text)
    elif kind == "structure" and isinstance(value, dict):
        for name, each in value.items():
            if name in shape.members and each is not None:
                check_type(shape.members[name], each, f"{path}.{name}", is_text=is_text)
    elif kind == "list" and isinstance(value, list):
        for number, each in enumerate(value, 1):
            check_type(shape.member, each, f"{path}.{number}", is_text=is_text)
    elif kind == "map" and isinstance(value, dict):
        for name, each in value.items():
            check_type(shape.value, each, f"{path}.{name}", is_text=is_text)
    elif not (kind == "map" and is_text):  # a form's maps are lists of pairs, which are read by moto only
        raise NotOfItsType(path, _not_a(kind, value))


def without_nulls(body: bytes) -> bytes:
    """Return a JSON document without the members that are null: they are not given, and moto takes null for a value."""
    if b"null" not in body:
        return body
    with contextlib.suppress(ValueError):  # it is no JSON
        return json.dumps(_given(json.loads(body))).encode()
    return body


def _given(document: Any) -> Any:
    if isinstance(document, list):
        return [_given(each) for each in document]
    if not isinstance(document, dict):
        return document
    return {name: _given(each) for name, each in document.items() if each is not None}


def _check_scalar(kind: str, value: Any, path: str, *, is_text: bool) -> None:
    if isinstance(value, (dict, list)):
        raise NotOfItsType(path, _not_a(kind, value))
    is_right = {
        "string": isinstance(value, str),
        "blob": isinstance(value, str),
        "boolean": isinstance(value, bool),
        "timestamp": isinstance(value, (int, float, str)) and not isinstance(value, bool),
    }.get(kind, isinstance(value, (int, float)) and not isinstance(value, bool))
    if is_text and isinstance(value, str):
        is_right = _is_written(kind, value)
    if kind in ("integer", "long") and isinstance(value, float):
        is_right = value.is_integer()
    if not is_right:
        article = "an" if kind == "integer" else "a"
        raise NotOfItsType(path, f"{_token(value)} can not be converted to {article} {_JAVA[kind]}")


def _is_written(kind: str, text: str) -> bool:
    if kind == "boolean":
        return text.lower() in ("true", "false")
    if kind in _NUMBERS:
        with contextlib.suppress(ValueError):
            return (int if kind in ("integer", "long") else float)(text) is not None
        return False
    return True


def _token(value: Any) -> str:
    if isinstance(value, bool):
        return f"{str(value).upper()}_VALUE"
    return "STRING_VALUE" if isinstance(value, str) else "DECIMAL_VALUE" if isinstance(value, float) else "NUMBER_VALUE"


def _not_a(kind: str, value: Any) -> str:
    if isinstance(value, list):
        return "Start of list found where not expected"
    if isinstance(value, Mapping):
        return "Start of structure or map found where not expected."
    return "Unexpected field type" if kind == "structure" else f"Expected {kind} or null"
