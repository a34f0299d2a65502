"""Staging into a bucket that a key of KMS seals, where an ETag tells nothing: S3's checksums do."""

import secrets
from pathlib import Path
from typing import Any

import pytest

from tasks.account.encryption import Encryption, encryption_of, require_key
from tasks.account.objects import Content, holds_file, is_stored, list_objects, put_object, send_file
from tasks.run.aws import Aws
from tasks.run.errors import SettingsRefused
from tasks.run.settings import Settings
from tests.conftest import RunningLocalAws
from tests.tasks.data.datasets import good_files, write_zip
from tests.tasks.data.workplace import Workplace


@pytest.fixture
def key(localaws: RunningLocalAws) -> str:
    arn: str = localaws.client("kms").create_key()["KeyMetadata"]["Arn"]
    return arn


@pytest.fixture
def sealed(localaws: RunningLocalAws, tmp_path: Path, key: str) -> Workplace:
    """A bucket of the user's, whose default is a key of KMS."""
    s3, name = localaws.client("s3"), f"sealed-{secrets.token_hex(6)}"
    s3.create_bucket(Bucket=name)
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
    s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [rule]})
    return Workplace(localaws.url, tmp_path, name)


def keys_of(place: Workplace, prefix: str) -> set[Any]:
    found = list_objects(place.aws, place.aws.bucket, prefix)
    return {place.s3.head_object(Bucket=place.aws.bucket, Key=each).get("SSEKMSKeyId") for each in found}


def test_a_bucket_whose_default_is_a_key_of_kms_is_safe_and_its_key_is_used(
    sealed: Workplace, tmp_path: Path, key: str
) -> None:
    dataset, sent = sealed.stage(write_zip(tmp_path / "data.zip", good_files()))
    assert sent.sent > 0 and keys_of(sealed, dataset.prefix) == {key}
    assert encryption_of(sealed.aws, sealed.aws.bucket) == Encryption("aws:kms", key)


def test_what_is_sealed_already_is_not_sent_again_and_what_was_damaged_is(sealed: Workplace, tmp_path: Path) -> None:
    source = write_zip(tmp_path / "data.zip", good_files())
    dataset, _ = sealed.stage(source)
    before = sealed.changes
    assert sealed.stage(source)[1].sent == 0 and sealed.changes == before
    shard = f"{dataset.prefix}/train/shard-00000.tar"
    size = sealed.s3.head_object(Bucket=sealed.aws.bucket, Key=shard)["ContentLength"]
    sealed.s3.put_object(Bucket=sealed.aws.bucket, Key=shard, Body=bytes(size), ChecksumAlgorithm="SHA256")
    assert sealed.stage(source)[1].sent == 1


def test_objects_in_one_part_and_in_several_are_known_by_their_checksums(sealed: Workplace, tmp_path: Path) -> None:
    bucket, data = sealed.aws.bucket, b"photo"
    put_object(sealed.aws, bucket, "one", data, content_type="text/plain")
    stored = list_objects(sealed.aws, bucket, "one")["one"]
    assert stored.etag != Content.of(data).md5
    assert is_stored(sealed.aws, bucket, stored, Content.of(data))
    assert not is_stored(sealed.aws, bucket, stored, Content.of(b"other"))
    (tmp_path / "large").write_bytes(bytes(9 * 2**20))
    send_file(sealed.aws, tmp_path / "large", bucket, "large", "large")
    assert holds_file(sealed.aws, bucket, "large", tmp_path / "large")


def test_the_key_of_the_settings_comes_before_the_buckets_and_is_set_on_a_bucket_of_ours(
    localaws: RunningLocalAws, tmp_path: Path, key: str
) -> None:
    alias = f"alias/{secrets.token_hex(4)}"
    localaws.client("kms").create_alias(AliasName=alias, TargetKeyId=key)
    place = Workplace(localaws.url, tmp_path, f"kennel-{secrets.token_hex(6)}", kms_key=alias)
    dataset, _ = place.stage(write_zip(tmp_path / "data.zip", good_files()))
    assert keys_of(place, dataset.prefix) == {key}
    rules = place.s3.get_bucket_encryption(Bucket=place.aws.bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}


def test_a_key_that_does_not_exist_or_is_disabled_is_refused(localaws: RunningLocalAws, key: str) -> None:
    with pytest.raises(SettingsRefused, match="alias/nobody"):
        require_key(Aws(Settings(endpoint_url=localaws.url, kms_key="alias/nobody")))
    localaws.client("kms").disable_key(KeyId=key.rpartition("/")[2])
    with pytest.raises(SettingsRefused, match="its state is Disabled"):
        require_key(Aws(Settings(endpoint_url=localaws.url, kms_key=key)))


def test_volumes_are_sealed_where_instances_have_no_disks_of_their_own() -> None:
    sealed = Encryption("aws:kms", "arn:k")
    types = {"ml.m5.xlarge", "ml.c7i.large", "ml.m7i-flex.large", "ml.g4dn.xlarge", "ml.m5d.large", "ml.p5.48xlarge"}
    assert {each for each in types if sealed.of_volume(each)} == {"ml.m5.xlarge", "ml.c7i.large", "ml.m7i-flex.large"}
    assert Encryption().of_volume("ml.m5.xlarge") is None
