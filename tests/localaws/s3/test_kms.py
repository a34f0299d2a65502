"""Objects that S3 seals with a key of KMS: their ETags, what is said of them, and who may make and read them."""

import base64
import hashlib
import io
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig

from tests.conftest import RunningLocalAws
from tests.localaws.callers import Somebody, allow, make_role, make_user
from tests.localaws.ec2.ec2_rooms import refused

CONTENT = b"a photo"
KMS = {"ServerSideEncryption": "aws:kms"}


@dataclass(frozen=True)
class Place:
    """A bucket, and a key that has an alias."""

    localaws: RunningLocalAws
    bucket: str
    key: str
    alias: str

    @property
    def s3(self) -> Any:
        return self.localaws.client("s3")

    def put(self, name: str, **more: Any) -> Any:
        return self.s3.put_object(Bucket=self.bucket, Key=name, Body=CONTENT, **more)

    def head(self, name: str, **more: Any) -> Any:
        return self.s3.head_object(Bucket=self.bucket, Key=name, **more)


@pytest.fixture(scope="module")
def place(localaws: RunningLocalAws) -> Iterator[Place]:
    kms, name = localaws.client("kms"), secrets.token_hex(4)
    key = kms.create_key()["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName=f"alias/{name}", TargetKeyId=key)
    localaws.client("s3").create_bucket(Bucket=f"sealed-{name}")
    yield Place(localaws, f"sealed-{name}", key, f"alias/{name}")


def sealed(place: Place, name: str) -> tuple[str, str]:
    found = place.head(name)
    return found["ServerSideEncryption"], found["SSEKMSKeyId"]


def md5(content: bytes = CONTENT) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


def test_the_etag_of_a_sealed_object_is_no_md5_and_its_key_is_told_by_its_arn(place: Place) -> None:
    answer = place.put("one", SSEKMSKeyId=place.alias, **KMS)
    assert answer["ETag"] != md5() and answer["ETag"] == place.head("one")["ETag"]
    assert (answer["ServerSideEncryption"], answer["SSEKMSKeyId"]) == ("aws:kms", place.key)
    assert sealed(place, "one") == ("aws:kms", place.key)
    assert place.s3.get_object(Bucket=place.bucket, Key="one")["Body"].read() == CONTENT
    assert place.put("plain")["ETag"] == md5()


def test_without_a_key_it_is_aws_s3s_own(place: Place) -> None:
    place.put("own", **KMS)
    algorithm, key = sealed(place, "own")
    assert algorithm == "aws:kms" and key not in ("", place.key) and key.startswith("arn:aws:kms:us-east-1:")


def test_the_checksum_of_a_sealed_object_is_that_of_its_content(place: Place) -> None:
    place.put("sum", ChecksumAlgorithm="SHA256", SSEKMSKeyId=place.key, **KMS)
    found = place.head("sum", ChecksumMode="ENABLED")["ChecksumSHA256"]
    place.put("sum-plain", ChecksumAlgorithm="SHA256")
    assert found == place.head("sum-plain", ChecksumMode="ENABLED")["ChecksumSHA256"]


def test_an_upload_in_parts_is_sealed_and_keeps_the_number_of_parts_in_its_etag(place: Place) -> None:
    extra = {"SSEKMSKeyId": place.key, "ChecksumAlgorithm": "SHA256", **KMS}
    parts = TransferConfig(multipart_threshold=5 * 2**20, multipart_chunksize=5 * 2**20)
    place.s3.upload_fileobj(io.BytesIO(bytes(6 * 2**20)), place.bucket, "parts", ExtraArgs=extra, Config=parts)
    assert sealed(place, "parts") == ("aws:kms", place.key)
    assert place.head("parts")["ETag"].endswith('-2"')
    sums = [hashlib.sha256(bytes(size * 2**20)).digest() for size in (5, 1)]
    whole = base64.b64encode(hashlib.sha256(b"".join(sums)).digest()).decode()
    assert place.head("parts", ChecksumMode="ENABLED")["ChecksumSHA256"].partition("-")[0] == whole


def test_a_buckets_default_seals_what_names_no_encryption(place: Place) -> None:
    bucket = f"{place.bucket}-default"
    place.s3.create_bucket(Bucket=bucket)
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": place.alias}}
    place.s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    place.s3.put_object(Bucket=bucket, Key="x", Body=CONTENT)
    place.s3.put_object(Bucket=bucket, Key="y", Body=CONTENT, ServerSideEncryption="AES256")
    assert place.s3.head_object(Bucket=bucket, Key="x")["SSEKMSKeyId"] == place.key
    assert place.s3.head_object(Bucket=bucket, Key="y")["ETag"] == md5()


def test_a_key_that_is_not_there_or_disabled_is_refused(place: Place) -> None:
    with refused("KMS.NotFoundException", "Invalid keyId 'alias/nobody'"):
        place.put("no", SSEKMSKeyId="alias/nobody", **KMS)
    kms = place.localaws.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    kms.disable_key(KeyId=key.rpartition("/")[2])
    with refused("KMS.DisabledException", key):
        place.put("no", SSEKMSKeyId=key, **KMS)


@pytest.mark.parametrize("algorithm", [None, "AES256", "aws:kms:own", "aws:fsx"])
def test_a_key_without_the_encryption_that_uses_it_is_refused(place: Place, algorithm: str | None) -> None:
    place.put("unsealed")
    wanted: dict[str, Any] = {"Bucket": place.bucket, "SSEKMSKeyId": place.key}
    wanted |= {"ServerSideEncryption": algorithm} if algorithm else {}
    text = "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms"
    if algorithm not in (None, "AES256"):
        text = "The encryption method specified is not supported"
    with refused("InvalidArgument", text):
        place.s3.put_object(**wanted, Key="no", Body=CONTENT)
    with refused("InvalidArgument", text):
        place.s3.create_multipart_upload(**wanted, Key="no")
    with refused("InvalidArgument", text):
        place.s3.copy_object(**wanted, Key="no", CopySource={"Bucket": place.bucket, "Key": "unsealed"})
    assert place.s3.list_objects_v2(Bucket=place.bucket, Prefix="no").get("KeyCount") == 0
    assert not place.s3.list_multipart_uploads(Bucket=place.bucket, Prefix="no").get("Uploads")


def test_a_key_alone_is_refused_where_the_buckets_default_is_a_key(place: Place) -> None:
    bucket = f"{place.bucket}-key-alone"
    place.s3.create_bucket(Bucket=bucket)
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    place.s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    with refused("InvalidArgument", "requires HTTP header x-amz-server-side-encryption : aws:kms"):
        place.s3.put_object(Bucket=bucket, Key="no", Body=CONTENT, SSEKMSKeyId=place.key)
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256", "KMSMasterKeyID": place.key}}
    with refused("InvalidArgument", "a KMSMasterKeyID is not applicable"):
        place.s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})


def test_a_functions_code_that_a_disabled_key_sealed_is_refused_by_lambda(place: Place) -> None:
    kms, where = place.localaws.client("kms"), {"S3Bucket": place.bucket, "S3Key": "disabled.zip"}
    key = kms.create_key()["KeyMetadata"]["Arn"]
    place.put("disabled.zip", SSEKMSKeyId=key, **KMS)
    kms.disable_key(KeyId=key.rpartition("/")[2])
    role = make_role(place.localaws, {"Service": "lambda.amazonaws.com"})
    wanted = {"FunctionName": "sealed", "Runtime": "python3.11", "Role": role, "Handler": "h.h", "Code": where}
    with refused("InvalidParameterValueException", "S3 Error Code: KMS.DisabledException"):
        place.localaws.client("lambda").create_function(**wanted)


def test_what_a_disabled_key_sealed_cannot_be_read_until_it_is_enabled(place: Place) -> None:
    kms, wanted = place.localaws.client("kms"), {"Bucket": place.bucket, "Key": "disabled"}
    key = kms.create_key()["KeyMetadata"]["Arn"]
    place.put("disabled", SSEKMSKeyId=key, **KMS)
    kms.disable_key(KeyId=key.rpartition("/")[2])
    upload = place.s3.create_multipart_upload(Bucket=place.bucket, Key="part")["UploadId"]
    with refused("KMS.DisabledException", key):
        place.s3.get_object(**wanted)
    with refused("KMS.DisabledException", key):
        place.s3.copy_object(Bucket=place.bucket, Key="copy-of-disabled", CopySource=wanted)
    with refused("KMS.DisabledException", key):
        place.s3.upload_part_copy(
            Bucket=place.bucket,
            Key="part",
            UploadId=upload,
            PartNumber=1,
            CopySource=wanted,
            CopySourceRange="bytes=0-1",
        )
    kms.enable_key(KeyId=key.rpartition("/")[2])
    assert place.s3.get_object(**wanted)["Body"].read() == CONTENT


# --- who may ----------------------------------------------------------------------------------------------------------


def user(place: Place, *kms: str, **conditions: Any) -> Somebody:
    """Make a user who may everything on S3, and these actions of KMS's on the key."""
    actions = [f"kms:{each}" for each in kms]
    more = {"Condition": {"StringEquals": conditions}} if conditions else {}
    rights = [allow("s3:*"), *([allow(actions, place.key, **more)] if actions else [])]
    return make_user(place.localaws, *rights)


def test_sealing_needs_generate_data_key_and_opening_decrypt(place: Place) -> None:
    seals, opens = user(place, "GenerateDataKey").client("s3"), user(place, "Decrypt").client("s3")
    wanted = {"Bucket": place.bucket, "Key": "mine"}
    seals.put_object(**wanted, Body=CONTENT, SSEKMSKeyId=place.key, **KMS)
    with refused("AccessDenied", f"is not authorized to perform: kms:Decrypt on resource: {place.key} because"):
        seals.get_object(**wanted)
    assert opens.get_object(**wanted)["Body"].read() == CONTENT
    with refused("AccessDenied", f"is not authorized to perform: kms:GenerateDataKey on resource: {place.key}"):
        opens.put_object(**wanted, Body=CONTENT, SSEKMSKeyId=place.alias, **KMS)


def test_a_look_needs_the_key_only_for_the_checksum(place: Place) -> None:
    place.put("look", ChecksumAlgorithm="SHA256", SSEKMSKeyId=place.key, **KMS)
    nobody = user(place).client("s3")
    assert nobody.head_object(Bucket=place.bucket, Key="look")["SSEKMSKeyId"] == place.key
    with refused("403"):
        nobody.head_object(Bucket=place.bucket, Key="look", ChecksumMode="ENABLED")


def test_parts_of_a_sealed_upload_need_decrypt(place: Place) -> None:
    client = user(place, "GenerateDataKey").client("s3")
    wanted = {"Bucket": place.bucket, "Key": "in-parts"}
    upload = client.create_multipart_upload(**wanted, SSEKMSKeyId=place.key, **KMS)["UploadId"]
    with refused("AccessDenied", "kms:Decrypt"):
        client.upload_part(**wanted, UploadId=upload, PartNumber=1, Body=CONTENT)


def test_a_copy_opens_its_source(place: Place) -> None:
    place.put("source", SSEKMSKeyId=place.key, **KMS)
    source = {"Bucket": place.bucket, "Key": "source"}
    with refused("AccessDenied", "kms:Decrypt"):
        user(place).client("s3").copy_object(Bucket=place.bucket, Key="copy", CopySource=source)


def test_each_version_is_opened_with_its_own_key(place: Place) -> None:
    wanted = {"Bucket": place.bucket, "Key": "versions"}
    place.s3.put_bucket_versioning(Bucket=place.bucket, VersioningConfiguration={"Status": "Enabled"})
    closed = place.put("versions", SSEKMSKeyId=place.key, **KMS)["VersionId"]
    plain = place.put("versions")["VersionId"]
    nobody = user(place).client("s3")
    with refused("AccessDenied", "kms:Decrypt"):
        nobody.get_object(**wanted, VersionId=closed)
    with refused("AccessDenied", "kms:Decrypt"):
        nobody.copy_object(Bucket=place.bucket, Key="copy", CopySource={**wanted, "VersionId": closed})
    place.put("versions", SSEKMSKeyId=place.key, **KMS)
    assert nobody.get_object(**wanted, VersionId=plain)["Body"].read() == CONTENT
    place.s3.put_bucket_versioning(Bucket=place.bucket, VersioningConfiguration={"Status": "Suspended"})


def test_a_functions_code_is_opened_in_the_name_of_who_gives_it(place: Place) -> None:
    place.put("code.zip", SSEKMSKeyId=place.key, **KMS)
    rights = [allow(["lambda:*", "s3:*"])]
    code = {"S3Bucket": place.bucket, "S3Key": "code.zip"}
    with refused("AccessDeniedException", "kms:Decrypt"):
        make_user(place.localaws, *rights).client("lambda").update_function_code(FunctionName="nothing", **code)
    opens = make_user(place.localaws, *rights, allow("kms:Decrypt", place.key)).client("lambda")
    with refused("ResourceNotFoundException"):
        opens.update_function_code(FunctionName="nothing", **code)


def test_an_alias_is_taken_from_a_key_by_who_may_on_the_key_too(place: Place) -> None:
    kms, name = place.localaws.client("kms"), f"alias/{secrets.token_hex(4)}"
    kms.create_alias(AliasName=name, TargetKeyId=place.key)
    other = kms.create_key()["KeyMetadata"]["Arn"]
    of_alias = place.key.rpartition(":")[0] + f":{name}"
    somebody = make_user(place.localaws, allow(["kms:DeleteAlias", "kms:UpdateAlias"], [of_alias, other])).client("kms")
    with refused("AccessDeniedException", f"kms:DeleteAlias on resource: {place.key}"):
        somebody.delete_alias(AliasName=name)
    with refused("AccessDeniedException", f"kms:UpdateAlias on resource: {place.key}"):
        somebody.update_alias(AliasName=name, TargetKeyId=other)
    kms.delete_alias(AliasName=name)


def test_the_right_may_hold_through_s3_only(place: Place) -> None:
    place.put("via", SSEKMSKeyId=place.key, **KMS)
    via = {"kms:ViaService": "s3.us-east-1.amazonaws.com"}
    through = user(place, "Decrypt", "Encrypt", **via)
    assert through.client("s3").get_object(Bucket=place.bucket, Key="via")["Body"].read() == CONTENT
    with refused("AccessDeniedException", "kms:Encrypt"):
        through.client("kms").encrypt(KeyId=place.key, Plaintext=b"x")


def test_a_key_policy_that_leaves_iam_out_decides_alone(place: Place) -> None:
    may = user(place, "Decrypt", "GenerateDataKey")
    kms = place.localaws.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    place.put("closed", SSEKMSKeyId=key, **KMS)
    nobody = '{"Version": "2012-10-17", "Statement": []}'
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=nobody, BypassPolicyLockoutSafetyCheck=True)
    with refused("AccessDenied", "kms:Decrypt"):
        may.client("s3").get_object(Bucket=place.bucket, Key="closed")


def test_an_alias_of_aws_is_for_aws_alone(place: Place) -> None:
    """A key with one may be used through S3 by everybody."""
    kms = place.localaws.client("kms")
    for change in (kms.create_alias, kms.update_alias):
        with refused("NotAuthorizedException", ""):
            change(AliasName=f"alias/aws/{secrets.token_hex(4)}", TargetKeyId=place.key)
    with refused("NotAuthorizedException", ""):
        kms.delete_alias(AliasName="alias/aws/s3")


@pytest.mark.parametrize(
    "policy",
    [
        *("nonsense", "[]", "5", "[" * 5000, '{"Statement": [5]}'),
        '{"Statement": [{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}]}',
        '{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*",'
        ' "Condition": {"Odd": {"aws:username": "a"}}}]}',
    ],
)
def test_a_key_policy_that_is_none_is_refused_and_the_key_keeps_its_own(place: Place, policy: str) -> None:
    kms = place.localaws.client("kms")
    with refused("MalformedPolicyDocumentException", ""):
        kms.create_key(Policy=policy)
    before = kms.get_key_policy(KeyId=place.key, PolicyName="default")["Policy"]
    with refused("MalformedPolicyDocumentException", ""):
        kms.put_key_policy(KeyId=place.key, PolicyName="default", Policy=policy)
    assert kms.get_key_policy(KeyId=place.key, PolicyName="default")["Policy"] == before
