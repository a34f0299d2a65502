"""Condition keys of S3: each that the reference names for what localaws has is told, or is listed as not told."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from localaws.permissions import catalog
from localaws.permissions.operations import Asked
from localaws.permissions.questions import questions_of
from localaws.permissions.s3_actions import ACTIONS, VERSIONED
from localaws.policies.context import Values
from tests.localaws.permissions.sent import OBJECT, PLACE, UPLOAD, questions

WHOLE = {
    "ACL": "private",
    "IfNoneMatch": "*",
    "ObjectLockMode": "GOVERNANCE",
    "ObjectLockRetainUntilDate": datetime(2030, 1, 1, tzinfo=UTC),
    "ObjectLockLegalHoldStatus": "ON",
    "ServerSideEncryption": "aws:kms",
    "SSEKMSKeyId": "k",
    "SSECustomerAlgorithm": "AES256",
    "SSECustomerKey": "0" * 32,
    "StorageClass": "STANDARD_IA",
    "Tagging": "a=b",
    "WebsiteRedirectLocation": "/x",
}
GRANTED = {f"Grant{each}": "id=1" for each in ("FullControl", "Read", "ReadACP", "Write", "WriteACP")}
NEW = {**GRANTED, "CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}, "ObjectOwnership": "ObjectWriter"}
LISTED = {"Bucket": "b", "Prefix": "p", "Delimiter": "/", "MaxKeys": 5}
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("put_object", {**OBJECT, "Body": b"", **WHOLE}),
    ("copy_object", {**OBJECT, "CopySource": "b/k", "MetadataDirective": "COPY"}),
    ("create_bucket", {"Bucket": "b", **NEW}),
    ("list_objects_v2", LISTED),
    ("get_object", {**OBJECT, "VersionId": "v"}),
]
LOOKED_UP = {"aws:resourcetag/${tagkey}", "s3:buckettag/${tagkey}", "s3:existingobjecttag/<key>"}
IN_OTHER_TESTS = LOOKED_UP | {"s3:requestobjecttag/<key>", "s3:signatureage", "s3:tlsversion", "s3:if-match"}
NOT_TOLD = {
    "aws:requesttag/${tagkey}",
    "aws:tagkeys",
    *(f"s3:accesspoint{each}" for each in ("networkorigin", "tag/${tagkey}")),
    *("s3:accessgrantsinstancearn", "s3:dataaccesspointaccount", "s3:dataaccesspointarn"),
    *("s3:inventoryaccessibleoptionalfields", "s3:isreplicationpauserequest", "s3:x-amz-bucket-namespace"),
    "s3:object-lock-remaining-retention-days",
}
"""Of access points and grants, which localaws does not have; of tags of buckets, which it does not take at once."""


def keys_of_reference() -> Iterator[str]:
    versioned = {ACTIONS[each].replace("Object", "ObjectVersion", 1) for each in VERSIONED}
    for name in {*ACTIONS.values(), *versioned, "s3:BypassGovernanceRetention"}:
        action = catalog.find(name)
        yield from (key.lower() for use in (action.uses if action else ()) for key in use.keys)


def told(key: str) -> Values | None:
    every = (each for operation, given in REQUESTS for each in questions("s3", operation, **given))
    return next((found for each in every if (found := each.context.get(key)) is not None), None)


def test_each_key_of_the_reference_is_told_or_is_listed_as_one_that_is_not() -> None:
    named = {*keys_of_reference()}
    left_out = {key for key in named if told(key) is None}
    assert left_out - IN_OTHER_TESTS == NOT_TOLD & named


@pytest.mark.parametrize(
    ("operation", "more", "expected"),
    [
        ("put_object", {"Body": b""}, "true"),
        ("create_multipart_upload", {}, "false"),
        ("upload_part", {**UPLOAD, "Body": b""}, "false"),
        ("complete_multipart_upload", {"UploadId": "u"}, "true"),
    ],
)
def test_whether_an_object_is_made_is_a_key(operation: str, more: dict[str, Any], expected: str) -> None:
    asked = questions("s3", operation, **OBJECT, **more)[0]
    assert asked.context.get("s3:objectcreationoperation") == [expected]


def presigned(query: str) -> Asked:
    return Asked("s3", "GET", "/b/k", query, {"host": "127.0.0.1"})


def test_the_age_of_a_signature_is_that_of_a_url_only() -> None:
    header = questions("s3", "get_object", **OBJECT)[0]
    assert header.context.get("s3:signatureage") is None
    query = f"X-Amz-Date={datetime.now(UTC):%Y%m%dT%H%M%SZ}&X-Amz-Signature=0"
    (asked,) = questions_of(presigned(query), PLACE)
    (age,) = asked.context.get("s3:signatureage") or ["-1"]
    assert 0 <= int(age) < 60_000
    (old,) = questions_of(presigned("AWSAccessKeyId=a&Signature=0&Expires=9"), PLACE)
    assert old.context.get("s3:signatureage") == ["0"]
