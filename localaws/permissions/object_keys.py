"""What a request to S3 needs of the key of KMS that its object is, or will be, sealed with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from localaws.kms import sealing
from localaws.kms.keys import Key
from localaws.permissions.asking import Place, Resource, Wanted
from localaws.permissions.operations import Operation

_SEALING = {"PutObject", "CopyObject", "CreateMultipartUpload"}
_OF_PARTS = {"UploadPart", "UploadPartCopy", "CompleteMultipartUpload"}
_OPENING = {"GetObject", "SelectObjectContent", "GetObjectAttributes"}
_ENCRYPTION, _KEY = "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id"


def wanted_of_keys(operation: Operation, headers: Mapping[str, str], place: Place) -> Iterator[Wanted]:
    """Return what the operation itself needs; the source of a copy is asked for by `wanted_to_open`."""
    given, where = operation.parameters, (place.account_id, place.region)
    bucket, name = str(given.get("Bucket", "")), str(given.get("Key", ""))
    if operation.name in _SEALING:
        key = sealing.key_for_new(*where, bucket, headers.get(_ENCRYPTION), headers.get(_KEY))
        yield from _wanted(sealing.SEAL, key, bucket, name, place)
    elif operation.name in _OF_PARTS:
        key = sealing.key_of_upload(*where, bucket, str(given.get("UploadId", "")))
        yield from _wanted(sealing.OPEN, key, bucket, name, place)
    elif operation.name in _OPENING or (operation.name == "HeadObject" and "x-amz-checksum-mode" in headers):
        yield from wanted_to_open(bucket, name, place, str(given.get("VersionId") or ""))


def wanted_to_open(bucket: str, name: str, place: Place, version: str = "") -> Iterator[Wanted]:
    """Return what reading an object needs; each version has a key of its own, and without one the newest counts."""
    key = sealing.key_of_object(place.account_id, place.region, bucket, name, version)
    yield from _wanted(sealing.OPEN, key, bucket, name, place)


def _wanted(action: str, key: Key | None, bucket: str, name: str, place: Place) -> Iterator[Wanted]:
    if key is not None and not key.is_aws_managed:
        values = sealing.circumstances(place.region, place.account_id, bucket, name)
        yield Wanted(action, Resource("key", key.arn), values)
