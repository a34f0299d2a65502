"""S3's operations by IAM's names, which are others, and on what each decides.

Only what moto tells apart is here: an operation that it would carry out as another (`GET object?torrent` reads the
object, `DELETE bucket?analytics` deletes the bucket) is refused by name. DeleteObjects is decided for each object that
its body names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

from localaws.errors import AwsError
from localaws.permissions import stored
from localaws.permissions.asking import NO_RESOURCE, Place, Resource, Wanted
from localaws.permissions.object_keys import wanted_of_keys, wanted_to_open
from localaws.permissions.operations import Asked, Operation
from localaws.permissions.parameters import Unreadable
from localaws.permissions.s3_bodies import MANY, Deletion, deletions, replication_role, tags

_OF_A_KEY = {
    "GetObject": "GetObject",
    "HeadObject": "GetObject",
    "DeleteObject": "DeleteObject",
    "SelectObjectContent": "GetObject",
    "RestoreObject": "RestoreObject",
    "GetObjectAcl": "GetObjectAcl",
    "GetObjectAttributes": "GetObjectAttributes",
    "GetObjectLegalHold": "GetObjectLegalHold",
    "GetObjectTagging": "GetObjectTagging",
    "PutObjectTagging": "PutObjectTagging",
    "DeleteObjectTagging": "DeleteObjectTagging",
    "PutObjectAcl": "PutObjectAcl",
    "PutObjectLegalHold": "PutObjectLegalHold",
    "PutObjectRetention": "PutObjectRetention",
    "PutObject": "PutObject",
    "CopyObject": "PutObject",
    "UploadPart": "PutObject",
    "UploadPartCopy": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "AbortMultipartUpload": "AbortMultipartUpload",
    "ListParts": "ListMultipartUploadParts",
}
_OF_A_BUCKET = {
    "CreateBucket": "CreateBucket",
    "DeleteBucket": "DeleteBucket",
    "HeadBucket": "ListBucket",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "GetBucketLocation": "GetBucketLocation",
    "GetBucketPolicy": "GetBucketPolicy",
    "GetBucketPolicyStatus": "GetBucketPolicyStatus",
    "PutBucketPolicy": "PutBucketPolicy",
    "DeleteBucketPolicy": "DeleteBucketPolicy",
    "GetBucketAcl": "GetBucketAcl",
    "PutBucketAcl": "PutBucketAcl",
    "GetBucketTagging": "GetBucketTagging",
    "PutBucketTagging": "PutBucketTagging",
    "DeleteBucketTagging": "PutBucketTagging",
    "DeleteBucketWebsite": "DeleteBucketWebsite",
    "GetBucketWebsite": "GetBucketWebsite",
    "PutBucketWebsite": "PutBucketWebsite",
    "GetBucketCors": "GetBucketCORS",
    "PutBucketCors": "PutBucketCORS",
    "DeleteBucketCors": "PutBucketCORS",
    "GetBucketLogging": "GetBucketLogging",
    "PutBucketLogging": "PutBucketLogging",
    "GetBucketVersioning": "GetBucketVersioning",
    "PutBucketVersioning": "PutBucketVersioning",
    **dict.fromkeys(("GetBucketLifecycle", "GetBucketLifecycleConfiguration"), "GetLifecycleConfiguration"),
    **dict.fromkeys(("PutBucketLifecycle", "PutBucketLifecycleConfiguration"), "PutLifecycleConfiguration"),
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    **dict.fromkeys(("GetBucketNotification", "GetBucketNotificationConfiguration"), "GetBucketNotification"),
    **dict.fromkeys(("PutBucketNotification", "PutBucketNotificationConfiguration"), "PutBucketNotification"),
    "GetBucketAccelerateConfiguration": "GetAccelerateConfiguration",
    "PutBucketAccelerateConfiguration": "PutAccelerateConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    **dict.fromkeys(("PutPublicAccessBlock", "DeletePublicAccessBlock"), "PutBucketPublicAccessBlock"),
    "GetBucketEncryption": "GetEncryptionConfiguration",
    **dict.fromkeys(("PutBucketEncryption", "DeleteBucketEncryption"), "PutEncryptionConfiguration"),
    "GetBucketReplication": "GetReplicationConfiguration",
    **dict.fromkeys(("PutBucketReplication", "DeleteBucketReplication"), "PutReplicationConfiguration"),
    "GetBucketOwnershipControls": "GetBucketOwnershipControls",
    **dict.fromkeys(("PutBucketOwnershipControls", "DeleteBucketOwnershipControls"), "PutBucketOwnershipControls"),
    **dict.fromkeys(
        ("GetBucketInventoryConfiguration", "ListBucketInventoryConfigurations"), "GetInventoryConfiguration"
    ),
    "PutBucketInventoryConfiguration": "PutInventoryConfiguration",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
}
ACTIONS = {
    name: f"s3:{action}" for name, action in {**_OF_A_KEY, **_OF_A_BUCKET, "ListBuckets": "ListAllMyBuckets"}.items()
}
KNOWN = {*ACTIONS, MANY}
VERSIONED = {
    *("GetObject", "DeleteObject", "GetObjectAcl", "PutObjectAcl", "GetObjectTagging", "PutObjectTagging"),
    *("DeleteObjectTagging", "GetObjectAttributes"),
}
_NO_SOURCE = "Copy Source must mention the source bucket and key: sourcebucket/sourcekey"
_OVER_RETENTION = {"DeleteObject", "PutObjectRetention"}
_CREATING = {"PutObject", "CopyObject", "CreateMultipartUpload"}
_GRANTS = ("acl", "grant-full-control", "grant-read", "grant-read-acp", "grant-write", "grant-write-acp")
_HOLDS = {"object-lock-legal-hold": "PutObjectLegalHold", "object-lock-retain-until-date": "PutObjectRetention"}


def wanted_of(operation: Operation, asked: Asked, place: Place) -> Iterator[Wanted]:
    """Return what a request for one of the operations that are KNOWN needs.

    Raises:
        Unreadable: the source of a copy is no path.
        AwsError: MalformedXML, of a body that tells what is needed; InvalidArgument, of a source that names no object.
    """
    headers = asked.headers
    if operation.name == MANY:
        for every in wanted_by_object(operation, asked, place):
            yield from every
        return
    action = ACTIONS[operation.name]
    if operation.name == "ListBuckets":
        yield Wanted(action, NO_RESOURCE)
        return
    bucket, key = str(operation.parameters.get("Bucket", "")), str(operation.parameters.get("Key", ""))
    if operation.name in _OF_A_BUCKET:
        target = Resource("bucket", f"arn:{place.partition}:s3:::{bucket}")
        yield Wanted(action, target)
        yield from _with_a_bucket(operation, headers, target)
        if operation.name == "PutBucketReplication" and (passed := replication_role(asked.body)):
            yield Wanted("iam:PassRole", Resource("role", passed), {"iam:passedtoservice": ["s3.amazonaws.com"]})
        return
    target = _object(bucket, key, place, str(operation.parameters.get("VersionId") or ""))
    yield Wanted(_versioned(action, target.version), target)
    if operation.name in _OVER_RETENTION:
        yield from _over_retention(headers, target)
    if operation.name == "GetObjectAttributes":
        yield Wanted(_versioned("s3:GetObject", target.version), target)
    if operation.name in _CREATING:
        yield from _with_an_object(headers, target)
    yield from wanted_of_keys(operation, headers, place)
    if source := operation.parameters.get("CopySource"):
        yield from _of_a_source(str(source), headers, place, target)


def wanted_by_object(operation: Operation, asked: Asked, place: Place) -> list[tuple[Wanted, ...]]:
    """Return what each object of a DeleteObjects needs, in the body's order.

    Raises:
        AwsError: MalformedXML.
    """
    bucket = str(operation.parameters.get("Bucket", ""))
    return [tuple(_deleting(bucket, each, asked.headers, place)) for each in deletions(asked.body)]


def object_tags(operation: Operation, asked: Asked) -> dict[str, str]:
    """Return the tags that a request gives an object: of PutObjectTagging in its body, else in a header.

    Raises:
        AwsError: MalformedXML.
    """
    if operation.name == "PutObjectTagging":
        return tags(asked.body)
    if operation.name not in _CREATING:
        return {}
    pairs = parse_qs(asked.headers.get("x-amz-tagging", ""), keep_blank_values=True)
    return {name: values[0] for name, values in pairs.items()}


def _deleting(bucket: str, given: Deletion, headers: Mapping[str, str], place: Place) -> Iterator[Wanted]:
    target = _object(bucket, given.key, place, given.version_id or "")
    values = {"s3:versionid": [given.version_id]} if given.version_id else {}
    yield Wanted(_versioned("s3:DeleteObject", given.version_id), target, values)
    yield from _over_retention(headers, target)


def _over_retention(headers: Mapping[str, str], target: Resource) -> Iterator[Wanted]:
    """Return what a request needs that asks to be carried out in spite of a retention in governance mode."""
    if headers.get("x-amz-bypass-governance-retention", "").lower() == "true":
        yield Wanted("s3:BypassGovernanceRetention", target)


def _with_a_bucket(operation: Operation, headers: Mapping[str, str], bucket: Resource) -> Iterator[Wanted]:
    """Return what settings of a new bucket need."""
    if operation.name != "CreateBucket":
        return
    if _grants(headers):
        yield Wanted("s3:PutBucketAcl", bucket)
    if "x-amz-object-ownership" in headers:
        yield Wanted("s3:PutBucketOwnershipControls", bucket)
    if headers.get("x-amz-bucket-object-lock-enabled", "").lower() == "true":
        yield Wanted("s3:PutBucketObjectLockConfiguration", bucket)
        yield Wanted("s3:PutBucketVersioning", bucket)


def _with_an_object(headers: Mapping[str, str], target: Resource) -> Iterator[Wanted]:
    """Return what tags, grants and locks of a new object need."""
    if headers.get("x-amz-tagging"):
        yield Wanted("s3:PutObjectTagging", target)
    if _grants(headers):
        yield Wanted("s3:PutObjectAcl", target)
    yield from (Wanted(f"s3:{action}", target) for name, action in _HOLDS.items() if f"x-amz-{name}" in headers)


def _of_a_source(given: str, headers: Mapping[str, str], place: Place, target: Resource) -> Iterator[Wanted]:
    """Return what reading the source of a copy needs, and its tags where they are copied along."""
    try:
        parsed = urlparse(given)
    except ValueError:
        raise Unreadable("the source of the copy is no path") from None
    bucket, _, key = unquote(parsed.path).lstrip("/").partition("/")
    if not key:
        raise AwsError("InvalidArgument", _NO_SOURCE)
    version = parse_qs(parsed.query).get("versionId", [""])[0]
    source = _object(bucket, key, place, version)
    yield Wanted(_versioned("s3:GetObject", version), source)
    yield from wanted_to_open(bucket, key, place, version)
    is_part = "x-amz-copy-source-range" in headers or headers.get("x-amz-tagging-directive") == "REPLACE"
    if not is_part and stored.tags_of(source, place):
        yield Wanted(_versioned("s3:GetObjectTagging", version), source)
        yield Wanted("s3:PutObjectTagging", target)


def _grants(headers: Mapping[str, str]) -> bool:
    return any(headers.get(f"x-amz-{name}", "private") != "private" for name in _GRANTS)


def _versioned(action: str, version: Any) -> str:
    """Return the action on a version that is named, which is another: `GetObjectVersion`, `GetObjectVersionTagging`."""
    name = action.removeprefix("s3:")
    return f"s3:{name.replace('Object', 'ObjectVersion', 1)}" if version and name in VERSIONED else action


def _object(bucket: str, key: str, place: Place, version: str = "") -> Resource:
    return Resource("object", f"arn:{place.partition}:s3:::{bucket}/{key}", version)
