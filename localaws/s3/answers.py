"""Answers to S3's most frequent requests, made of moto's state as moto's own responses make them, without its HTTP.

Only success is answered. Each function returns None for whatever else there is to say: moto says it, and nothing was
done by then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moto.s3.utils import ARCHIVE_STORAGE_CLASSES, user_settable_fields

from localaws.object_contents import CHECKSUMS, REPLACING, Content, GoneError, Staged
from localaws.s3.key_store import finished_by

CHECKSUM = "x-amz-checksum-"
METADATA = "x-amz-meta-"
SDK_ALGORITHM = "x-amz-sdk-checksum-algorithm"
_UNREAD = "UNSIGNED-PAYLOAD"  # what the front tells moto of the hash of a body that it checked
_HTML = ("content-type", "text/html; charset=utf-8")  # moto's answers without a body have it
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True)
class Answer:
    """An answer whose body, if any, is in memory or in one file."""

    status: int
    headers: list[tuple[str, str]]
    body: Content = b""


@dataclass(frozen=True)
class Target:
    """An object that a request names, and the request's headers by their names in lower case."""

    backend: Any
    bucket: Any
    key: str
    headers: Mapping[str, str] = field(default_factory=dict)


def put_object(target: Target, body: bytes | Staged) -> Answer | None:
    """Store an object; its conditions and the storing are one step.

    Raises:
        AwsError: the key of KMS that is to seal it does not exist or is disabled.
        OSError: there is no room for it.
    """
    headers, bucket = target.headers, target.bucket
    algorithm = _algorithm(headers)
    given = headers.get(CHECKSUM + algorithm.lower()) if algorithm else None
    if bucket.object_lock_enabled or bucket.notification_configuration is not None or (algorithm and not given):
        return None
    with REPLACING:
        if not _is_as_expected(target):
            return None
        with finished_by(lambda made: _finish(target, made, algorithm)):
            made = target.backend.put_object(bucket.name, target.key, body, storage="STANDARD", checksum_value=given)
    told = {CHECKSUM + algorithm.lower(): given} if algorithm and given else {}
    shown = {**told, **_shown(made), "content-length": "0"}
    return Answer(200, [*shown.items(), _HTML])


def _finish(target: Target, made: Any, algorithm: str | None) -> None:
    """Give a new object all that it has beside its content."""
    made.metadata.store.update(_metadata(target.headers))
    made.set_acl(target.bucket.acl)
    made.checksum_algorithm = algorithm
    target.backend.tagger.delete_all_tags_for_resource(made.arn)


def head_object(target: Target) -> Answer | None:
    """Describe an object."""
    key = _readable(target)
    if key is None:
        return None
    shown = {**key.metadata.store, **_shown(key), "accept-ranges": "bytes", **_checksum_of(key, target.headers)}
    return Answer(200, list(shown.items()))


def get_object(target: Target) -> Answer | None:
    """Return an object or a range of it; the content is opened, so that nobody disturbs its reading."""
    key = _readable(target)
    if key is None:
        return None
    version = {"x-amz-version-id": key.version_id} if key.version_id != "null" else {}
    checksum = _checksum_of(key, target.headers, is_whole=True)
    shown = {**version, **_shown(key), **checksum, **key.metadata.store, "accept-ranges": "bytes"}
    try:
        content = key.value
    except GoneError:
        return None
    return _ranged(shown, content, target.headers["range"]) if "range" in target.headers else _whole(shown, content)


def delete_object(target: Target) -> Answer | None:
    """Delete an object, or put a delete marker on it."""
    bucket = target.bucket
    if bucket.object_lock_enabled or bucket.notification_configuration is not None:
        return None
    _, about = target.backend.delete_object(bucket.name, target.key)
    return Answer(204, [*((f"x-amz-{name}", value) for name, value in about.items()), _HTML])


def _is_as_expected(target: Target) -> bool:
    """Return whether the object is, or is not, there as the request's conditions say."""
    wanted, excluded = target.headers.get("if-match"), target.headers.get("if-none-match")
    if wanted is None and excluded is None:
        return True
    there = target.backend.get_object(target.bucket.name, target.key)
    if wanted is not None and (there is None or wanted.replace('"', "") != there.etag.replace('"', "")):
        return False
    return excluded is None or (excluded == "*" and there is None)


def _algorithm(headers: Mapping[str, str]) -> str | None:
    """Return the algorithm of the checksum that came with the body, which was compared with it if it can be."""
    return headers.get(SDK_ALGORITHM) or next((each for each in CHECKSUMS if CHECKSUM + each.lower() in headers), None)


def _metadata(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what is kept of a request's headers and given with the object."""
    kept = {name: value for name, value in headers.items() if name.startswith(METADATA) or name in user_settable_fields}
    kept["x-amz-content-sha256"] = _UNREAD
    if "content-encoding" in kept:
        left = ",".join(each for each in kept.pop("content-encoding").split(",") if each != "aws-chunked")
        kept |= {"content-encoding": left} if left else {}
    return kept


def _readable(target: Target) -> Any:
    """Return the object if it is there, not archived, and its key of KMS is usable.

    Raises:
        AwsError: its key of KMS is not.
    """
    key = target.backend.get_object(target.bucket.name, target.key)
    if key is None or key.storage_class in ARCHIVE_STORAGE_CLASSES or key._expiry is not None:
        return None
    target.backend.require_opened(key)
    return key


def _shown(key: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in key.response_dict.items()}


def _checksum_of(key: Any, headers: Mapping[str, str], *, is_whole: bool = False) -> dict[str, str]:
    """Return the checksum, if it was asked for; of a whole object moto tells its kind and number of parts too."""
    if headers.get("x-amz-checksum-mode") != "ENABLED" or not key.checksum_algorithm:
        return {}
    is_of_parts = is_whole and key.checksum_type == "COMPOSITE"
    value = f"{key.checksum_value}-{key.checksum_parts}" if is_of_parts else key.checksum_value
    kind = {f"{CHECKSUM}type": key.checksum_type} if is_whole and key.checksum_type else {}
    return {CHECKSUM + key.checksum_algorithm.lower(): value, **kind}


def _whole(shown: dict[str, str], content: Content) -> Answer:
    return Answer(200, list(shown.items()), content)


def _ranged(shown: dict[str, str], content: Content, wanted: str) -> Answer | None:
    """Return one range; several, one that is none and one that is not there are left to moto."""
    found = _RANGE.fullmatch(wanted)
    if found is None or not any(found.groups()):
        return None
    size = len(content)
    first, last = (int(each) if each else None for each in found.groups())
    if first is None:
        begin, end = size - min(last or 0, size), size - 1
    else:
        begin, end = first, size - 1 if last is None else min(last, size - 1)
    if begin > end or (last == 0 and first is None):
        return None
    if begin > 0 or end < size - 1:
        shown = {name: value for name, value in shown.items() if not name.startswith(CHECKSUM)}
    length = {"content-length": str(end - begin + 1), "content-range": f"bytes {begin}-{end}/{size}"}
    return Answer(206, list({**shown, **length}.items()), content[begin : end + 1])
