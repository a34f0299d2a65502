"""List, read, put and delete objects in the project's bucket.

Each put carries a sha256 that S3 checks and stores. By it the content is compared later. A listing suffices where the
ETag is the md5: of objects of one part under SSE-S3. One put may hold 5 GiB; shards have about 32 MiB.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from tasks.account.encryption import encryption_of
from tasks.account.lookup import none_if_missing
from tasks.run.aws import Aws, transfer
from tasks.run.disk import disk_boundary
from tasks.run.errors import AwsFailed, MalformedAnswer, aws_boundary, error_code, is_not_found
from tasks.run.lost_answers import carried_out, repeated_if_lost
from tasks.run.own_files import APPEND, open_own
from tasks.run.progress import show_progress
from tasks.run.streamed import read_streamed, read_whole

WHERE = "storage"
_DELETE_BATCH = 1000
_PART_BYTES = 8 * 2**20
"""boto3's default: a file of at least this size is sent in parts of this size."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object in the bucket; `etag` has no quotes."""

    key: str
    size_bytes: int
    etag: str


@dataclass(frozen=True, slots=True)
class Content:
    """What an object should hold, with its digests in hex.

    The md5 is the ETag of what is encrypted with S3's own key; of what a key of KMS encrypts, S3's checksum tells.
    """

    size_bytes: int
    sha256: str
    md5: str

    @classmethod
    def of(cls, data: bytes) -> Content:
        """Return that of some bytes."""
        return cls(len(data), hashlib.sha256(data).hexdigest(), md5_hex(data))


def list_objects(aws: Aws, bucket: str, prefix: str) -> dict[str, StoredObject]:
    """Return all objects under a prefix, by key.

    Raises:
        AwsFailed: S3 refused a call, or did not answer.
    """
    pages = (
        aws.client("s3")
        .get_paginator("list_objects_v2")
        .paginate(Bucket=bucket, Prefix=prefix, ExpectedBucketOwner=aws.account_id)
    )
    with aws_boundary(WHERE):
        return {
            item["Key"]: StoredObject(item["Key"], item["Size"], item["ETag"].strip('"'))
            for page in pages
            for item in page.get("Contents", [])
        }


def read_object(aws: Aws, bucket: str, key: str) -> bytes | None:
    """Return an object's bytes, or None when it does not exist. It is held in memory, so it must be small.

    Raises:
        AwsFailed: S3 refused the call, or did not answer, or the bucket does not exist.
    """
    with aws_boundary(WHERE):
        try:
            asked = {"Bucket": bucket, "Key": key, "ExpectedBucketOwner": aws.account_id}
            return read_streamed(aws, "s3", "get_object", "Body", read_whole, **asked)[1]
        except ClientError as error:
            if is_not_found(error) and error_code(error) != "NoSuchBucket":
                return None
            raise


def put_object(aws: Aws, bucket: str, key: str, data: bytes, *, content_type: str, only_if_new: bool = False) -> None:
    """Put an object with encryption and checksums; with `only_if_new`, an existing object is not replaced.

    Raises:
        AwsFailed: S3 refused the object or did not answer, or the stored bytes differ from those that were sent.
    """
    checksum = base64.b64encode(hashlib.sha256(data).digest()).decode()
    request: dict[str, Any] = {
        "Bucket": bucket,
        "Key": key,
        "Body": data,
        "ContentType": content_type,
        "ChecksumSHA256": checksum,
        "ExpectedBucketOwner": aws.account_id,
        **encryption_of(aws, bucket).of_objects,
    }
    with aws_boundary(WHERE):
        try:
            new = {"IfNoneMatch": "*"} if only_if_new else {}
            answer = repeated_if_lost(lambda: aws.client("s3").put_object(**request, **new))
        except ClientError as error:
            if only_if_new and error_code(error) in {"PreconditionFailed", "412"}:
                return
            raise
    if answer.get("ChecksumSHA256", checksum) != checksum:
        why = "the checksum that S3 returned differs from the sha256 of the bytes that were sent"
        raise AwsFailed(WHERE, f"s3://{bucket}/{key} was damaged during the upload", why, "run the same command again")


def copy_object(aws: Aws, bucket: str, key: str, target: str) -> None:
    """Copy an object of the bucket to another key, in S3; its checksum is copied with it. It may hold 5 GB.

    Raises:
        AwsFailed: S3 refused or did not answer, or there is no such object.
    """
    request: dict[str, Any] = {
        "Bucket": bucket,
        "Key": target,
        "CopySource": {"Bucket": bucket, "Key": key},
        "ExpectedBucketOwner": aws.account_id,
        "ExpectedSourceBucketOwner": aws.account_id,
        **encryption_of(aws, bucket).of_objects,
    }
    with aws_boundary(WHERE):
        repeated_if_lost(partial(aws.client("s3").copy_object, **request))


def send_file(aws: Aws, path: Path, bucket: str, key: str, label: str) -> None:
    """Put a file, in parts if it is large, and report the progress under a label.

    Raises:
        AwsFailed: S3 refused a call or did not answer.
        OSError: the file cannot be read.
    """
    client, extra = aws.client("s3"), {"ChecksumAlgorithm": "SHA256", **encryption_of(aws, bucket).of_objects}
    with aws_boundary(WHERE), show_progress(label, path.stat().st_size, "B") as progress:
        send = partial(client.upload_file, str(path), bucket, key, ExtraArgs=extra, Callback=progress.advance)
        look = partial(holds_file, aws, bucket, key, path)
        sent = partial(carried_out, f"s3://{bucket}/{key}", partial(transfer, send), lambda: look() or None)
        repeated_if_lost(sent, times=2)  # an upload in parts needs three kinds of calls


def holds_file(aws: Aws, bucket: str, key: str, path: Path) -> bool:
    """Tell from S3's checksum whether an object exists and holds exactly this file.

    Raises:
        AwsFailed: S3 refused, or did not answer.
    """
    wanted = {"Bucket": bucket, "Key": key, "ChecksumMode": "ENABLED"}
    with aws_boundary(WHERE):
        found = none_if_missing(lambda: aws.client("s3").head_object(**wanted)) or {}
    return bool(found.get("ChecksumSHA256", "").partition("-")[0] == _sent_checksum(path))


def _sent_checksum(path: Path) -> str:
    """Return the checksum that S3 has for a file that boto3 sent: of its bytes or, of several parts, of their sums."""
    with path.open("rb") as file:
        sums = [hashlib.sha256(part).digest() for part in iter(lambda: file.read(_PART_BYTES), b"")]
    is_one_part = path.stat().st_size < _PART_BYTES and len(sums) == 1
    return base64.b64encode(sums[0] if is_one_part else hashlib.sha256(b"".join(sums)).digest()).decode()


def is_stored(aws: Aws, bucket: str, stored: StoredObject | None, content: Content) -> bool:
    """Tell whether a listed object holds exactly this content, which was put in one part.

    Raises:
        AwsFailed: S3 refused, or did not answer.
    """
    if stored is None or stored.size_bytes != content.size_bytes:
        return False
    if stored.etag == content.md5:
        return True
    wanted = {"Bucket": bucket, "Key": stored.key, "ChecksumMode": "ENABLED", "ExpectedBucketOwner": aws.account_id}
    with aws_boundary(WHERE):
        found = none_if_missing(lambda: aws.client("s3").head_object(**wanted)) or {}
    return bool(found.get("ChecksumSHA256") == base64.b64encode(bytes.fromhex(content.sha256)).decode())


def abort_incomplete_uploads(aws: Aws, bucket: str, prefix: str) -> int:
    """Abort the incomplete multipart uploads under a prefix and return their number.

    Raises:
        AwsFailed: S3 refused a call, or did not answer.
    """
    s3, owner = aws.client("s3"), {"Bucket": bucket, "ExpectedBucketOwner": aws.account_id}
    aborted = 0
    with aws_boundary(WHERE):
        for page in s3.get_paginator("list_multipart_uploads").paginate(**owner, Prefix=prefix):
            for upload in page.get("Uploads", []):
                abort = partial(s3.abort_multipart_upload, **owner, Key=upload["Key"], UploadId=upload["UploadId"])
                none_if_missing(partial(repeated_if_lost, abort))
                aborted += 1
    return aborted


def delete_prefix(aws: Aws, bucket: str, prefix: str) -> int:
    """Delete all objects and incomplete uploads under a prefix, and return the number of objects.

    Raises:
        ValueError: the prefix is empty, which would delete the whole bucket.
        AwsFailed: S3 refused a call or some of the keys, or did not answer.
    """
    if not prefix.strip("/"):
        raise ValueError("the prefix is empty, which would delete the whole bucket")
    abort_incomplete_uploads(aws, bucket, prefix)
    keys = list(list_objects(aws, bucket, prefix))
    for batch in _batches(keys):
        with aws_boundary(WHERE):
            answer = repeated_if_lost(partial(aws.client("s3").delete_objects, **_deletion(aws, bucket, batch)))
        for error in answer.get("Errors", [])[:1]:
            what, why = f"s3://{bucket}/{error['Key']} could not be deleted: {error['Code']}", error.get("Message")
            raise AwsFailed(WHERE, what, why or "AWS gave no reason", "run the same command again", error["Code"])
    return len(keys)


def _deletion(aws: Aws, bucket: str, keys: list[str]) -> dict[str, Any]:
    listed = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
    return {"Bucket": bucket, "Delete": listed, "ExpectedBucketOwner": aws.account_id}


def md5_hex(data: bytes) -> str:
    """Return the hex md5 of some bytes, which S3 uses as the ETag (as a checksum, not for security)."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _batches(keys: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(keys), _DELETE_BATCH):
        yield keys[start : start + _DELETE_BATCH]


def bucket_and_key(uri: str) -> tuple[str, str]:
    """Return the bucket and the key that an S3 URI names.

    Raises:
        MalformedAnswer: it is no URI of an object of S3.
    """
    match = re.fullmatch(r"s3://([a-zA-Z0-9._-]{1,255})/(.+)", uri, re.DOTALL)
    if match is None:
        what, why = f"{uri!r:.200} is named as an object of S3", "an object is s3://BUCKET/KEY, so this is not AWS's"
        raise MalformedAnswer(WHERE, what, why, "look at what answers in place of AWS, then run the same command again")
    return match[1], match[2]


def object_exists(aws: Aws, uri: str) -> bool:
    """Tell whether an S3 object exists.

    Raises:
        MalformedAnswer: it is no URI of an object of S3.
        AwsFailed: S3 refused the call for another reason than a missing object, or did not answer.
    """
    bucket, key = bucket_and_key(uri)
    with aws_boundary(uri):
        return none_if_missing(lambda: aws.client("s3").head_object(Bucket=bucket, Key=key)) is not None


def fetch_object(aws: Aws, uri: str, path: Path) -> str:
    """Download an object to a file of mode 0600, report the progress, and return the object's ETag.

    Raises:
        MalformedAnswer: it is no URI of an object of S3.
        AwsFailed: S3 refused a call or did not answer, or there is no such object.
        DiskFailed: the file cannot be written.
    """
    bucket, key = bucket_and_key(uri)
    client, owner = aws.client("s3"), {"ExpectedBucketOwner": aws.account_id}
    with aws_boundary(uri):
        head = client.head_object(Bucket=bucket, Key=key, **owner)
        size = int(head["ContentLength"])
        shown = show_progress(f"fetch {key.rpartition('/')[2]}", size, "B")
        with disk_boundary(WHERE, path, size), shown as progress:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(open_own(path, APPEND))
            transfer(partial(client.download_file, bucket, key, str(path), ExtraArgs=owner, Callback=progress.advance))
            path.chmod(0o600)
    return str(head["ETag"]).strip('"')
