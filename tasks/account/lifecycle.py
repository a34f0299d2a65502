"""Adds and removes single rules of a bucket's lifecycle, by which S3 deletes objects of itself.

S3 has only a call that replaces all rules of a bucket, so the rules of others are read and written back with ours. Two
commands that do so in the same second may lose one of their rules; the next deployment adds it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from tasks.account.lookup import none_if_missing
from tasks.account.role_policies import captured_prefix
from tasks.run.aws import Aws
from tasks.run.errors import error_code
from tasks.run.lost_answers import repeated_if_lost

Rule = Mapping[str, Any]
_UNSET = "NoSuchLifecycleConfiguration"
_KEPT = "TransitionDefaultMinimumObjectSize"
"""Of the whole configuration, beside its rules: it would fall back to S3's default."""


def captured_rule(run_id: str, days: int) -> Rule:
    """Return the rule by which S3 deletes what a run's endpoint kept of requests, in whole days from midnight (UTC)."""
    return {
        "ID": _captured_id(run_id),
        "Status": "Enabled",
        "Filter": {"Prefix": f"{captured_prefix(run_id)}/"},
        "Expiration": {"Days": days},
    }


def rules_of(aws: Aws, bucket: str) -> list[Rule]:
    """Return the rules of a bucket's lifecycle; none of a bucket that does not exist.

    Raises:
        ClientError: S3 refused; the caller translates it.
    """
    rules: list[Rule] = _configuration(aws, bucket).get("Rules", [])
    return rules


def put_rule(aws: Aws, bucket: str, rule: Rule) -> None:
    """Add a rule to those of a bucket, in the place of one with the same ID; one that is there already is left.

    Raises:
        ClientError: S3 refused; the caller translates it.
    """
    found = _configuration(aws, bucket)
    rules = found.get("Rules", [])
    if not any(rule.items() <= each.items() for each in rules):
        others = [each for each in rules if each.get("ID") != rule["ID"]]
        _write(aws, bucket, [*others, rule], found)


def remove_captured_rule(aws: Aws, bucket: str, run_id: str) -> None:
    """Remove a run's rule from those of a bucket, if it is there.

    Raises:
        ClientError: S3 refused; the caller translates it.
    """
    found = _configuration(aws, bucket)
    rules = found.get("Rules", [])
    others = [each for each in rules if each.get("ID") != _captured_id(run_id)]
    if len(others) < len(rules):
        _write(aws, bucket, others, found)


def _captured_id(run_id: str) -> str:
    return f"kennel-captured-{run_id}"


def _configuration(aws: Aws, bucket: str) -> dict[str, Any]:
    owner = {"Bucket": bucket, "ExpectedBucketOwner": aws.account_id}
    asked: Callable[[], dict[str, Any]] = lambda: aws.client("s3").get_bucket_lifecycle_configuration(**owner)  # noqa: E731
    try:
        return none_if_missing(asked) or {}
    except ClientError as error:
        if error_code(error) == _UNSET:
            return {}
        raise


def _write(aws: Aws, bucket: str, rules: list[Rule], found: Mapping[str, Any]) -> None:
    """Write rules; S3 takes no empty list of them."""
    s3, owner = aws.client("s3"), {"Bucket": bucket, "ExpectedBucketOwner": aws.account_id}
    kept = {_KEPT: found[_KEPT]} if _KEPT in found else {}
    wanted = {"LifecycleConfiguration": {"Rules": rules}, **kept}
    if rules:
        repeated_if_lost(lambda: s3.put_bucket_lifecycle_configuration(**owner, **wanted))
    else:
        repeated_if_lost(lambda: s3.delete_bucket_lifecycle(**owner))
