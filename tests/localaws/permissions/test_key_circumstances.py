"""Conditions on KMS's own operations: a Deny counts for what the request says of the key, and for what the key is."""

import secrets
from typing import Any

import pytest

from tests.conftest import RunningLocalAws
from tests.localaws.callers import Somebody, allow, deny, make_user, refusal

CONTEXT = {"Plaintext": b"x", "EncryptionContext": {"App": "shop"}}


@pytest.fixture(scope="module")
def key(localaws: RunningLocalAws) -> str:
    kms = localaws.client("kms")
    made = kms.create_key(Tags=[{"TagKey": "Team", "TagValue": "red"}])["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName=f"alias/first-{secrets.token_hex(4)}", TargetKeyId=made)
    return str(made)


def user(localaws: RunningLocalAws, operator: str, condition: str, value: str) -> Somebody:
    return make_user(localaws, allow("kms:*"), deny("kms:*", Condition={operator: {condition: value}}))


@pytest.mark.parametrize(
    ("call", "given", "operator", "condition", "value"),
    [
        ("encrypt", CONTEXT, "StringEquals", "kms:EncryptionContext:App", "shop"),
        ("encrypt", CONTEXT, "ForAnyValue:StringEquals", "kms:EncryptionContextKeys", "App"),
        ("encrypt", {"Plaintext": b"x"}, "StringEquals", "kms:EncryptionAlgorithm", "SYMMETRIC_DEFAULT"),
        ("describe_key", {}, "StringEquals", "kms:CallerAccount", "123456789012"),
        ("describe_key", {}, "ForAnyValue:StringLike", "kms:ResourceAliases", "alias/first-*"),
        ("describe_key", {}, "StringEquals", "kms:KeySpec", "SYMMETRIC_DEFAULT"),
        ("describe_key", {}, "StringEquals", "aws:ResourceTag/Team", "red"),
        ("schedule_key_deletion", {"PendingWindowInDays": 7}, "NumericLessThan",
         "kms:ScheduleKeyDeletionPendingWindowInDays", "10"),
        ("tag_resource", {"Tags": [{"TagKey": "a", "TagValue": "b"}]}, "StringEquals", "aws:RequestTag/a", "b"),
    ],
)  # fmt: skip
def test_a_deny_counts(
    localaws: RunningLocalAws, key: str, call: str, given: dict[str, Any], operator: str, condition: str, value: str
) -> None:
    denied = user(localaws, operator, condition, value).client("kms")
    assert refusal(getattr(denied, call), KeyId=key, **given)[0] == "AccessDeniedException"
    other = user(localaws, operator, condition, "1" if operator.startswith("Numeric") else "other").client("kms")
    assert other.describe_key(KeyId=key)["KeyMetadata"]["Arn"] == key


def test_a_key_by_its_alias_is_asked_for_by_that(localaws: RunningLocalAws, key: str) -> None:
    (alias,) = (each["AliasName"] for each in localaws.client("kms").list_aliases(KeyId=key)["Aliases"])
    kms = user(localaws, "StringEquals", "kms:RequestAlias", alias).client("kms")
    assert refusal(kms.describe_key, KeyId=alias)[0] == "AccessDeniedException"
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["Arn"] == key


def test_tags_of_a_new_key_need_to_be_allowed(localaws: RunningLocalAws) -> None:
    kms = make_user(localaws, allow("kms:*"), deny("kms:TagResource")).client("kms")
    tags = [{"TagKey": "a", "TagValue": "b"}]
    assert refusal(kms.create_key, Tags=tags)[0] == "AccessDeniedException"
    assert kms.create_key()["KeyMetadata"]["KeyState"] == "Enabled"


def test_an_encryption_context_that_is_allowed_is_let_through(localaws: RunningLocalAws, key: str) -> None:
    kms = make_user(
        localaws, allow("kms:Encrypt", Condition={"StringEquals": {"kms:EncryptionContext:App": "shop"}})
    ).client("kms")
    assert kms.encrypt(KeyId=key, **CONTEXT)["KeyId"] == key
    assert refusal(kms.encrypt, KeyId=key, Plaintext=b"x")[0] == "AccessDeniedException"
