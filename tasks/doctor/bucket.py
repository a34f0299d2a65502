"""Whether the bucket's name is free or ours, and whether an object can be put there, read and deleted."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from botocore.exceptions import BotoCoreError, ClientError

from tasks.account.bucket import bucket_exists
from tasks.doctor.findings import Finding, fail, ok
from tasks.run.aws import Aws
from tasks.run.errors import OwnershipRefused, translate
from tasks.run.streamed import read_streamed, read_whole

CHECK = "bucket"
PREFIX = "runs/kennel-doctor-"
"""How the key of the object begins; it is below what a teardown removes."""


def bucket_findings(aws: Aws, *, writes: bool) -> Iterator[Finding]:
    """Yield whether a run may have the bucket; `writes`: one object is put there, read and deleted, if it exists.

    Raises:
        ClientError, BotoCoreError: S3 refused, or did not answer; the caller translates it.
    """
    name = aws.bucket
    try:
        exists = bucket_exists(aws, name)
    except OwnershipRefused as error:
        yield fail(CHECK, f"{error.what}: {error.why}", error.next_command)
        return
    if not exists:
        yield ok(CHECK, f"{name} does not exist; the first run makes it")
        return
    yield ok(CHECK, f"{name} is of this account, in {aws.region}")
    if writes:
        yield from _round_trip(aws, name)


def _round_trip(aws: Aws, name: str) -> Iterator[Finding]:
    """Put an object, read it and delete it; it is deleted also when something else fails."""
    s3, content = aws.client("s3"), secrets.token_bytes(16)
    there = {"Bucket": name, "Key": f"{PREFIX}{content.hex()}", "ExpectedBucketOwner": aws.account_id}
    url = f"s3://{name}/{there['Key']}"
    problem: Finding | None = None
    try:
        s3.put_object(**there, Body=content)
        if read_streamed(aws, "s3", "get_object", "Body", read_whole, **there)[1] != content:
            problem = fail(CHECK, f"{url} came back with another content", "look at what is between here and S3")
    except (ClientError, BotoCoreError) as error:
        refused = translate(error, CHECK)
        problem = fail(CHECK, f"{url}: {refused.what}: {refused.why}", refused.next_command)
    try:
        s3.delete_object(**there)
    except (ClientError, BotoCoreError) as error:
        refused = translate(error, CHECK)
        cure = aws.cli("s3api delete-object", bucket=name, key=there["Key"])
        yield fail(CHECK, f"{url} could not be deleted again: {refused.what}: {refused.why}", cure)
    scheme = "TLS" if str(s3.meta.endpoint_url).startswith("https:") else "HTTP on loopback"
    yield problem or ok(CHECK, f"put, read and deleted {url}, over {scheme}")
