"""Finds and removes what stores bytes: buckets, prefixes in the project's bucket, and log groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from tasks.account import objects
from tasks.account.bucket import OWNED_PREFIXES, bucket_tags
from tasks.account.lifecycle import remove_captured_rule
from tasks.account.logs import log_stream_names
from tasks.account.lookup import none_if_missing, shown_tags
from tasks.run.aws import Aws
from tasks.run.naming import RESOURCE_PREFIX
from tasks.teardown.kinds import Kind, only_tagged
from tasks.teardown.plan import Resource

_LOG_PREFIXES = (f"/aws/lambda/{RESOURCE_PREFIX}", f"/aws/sagemaker/Endpoints/{RESOURCE_PREFIX}")

# --- S3 ---------------------------------------------------------------------------------------------------------------


def _find_prefix(aws: Aws, name: str) -> Resource | None:
    bucket, _, prefix = name.partition("/")
    if not prefix:
        return None
    owner = {"Bucket": bucket, "ExpectedBucketOwner": aws.account_id}
    page = none_if_missing(lambda: aws.client("s3").list_objects_v2(**owner, Prefix=f"{prefix}/", MaxKeys=1))
    return Resource("s3-prefix", name) if page and page.get("KeyCount") else None


def _find_tagged_prefixes(aws: Aws) -> Iterator[Resource]:
    """Find datasets, weights and runs in the project's bucket by listing folders, not objects."""
    parents = [prefix for prefix in OWNED_PREFIXES if prefix != "weights/"] + _folders(aws, "weights/")
    for parent in parents:
        yield from (Resource("s3-prefix", f"{aws.bucket}/{folder.rstrip('/')}") for folder in _folders(aws, parent))


def _folders(aws: Aws, prefix: str) -> list[str]:
    paginator = aws.client("s3").get_paginator("list_objects_v2")
    wanted = {"Bucket": aws.bucket, "ExpectedBucketOwner": aws.account_id, "Prefix": prefix, "Delimiter": "/"}
    pages = none_if_missing(lambda: list(paginator.paginate(**wanted)))
    return [item["Prefix"] for page in pages or [] for item in page.get("CommonPrefixes", [])]


def _remove_prefix(aws: Aws, name: str) -> None:
    bucket, _, prefix = name.partition("/")
    parent, _, run_id = prefix.partition("/")
    if parent == "runs":
        remove_captured_rule(aws, bucket, run_id)
    objects.delete_prefix(aws, bucket, f"{prefix}/")


def _find_bucket(aws: Aws, name: str) -> Resource | None:
    """Return the bucket, if it is in this region: S3 lists the buckets of all regions."""
    owner = {"Bucket": name, "ExpectedBucketOwner": aws.account_id}
    answer = none_if_missing(lambda: aws.client("s3").head_bucket(**owner))
    if answer is None or answer.get("BucketRegion", aws.region) != aws.region:
        return None
    return Resource("bucket", name, bucket_tags(aws, name))


def _find_tagged_buckets(aws: Aws) -> Iterator[Resource]:
    names = {item["Name"] for item in aws.client("s3").list_buckets()["Buckets"]}
    return only_tagged(
        _find_bucket(aws, name) for name in sorted(names) if name.startswith(RESOURCE_PREFIX) or name == aws.bucket
    )


def _remove_bucket(aws: Aws, name: str) -> None:
    """Delete an empty bucket; a bucket that is not empty stays, and the check at the teardown's end reports it."""
    owner = {"Bucket": name, "ExpectedBucketOwner": aws.account_id}
    if none_if_missing(lambda: aws.client("s3").list_objects_v2(**owner, MaxKeys=1).get("KeyCount")):
        return
    none_if_missing(lambda: aws.client("s3").delete_bucket(**owner))


# --- Logs -------------------------------------------------------------------------------------------------------------


def _find_log_group(aws: Aws, name: str) -> Resource | None:
    logs = aws.client("logs")
    pages = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name)
    arns = [group["arn"] for page in pages for group in page["logGroups"] if group["logGroupName"] == name]
    if not arns:
        return None
    arn = arns[0].removesuffix(":*")
    tags = none_if_missing(
        lambda: shown_tags(aws, f"log group {name}", lambda: logs.list_tags_for_resource(resourceArn=arn)["tags"])
    )
    return Resource("log-group", name, dict(tags or {}))


def _find_tagged_log_groups(aws: Aws) -> Iterator[Resource]:
    paginator = aws.client("logs").get_paginator("describe_log_groups")
    pages = [page for prefix in _LOG_PREFIXES for page in paginator.paginate(logGroupNamePrefix=prefix)]
    names = [group["logGroupName"] for page in pages for group in page["logGroups"]]
    return only_tagged(_find_log_group(aws, name) for name in names)


def delete_log_streams(aws: Aws, group: str, prefix: str) -> None:
    """Delete the streams that begin with `prefix` from a group that others share.

    Raises:
        ClientError: CloudWatch Logs refused.
    """
    logs = aws.client("logs")
    for name in log_stream_names(aws, group, prefix):
        none_if_missing(partial(logs.delete_log_stream, logGroupName=group, logStreamName=name))


def _remove_log_group(aws: Aws, name: str) -> None:
    none_if_missing(lambda: aws.client("logs").delete_log_group(logGroupName=name))


STORAGE_KINDS: Mapping[str, Kind] = {
    "log-group": Kind(_find_log_group, _find_tagged_log_groups, _remove_log_group),
    "s3-prefix": Kind(_find_prefix, _find_tagged_prefixes, _remove_prefix),
    "bucket": Kind(_find_bucket, _find_tagged_buckets, _remove_bucket),
}
