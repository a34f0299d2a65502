"""Key policies: one that would keep its giver from changing it again is refused, unless that is asked for."""

import json
from typing import Any

import pytest

from tests.conftest import RunningLocalAws
from tests.localaws.callers import ACCOUNT, Somebody, allow, assume, deny, document, make_role, make_user, refusal

ROOT = f"arn:aws:iam::{ACCOUNT}:root"
LOCKED_OUT = (
    "MalformedPolicyDocumentException",
    "The new key policy will not allow you to update the key policy in the future.",
)
OTHER = f"arn:aws:iam::{ACCOUNT}:user/other"


@pytest.fixture
def maker(localaws: RunningLocalAws) -> Somebody:
    return make_user(localaws, allow("kms:*"))


def policy(principal: Any, action: str = "kms:*", **more: Any) -> str:
    return document(allow(action, Principal=principal, **more))


def test_a_policy_that_locks_its_giver_out_is_refused_and_the_key_keeps_its_own(maker: Somebody) -> None:
    kms = maker.client("kms")
    key = kms.create_key()["KeyMetadata"]["Arn"]
    before = kms.get_key_policy(KeyId=key, PolicyName="default")
    for text in (
        policy({"AWS": OTHER}),
        policy({"AWS": maker.arn}, "kms:Decrypt"),
        policy({"AWS": maker.arn}, Condition={"StringEquals": {"kms:CallerAccount": "999999999999"}}),
        policy({"AWS": maker.arn}, Condition={"Bool": {"aws:ViaAWSService": "true"}}),
        document(allow("kms:*", Principal={"AWS": ROOT}), deny("kms:Put*", Principal={"AWS": maker.arn})),
        document(),
    ):
        assert refusal(kms.create_key, Policy=text) == LOCKED_OUT, text
        assert refusal(kms.put_key_policy, KeyId=key, PolicyName="default", Policy=text) == LOCKED_OUT, text
    assert refusal(kms.put_key_policy, KeyId=key, Policy=policy({"AWS": OTHER})) == LOCKED_OUT
    assert kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"] == before["Policy"]


def test_a_policy_that_lets_its_giver_or_the_account_change_it_is_taken(maker: Somebody) -> None:
    kms = maker.client("kms")
    for text in (
        policy({"AWS": maker.arn}),
        policy({"AWS": maker.arn}, "kms:PutKeyPolicy", Condition={"StringEquals": {"kms:CallerAccount": ACCOUNT}}),
        policy({"AWS": maker.arn}, Condition={"StringEquals": {"aws:RequestedRegion": "us-east-1"}}),
        policy({"AWS": ROOT}),
        policy({"AWS": ACCOUNT}),
        policy("*"),
    ):
        key = kms.create_key(Policy=text)["KeyMetadata"]["Arn"]
        kms.put_key_policy(KeyId=key, PolicyName="default", Policy=policy({"AWS": maker.arn}))
        assert json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])["Statement"]


def test_who_asks_for_it_may_lock_themselves_out(maker: Somebody) -> None:
    kms, text = maker.client("kms"), policy({"AWS": OTHER})
    key = kms.create_key(Policy=text, BypassPolicyLockoutSafetyCheck=True)["KeyMetadata"]["Arn"]
    assert refusal(kms.describe_key, KeyId=key)[0] == "AccessDeniedException"
    own = kms.create_key()["KeyMetadata"]["Arn"]
    kms.put_key_policy(KeyId=own, PolicyName="default", Policy=text, BypassPolicyLockoutSafetyCheck=True)
    assert refusal(kms.put_key_policy, KeyId=own, PolicyName="default", Policy=text)[0] == "AccessDeniedException"


def test_a_session_is_let_in_by_its_role_and_the_root_user_by_the_account(localaws: RunningLocalAws) -> None:
    user = make_user(localaws, allow("sts:AssumeRole"))
    role = make_role(localaws, {"AWS": user.arn}, allow("kms:*"))
    assert assume(user, role).client("kms").create_key(Policy=policy({"AWS": role}))["KeyMetadata"]["Arn"]
    root = localaws.client("kms")
    assert root.create_key(Policy=policy({"AWS": ROOT}))["KeyMetadata"]["Arn"]
    assert refusal(root.create_key, Policy=policy({"AWS": role})) == LOCKED_OUT
