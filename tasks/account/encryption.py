"""How objects and volumes are encrypted: by S3's own keys, or by a key of KMS that the user or the bucket names.

With a key of KMS the ETag of an object is no md5, so content is compared by S3's checksums only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from tasks.account.prices import has_local_storage
from tasks.run.aws import Aws
from tasks.run.errors import SettingsRefused, aws_boundary, error_code, is_not_found

WHERE = "encryption"
OWN, KMS = "AES256", ("aws:kms", "aws:kms:dsse")
_UNSET = "ServerSideEncryptionConfigurationNotFoundError"


@dataclass(frozen=True)
class Encryption:
    """The encryption of a bucket's new objects; `key_arn` None is S3's own key, or AWS's own of the account."""

    algorithm: str = OWN
    key_arn: str | None = None

    @property
    def of_objects(self) -> dict[str, str]:
        """Arguments of PutObject and CreateMultipartUpload; with AWS's own key of KMS, the bucket's default holds."""
        if self.key_arn is not None:
            return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.key_arn}
        return {"ServerSideEncryption": OWN} if self.algorithm == OWN else {}

    @property
    def default(self) -> dict[str, str]:
        """The default of a bucket that kennel makes, as `default_encryption` reads it."""
        key = {} if self.key_arn is None else {"KMSMasterKeyID": self.key_arn}
        return {"SSEAlgorithm": self.algorithm, **key}

    @property
    def of_bucket(self) -> dict[str, Any]:
        """The argument of PutBucketEncryption for that default."""
        rule: dict[str, Any] = {"ApplyServerSideEncryptionByDefault": self.default}
        return {"Rules": [rule if self.key_arn is None else {**rule, "BucketKeyEnabled": True}]}

    def of_volume(self, instance_type: str) -> str | None:
        """The key of a SageMaker instance's volume; SageMaker refuses one where the instance has disks of its own."""
        return None if has_local_storage(instance_type) else self.key_arn


def encryption_of(aws: Aws, bucket: str) -> Encryption:
    """Return how objects of a bucket are encrypted: with the key of the settings, else by the bucket's default.

    Raises:
        SettingsRefused: the key of the settings does not exist, or cannot be used.
        AwsFailed: S3 or KMS refused, or did not answer.
    """
    return aws.once(f"encryption {bucket}", lambda: _look(aws, bucket))


def require_key(aws: Aws) -> None:
    """Return if no key is named, or if the one that is exists and can be used.

    Raises:
        SettingsRefused, AwsFailed: as `encryption_of` says.
    """
    if aws.settings.kms_key is not None:
        _arn_of(aws, aws.settings.kms_key, aws.settings.shown("kms_key"))


def default_encryption(aws: Aws, bucket: str) -> Mapping[str, Any] | None:
    """Return the default of a bucket (`SSEAlgorithm`, `KMSMasterKeyID`), None if it has none.

    Raises:
        ClientError: S3 refused for another reason; the caller translates it.
    """
    try:
        answer = aws.client("s3").get_bucket_encryption(Bucket=bucket, ExpectedBucketOwner=aws.account_id)
    except ClientError as error:
        if error_code(error) == _UNSET:
            return None
        raise
    rules = answer["ServerSideEncryptionConfiguration"]["Rules"]
    found: Mapping[str, Any] = rules[0].get("ApplyServerSideEncryptionByDefault", {}) if rules else {}
    return found or None


def _look(aws: Aws, bucket: str) -> Encryption:
    if aws.settings.kms_key is not None:
        return Encryption("aws:kms", _arn_of(aws, aws.settings.kms_key, aws.settings.shown("kms_key")))
    with aws_boundary(WHERE):
        default = default_encryption(aws, bucket) or {}
    if default.get("SSEAlgorithm") not in KMS:
        return Encryption()
    key = default.get("KMSMasterKeyID")
    if key is None or str(key).endswith("alias/aws/s3"):
        return Encryption("aws:kms")
    given = f"key {key}, the default of bucket {bucket}"
    return Encryption("aws:kms", str(key) if ":key/" in str(key) else _arn_of(aws, str(key), given))


def _arn_of(aws: Aws, name: str, given: str) -> str:
    """Return the ARN of a key by any of its names, if it can encrypt now; `given` says who names it."""
    command = aws.cli("kms describe-key", key_id=name)
    with aws_boundary(f"key {name}"):
        try:
            found = aws.client("kms").describe_key(KeyId=name)["KeyMetadata"]
        except ClientError as error:
            if not is_not_found(error):
                raise
            why = f"KMS knows no such key in {aws.region} of account {aws.account_id}; nothing was made"
            raise SettingsRefused(WHERE, given, why, command) from error
    state, kind = found.get("KeyState", "Enabled"), found.get("KeySpec", "SYMMETRIC_DEFAULT")
    if (state, kind) != ("Enabled", "SYMMETRIC_DEFAULT"):
        why = f"its state is {state} and its kind {kind}; a symmetric key that is enabled is needed"
        raise SettingsRefused(WHERE, given, why, command)
    return str(found["Arn"])
