"""Create the project's bucket as a private, encrypted, TLS-only one, or adopt it if it is ours.

Every call names the expected owner, so a bucket of the same name in another account is refused and never written to.
Only properties that differ from the wanted ones are written.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from tasks.account.encryption import default_encryption, encryption_of
from tasks.account.lifecycle import put_rule, rules_of
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import OwnershipRefused, aws_boundary, error_code
from tasks.run.handle import Run
from tasks.run.lost_answers import repeated_if_lost
from tasks.run.sealed import parse_json

WHERE = "bucket"
OWNED_PREFIXES = ("datasets/", "weights/", "runs/")
"""The prefixes of all keys that kennel writes."""

PUBLIC_ACCESS_BLOCK = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}
OWNERSHIP = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
ABORT = {
    "ID": "abort-half-done-uploads",
    "Status": "Enabled",
    "Filter": {"Prefix": ""},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
}


@dataclass(frozen=True)
class _Property:
    """One property of the bucket: the call that reads it, the wanted value, and the call that sets it."""

    name: str
    read: Callable[[], object]
    wanted: object
    write: Callable[[], object]
    judge: Callable[[Any], bool] | None = None

    def is_safe(self, found: object) -> bool:
        """Tell whether a value may stay: the wanted one, or what `judge` allows."""
        return found == self.wanted if self.judge is None else self.judge(found)


def ensure_bucket(run: Run) -> str:
    """Create the project's bucket, or adopt and secure an existing one; return its name.

    Raises:
        OwnershipRefused: the bucket belongs to another account or is in another region; or the user named a bucket that
            is not private or not encrypted.
        AwsFailed: S3 refused a call, or did not answer.
    """
    name = run.aws.bucket
    with aws_boundary(WHERE):
        if bucket_exists(run.aws, name):
            is_ours = is_own_bucket(run, name)
            run.ledger.adopt("bucket", name, run.aws.arn("s3", name))
        else:
            is_ours = True
            _create(run, name)
        _secure(run.aws, name, run.id, is_ours=is_ours)
    return name


def bucket_exists(aws: Aws, name: str) -> bool:
    """Tell whether the caller's account has the bucket in this region.

    Raises:
        OwnershipRefused: another account has a bucket of this name, or the bucket is in another region.
        ClientError: S3 refused the call for another reason; the caller translates it.
    """
    choose = "export KENNEL_BUCKET=<a name that is free or yours>"
    try:
        answer = aws.client("s3").head_bucket(Bucket=name, ExpectedBucketOwner=aws.account_id)
    except ClientError as error:
        code = error_code(error)
        if code in {"404", "NoSuchBucket"}:
            return False
        if code in {"403", "AccessDenied"}:
            why = f"it belongs to another account, or {aws.account_id} may not read it; nothing was written to it"
            raise OwnershipRefused(WHERE, f"S3 denies access to bucket {name}", why, choose) from error
        if code in {"301", "PermanentRedirect", "AuthorizationHeaderMalformed"}:
            raise _other_region(aws, name, choose) from error
        raise
    if answer.get("BucketRegion", aws.region) != aws.region:  # botocore follows S3's redirect to the bucket's region
        raise _other_region(aws, name, choose)
    return True


def _other_region(aws: Aws, name: str, choose: str) -> OwnershipRefused:
    why = "the data must be in the same region as the jobs and endpoints"
    return OwnershipRefused(WHERE, f"bucket {name} is not in {aws.region}", why, choose)


def tls_only_policy(arn: str) -> dict[str, Any]:
    """Return the policy of a bucket, by its ARN, that denies every request without TLS."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "DenyPlainHttp",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [arn, f"{arn}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }


def bucket_tags(aws: Aws, name: str) -> dict[str, str]:
    """Return the bucket's tags, which may be none.

    Raises:
        ClientError: S3 refused the call; the caller translates it.
    """
    owner = {"Bucket": name, "ExpectedBucketOwner": aws.account_id}
    found = _read(lambda: aws.client("s3").get_bucket_tagging(**owner)["TagSet"])
    return {tag["Key"]: tag["Value"] for tag in found or []}


def _create(run: Run, name: str) -> None:
    where: dict[str, Any] = {}
    if run.aws.region != "us-east-1":
        where["CreateBucketConfiguration"] = {"LocationConstraint": run.aws.region}
    arn = run.aws.arn("s3", name)
    # `bucket_exists` refuses the bucket of another account, which has the name when S3 answers BucketAlreadyExists
    with run.ledger.create("bucket", name, lambda: arn if bucket_exists(run.aws, name) else None) as row:
        run.aws.client("s3").create_bucket(Bucket=name, ObjectOwnership="BucketOwnerEnforced", **where)
        row.identifier = arn


def is_own_bucket(run: Run, name: str) -> bool:
    """Tell from the default name, the run's ledger or the bucket's tag whether kennel created the bucket.

    Raises:
        ClientError: S3 refused the call; the caller translates it.
    """
    if name == naming.bucket_name(run.aws.account_id, run.aws.region):
        return True
    rows = [row for row in run.ledger.rows() if (row.kind, row.name) == ("bucket", name)]
    if any(row.state not in {"adopted", "removed"} for row in rows):
        return True
    return bucket_tags(run.aws, name).get(naming.PROJECT_TAG) == naming.PROJECT


def _secure(aws: Aws, name: str, run_id: str, *, is_ours: bool) -> None:
    """Set each property that differs from the wanted value; a bucket that the user named is only checked.

    Encryption by any key is safe: S3's own, AWS's own key of KMS, or one that the user chose.
    """
    for each in [*_access_properties(aws, name, is_ours=is_ours), *_upkeep_properties(aws, name, run_id)]:
        found = each.read()
        if each.is_safe(found):
            continue
        if not is_ours and found is not None and each.name in {"public access block", "encryption"}:
            why = f"its {each.name} is {found}, and kennel does not change a bucket that it did not make"
            raise OwnershipRefused(WHERE, f"bucket {name} is not safe", why, f"set its {each.name} to {each.wanted}")
        if is_ours:
            repeated_if_lost(each.write)


def _access_properties(aws: Aws, name: str, *, is_ours: bool) -> list[_Property]:
    """Return the properties that decide who may read and write the bucket, and how."""
    s3 = aws.client("s3")
    owner = {"Bucket": name, "ExpectedBucketOwner": aws.account_id}
    policy, wanted = tls_only_policy(aws.arn("s3", name)), encryption_of(aws, name)

    def is_encryption_safe(found: Any) -> bool:
        return found == wanted.default if is_ours and aws.settings.kms_key else found is not None

    return [
        _Property(
            "public access block",
            lambda: _read(lambda: s3.get_public_access_block(**owner)["PublicAccessBlockConfiguration"]),
            PUBLIC_ACCESS_BLOCK,
            lambda: s3.put_public_access_block(**owner, PublicAccessBlockConfiguration=PUBLIC_ACCESS_BLOCK),
        ),
        _Property(
            "encryption",
            lambda: default_encryption(aws, name),
            wanted.default,
            lambda: s3.put_bucket_encryption(**owner, ServerSideEncryptionConfiguration=wanted.of_bucket),
            is_encryption_safe,
        ),
        _Property(
            "object ownership",
            lambda: _read(lambda: s3.get_bucket_ownership_controls(**owner)["OwnershipControls"]),
            OWNERSHIP,
            lambda: s3.put_bucket_ownership_controls(**owner, OwnershipControls=OWNERSHIP),
        ),
        _Property(
            "policy",
            lambda: _document(_read(lambda: s3.get_bucket_policy(**owner)["Policy"])),
            policy,
            lambda: s3.put_bucket_policy(**owner, Policy=json.dumps(policy)),
        ),
    ]


def _upkeep_properties(aws: Aws, name: str, run_id: str) -> list[_Property]:
    """Return the lifecycle rule and the tags."""
    s3 = aws.client("s3")
    owner = {"Bucket": name, "ExpectedBucketOwner": aws.account_id}
    return [
        _Property(
            "lifecycle",
            lambda: [rule.get("ID") for rule in rules_of(aws, name)],
            [ABORT["ID"]],
            lambda: put_rule(aws, name, ABORT),
            lambda found: ABORT["ID"] in found,
        ),
        _Property(
            "tags",
            lambda: bucket_tags(aws, name).get(naming.PROJECT_TAG),
            naming.PROJECT,
            lambda: s3.put_bucket_tagging(**owner, Tagging={"TagSet": naming.tag_list(run_id)}),
        ),
    ]


def _document(text: str | None) -> Any:
    """Return what a policy's text holds, or the text itself if it is no JSON and so differs from the wanted policy."""
    try:
        return None if text is None else parse_json(text)
    except ValueError:
        return text


_UNSET = {
    "NoSuchPublicAccessBlockConfiguration",
    "OwnershipControlsNotFoundError",
    "NoSuchBucketPolicy",
    "NoSuchTagSet",
}


def _read(call: Callable[[], Any]) -> Any:
    """Return the value of a property, or None when it was never set."""
    try:
        return call()
    except ClientError as error:
        if error_code(error) in _UNSET:
            return None
        raise
