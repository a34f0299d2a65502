"""S3's objects that a service reads or writes in its caller's name, who has to be allowed to do so.

Sources: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateExportTask.html and, of code,
https://github.com/awslabs/lambda-streams-to-firehose/issues/21
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from localaws.permissions.asking import Place, Resource, Wanted
from localaws.permissions.object_keys import wanted_to_open
from localaws.permissions.operations import Operation

_TEST_OF_WRITING = "aws-logs-write-test"  # which is written first


def used_by(operation: Operation, place: Place) -> Iterator[Wanted]:
    """Return what a request needs of S3, and of the key of KMS that an object is sealed with."""
    given = operation.parameters
    if operation.service == "lambda":
        for each in (given, given.get("Code"), given.get("Content")):  # of new code, a new function, a new layer
            if isinstance(each, Mapping) and each.get("S3Bucket"):
                bucket, key = str(each["S3Bucket"]), str(each.get("S3Key", ""))
                version = str(each.get("S3ObjectVersion") or "")
                yield _object("s3:GetObjectVersion" if version else "s3:GetObject", bucket, key, place, version)
                yield from wanted_to_open(bucket, key, place, version)
    elif operation.service == "logs" and operation.name == "CreateExportTask":
        prefix = str(given.get("destinationPrefix") or "exportedlogs")
        for key in (_TEST_OF_WRITING, f"{prefix}/*"):
            yield _object("s3:PutObject", str(given.get("destination", "")), key, place)


def _object(action: str, bucket: str, key: str, place: Place, version: str = "") -> Wanted:
    return Wanted(action, Resource("object", f"arn:{place.partition}:s3:::{bucket}/{key}", version))
