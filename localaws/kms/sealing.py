"""Which key of KMS an object of S3 is sealed with, and what S3 asks of the key in somebody's name.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html and botocore's model of S3
(CreateMultipartUpload: kms:GenerateDataKey, then kms:Decrypt for the parts; HeadObject: kms:Decrypt with ChecksumMode).
"""

from collections.abc import Mapping
from typing import Any

from localaws.errors import AwsError
from localaws.kms.keys import OF_S3, Key, find_key
from localaws.partition import partition

KMS = ("aws:kms", "aws:kms:dsse")
_ALGORITHMS = ("AES256", *KMS)
_HEADER = "x-amz-server-side-encryption"
SEAL, OPEN = "kms:GenerateDataKey", "kms:Decrypt"


def bucket_of(account_id: str, name: str) -> Any | None:
    """Return moto's bucket of a name, None if there is none."""
    from moto.s3.models import s3_backends

    return s3_backends[account_id][partition()].buckets.get(name)


def check_wanted(algorithm: str | None, key: str | None) -> None:
    """Refuse an encryption that S3 has not, and a key without the encryption that uses it, whatever the bucket's is.

    Raises:
        AwsError: InvalidArgument.
    """
    told = {"ArgumentName": _HEADER, "ArgumentValue": algorithm or "null"}
    if algorithm and algorithm not in _ALGORITHMS:
        raise AwsError("InvalidArgument", "The encryption method specified is not supported", details=told)
    if key and algorithm not in KMS:
        text = f"Server Side Encryption with AWS KMS managed key requires HTTP header {_HEADER} : aws:kms"
        raise AwsError("InvalidArgument", text, details=told)


def wanted_encryption(bucket: Any, algorithm: str | None, key: str | None) -> tuple[str | None, str | None]:
    """Return algorithm and name of the key for a new object: the request's, else the bucket's default."""
    rule = ((bucket.encryption or {}).get("Rule") or {}).get("ApplyServerSideEncryptionByDefault") or {}
    algorithm = algorithm or rule.get("SSEAlgorithm")
    if algorithm not in KMS:
        return algorithm, None
    return algorithm, key or (rule.get("KMSMasterKeyID") if rule.get("SSEAlgorithm") == algorithm else None) or OF_S3


def key_for_new(account_id: str, region: str, bucket_name: str, algorithm: str | None, key: str | None) -> Key | None:
    """Return the key that a new object will be sealed with, None if it is no key of KMS's or does not exist."""
    bucket = bucket_of(account_id, bucket_name)
    name = None if bucket is None else wanted_encryption(bucket, algorithm, key)[1]
    return None if name is None else find_key(account_id, region, name)


def key_of_object(account_id: str, region: str, bucket_name: str, key_name: str, version: str = "") -> Key | None:
    """Return the key that an object, or a version of it, is sealed with, None if with none of KMS's."""
    bucket = bucket_of(account_id, bucket_name)
    every = [] if bucket is None else bucket.keys.getlist(key_name, [])
    found = [each for each in every if version in ("", str(each.version_id))]
    return _of(account_id, region, found[-1]) if found else None


def key_of_upload(account_id: str, region: str, bucket_name: str, upload: str) -> Key | None:
    """Return the key that the object of an upload in parts will be sealed with."""
    bucket = bucket_of(account_id, bucket_name)
    found = None if bucket is None else bucket.multiparts.get(upload)
    return None if found is None or not found.kms_key_id else find_key(account_id, region, found.kms_key_id)


def circumstances(region: str, account_id: str, bucket_name: str, key_name: str) -> Mapping[str, list[str]]:
    """Return the condition keys with which S3 asks KMS."""
    return {
        "kms:viaservice": [f"s3.{region}.amazonaws.com"],
        "kms:calleraccount": [account_id],
        "kms:encryptioncontext:aws:s3:arn": [f"arn:{partition()}:s3:::{bucket_name}/{key_name}"],
    }


def _of(account_id: str, region: str, stored: Any) -> Key | None:
    name = getattr(stored, "kms_key_id", None)
    return find_key(account_id, region, name) if name and getattr(stored, "encryption", None) in KMS else None
