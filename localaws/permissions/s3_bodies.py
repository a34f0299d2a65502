"""What the bodies of S3's requests say that IAM decides on, read as moto reads them when it carries them out.

Only a document that is as S3's reference has it is read: another name for an element, a list where one value is meant
or a second document is refused, so that nothing is decided on a part that moto does not look at.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.parsers.expat import ExpatError

from localaws.errors import AwsError
from localaws.permissions.operations import Operation

MANY = "DeleteObjects"
READING = "SelectObjectContent"  # which needs the same whatever its document says
MOST_KEYS = 1000  # of one DeleteObjects
_MALFORMED = "The XML you provided was not well-formed or did not validate against our published schema"


@dataclass(frozen=True)
class Deletion:
    """An object that a DeleteObjects names; `version_id` is empty where the body has none."""

    key: str
    version_id: str


def check(name: str, body: bytes | None) -> None:
    """Refuse a body that is no document of an operation's; what has none, and objects' contents, pass.

    Raises:
        AwsError: MalformedXML.
    """
    root, is_needed = _root_of(name)
    if root and (body or is_needed):
        _at(_read(body), root)


def has_document(name: str) -> bool:
    """Return whether an operation's body is a document."""
    return _root_of(name)[0] != ""


@functools.cache
def _root_of(name: str) -> tuple[str, bool]:
    """Return the name of the outermost element in an operation's body, and whether it has to have one."""
    from moto.core.utils import get_service_model

    shape: Any = get_service_model("s3").operation_model(name).input_shape
    payload = shape.serialization.get("payload") if shape is not None else None
    if payload is None:
        return (str(shape.serialization.get("name", "")) if shape is not None else ""), True
    member = shape.members[payload]
    is_document = member.type_name == "structure" and not member.serialization.get("eventstream")
    return (str(member.serialization.get("name", "")) if is_document else ""), payload in shape.required_members


def deletions(body: bytes | None) -> list[Deletion]:
    """Return the objects of a DeleteObjects in the body's order.

    Raises:
        AwsError: MalformedXML.
    """
    given = _at(_read(body, strips=False), "Delete").get("Object", [])
    every = given if isinstance(given, list) else [given]
    if not 0 < len(every) <= MOST_KEYS:
        raise _malformed()
    return [Deletion(_text(each, "Key"), _text(each, "VersionId", is_needed=False)) for each in every]


def tags(body: bytes | None) -> dict[str, str]:
    """Return the tags of a PutObjectTagging.

    Raises:
        AwsError: MalformedXML.
    """
    given = _at(_read(body), "Tagging").get("TagSet")
    found = [] if given is None else _at({"TagSet": given}, "TagSet").get("Tag", [])
    every = found if isinstance(found, list) else [found]
    return {_text(each, "Key"): _text(each, "Value", is_needed="Value" not in each) for each in every}


def values_of(operation: Operation, body: bytes | None) -> Mapping[str, str]:
    """Return the values of S3's condition keys (without the service) that an operation has in its body.

    Raises:
        AwsError: MalformedXML.
    """
    if operation.name not in _PLACES or not body:
        return {}
    outer, names = _PLACES[operation.name]
    found = _at(_read(body), outer)
    texts = {key: _text(found, name, is_needed=False) for key, name in names.items()}
    return {key: text for key, text in texts.items() if text}


def replication_role(body: bytes | None) -> str:
    """Return the ARN of the role that a PutBucketReplication passes, empty for none.

    Raises:
        AwsError: MalformedXML.
    """
    return _text(_at(_read(body), "ReplicationConfiguration"), "Role", is_needed=False)


_PLACES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "CreateBucket": ("CreateBucketConfiguration", {"locationconstraint": "LocationConstraint"}),
    "PutObjectLegalHold": ("LegalHold", {"object-lock-legal-hold": "Status"}),
    "PutObjectRetention": (
        "Retention",
        {"object-lock-mode": "Mode", "object-lock-retain-until-date": "RetainUntilDate"},
    ),
}


def _read(body: bytes | None, *, strips: bool = True) -> Mapping[str, Any]:
    import moto.s3.responses as moto_responses

    reader: Any = moto_responses
    try:
        found: Mapping[str, Any] = reader.xmltodict.parse(body or b"", strip_whitespace=strips)
    except (ExpatError, ValueError):  # of entities, which it refuses
        raise _malformed() from None
    return found


def _at(document: Any, name: str) -> Mapping[str, Any]:
    """Return the one element of a name; an empty one has nothing."""
    if not isinstance(document, Mapping) or name not in document:
        raise _malformed()
    found = document[name]
    if found is None or (isinstance(found, str) and not found.strip()):
        return {}
    if not isinstance(found, Mapping):
        raise _malformed()
    return found


def _text(document: Any, name: str, *, is_needed: bool = True) -> str:
    if not isinstance(document, Mapping):
        raise _malformed()
    found = document.get(name)
    if not isinstance(found, str) and (found is not None or is_needed):
        raise _malformed()
    return found or ""


def _malformed() -> AwsError:
    return AwsError("MalformedXML", _MALFORMED)
