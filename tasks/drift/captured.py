"""Reads the photos and answers that a run's endpoint kept in S3 (SageMaker's data capture), and deletes old ones.

The photos are of anybody: sizes and numbers are bounded, nothing is decoded here, and a line that is no such record is
counted and left out. Objects lie in folders by the hour (UTC) in which their first request was answered.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tasks.account.objects import StoredObject, delete_prefix, list_objects, read_object
from tasks.account.role_policies import captured_prefix
from tasks.run.aws import Aws
from tasks.run.record_store import write_atomically
from tasks.run.sealed import parse_json
from tasks.run.waiting import say

MOST_PHOTOS = 1000
MOST_OBJECT_BYTES = 256 * 2**20
MOST_BYTES = 2**30  # of all photos
_HOUR = re.compile(r"(?P<folder>.*/(?P<hour>\d{4}/\d\d/\d\d/\d\d)/)[^/]+\.jsonl")
UNUSABLE = (ValueError, TypeError, LookupError)
"""What `photo_of` raises of a line that tells of no photo."""


@dataclass(frozen=True)
class CapturedPhoto:
    """A photo that the endpoint was asked about, the class that it answered and that class's probability."""

    sha256: str
    label: str
    confidence: float
    answered: datetime


@dataclass(frozen=True)
class Captured:
    """The distinct `photos` of so many `requests`; `unusable` lines were no records of a photo and its answer."""

    photos: tuple[CapturedPhoto, ...]
    requests: int
    unusable: int


def read_captured(
    aws: Aws, bucket: str, prefix: str, classes: Sequence[str], folder: Path, *, since: datetime, until: datetime
) -> Captured:
    """Write the photos of a window of time into a folder, each as its sha256, and return what is known of them.

    The newest come first, each distinct photo counts once, and reading ends at `MOST_PHOTOS` photos or `MOST_BYTES`.
    `prefix` is of one variant of the endpoint.

    Raises:
        AwsFailed: S3 refused, or did not answer.
        DiskFailed: a photo cannot be written.
    """
    found: dict[str, CapturedPhoto] = {}
    requests = unusable = size_bytes = 0
    for line in _lines(aws, bucket, prefix, since, until):
        try:
            photo, content = photo_of(line, classes)
        except UNUSABLE:
            unusable += 1
            continue
        if not since <= photo.answered < until:
            continue
        requests += 1
        if photo.sha256 in found:
            continue
        size_bytes += len(content)
        if len(found) == MOST_PHOTOS or size_bytes > MOST_BYTES:
            break
        write_atomically(folder / photo.sha256, content)
        found[photo.sha256] = photo
    return Captured(tuple(found.values()), requests, unusable)


def photo_of(line: bytes, classes: Sequence[str] | None) -> tuple[CapturedPhoto, bytes]:
    """Return the photo that a line of a captured object tells of, and its bytes; `classes` None: of any classes.

    Raises:
        ValueError, TypeError, LookupError: it tells of none, or not of an answer about these classes.
    """
    record = parse_json(line)
    sent, answered = (record["captureData"][side] for side in ("endpointInput", "endpointOutput"))
    content, answer = _bytes_of(sent), parse_json(_bytes_of(answered))
    scores = dict(zip(answer["labels"], map(float, answer["scores"]), strict=True))
    if (classes is not None and scores.keys() != set(classes)) or not all(0 <= score <= 1 for score in scores.values()):
        raise ValueError("the answer is not about the model's classes")
    label = max(scores, key=scores.__getitem__)
    moment = datetime.strptime(record["eventMetadata"]["inferenceTime"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return CapturedPhoto(hashlib.sha256(content).hexdigest(), label, scores[label], moment), content


def delete_captured(aws: Aws, bucket: str, run_id: str, *, before: datetime) -> int:
    """Delete what a run's endpoints kept in hours that ended before a moment, and return the number of objects.

    Raises:
        AwsFailed: S3 refused, or did not answer.
    """
    keys = list_objects(aws, bucket, f"{captured_prefix(run_id)}/")
    dated = [(key, hour) for key, hour in _by_hour(keys) if hour + timedelta(hours=1) <= before]
    folders = {found["folder"] for key, _ in dated if (found := _HOUR.fullmatch(key))}
    return sum(delete_prefix(aws, bucket, folder) for folder in sorted(folders))


def _lines(aws: Aws, bucket: str, prefix: str, since: datetime, until: datetime) -> Iterator[bytes]:
    """Yield the lines of the objects whose hour is in the window or just before it, the newest object first."""
    stored = list_objects(aws, bucket, f"{prefix}/")
    wanted = [key for key, hour in _by_hour(stored) if since - timedelta(hours=1) < hour < until]
    for key in sorted(wanted, reverse=True):
        yield from lines_of(aws, bucket, stored[key])


def lines_of(aws: Aws, bucket: str, stored: StoredObject) -> list[bytes]:
    """Return the lines of a captured object, none of one that is too large to read.

    Raises:
        AwsFailed: S3 refused, or did not answer.
    """
    if stored.size_bytes > MOST_OBJECT_BYTES:
        say(f"WARNING: s3://{bucket}/{stored.key} has {stored.size_bytes} bytes and is not read")
        return []
    return (read_object(aws, bucket, stored.key) or b"").splitlines()


def _by_hour(keys: Sequence[str] | dict[str, StoredObject]) -> Iterator[tuple[str, datetime]]:
    for key in keys:
        found = _HOUR.fullmatch(key)
        if found is not None:
            try:
                yield key, datetime.strptime(found["hour"], "%Y/%m/%d/%H").replace(tzinfo=UTC)
            except ValueError:
                continue  # no hour, so no object of data capture


def _bytes_of(side: dict[str, str]) -> bytes:
    data = side["data"]
    return base64.b64decode(data, validate=True) if side["encoding"] == "BASE64" else data.encode()
