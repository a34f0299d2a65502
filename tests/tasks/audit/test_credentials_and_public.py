"""Passwords, access keys, buckets and functions."""

from typing import Any

import pytest

from tasks.audit.account import Bucket, Credentials, FunctionPolicy
from tests.tasks.audit.accounts import arn, days_ago, found, kinds
from tests.tasks.audit.planted import OWN, Raw, allow, deny, document

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
FUNCTION = f"arn:aws:lambda:us-east-1:{OWN}:function:f"
INVOKE = allow("lambda:InvokeFunction", FUNCTION, Sid="s")


def user(keys: dict[str, int], *, name: str = "ann", has_password: bool = False, has_mfa: bool = False) -> Credentials:
    made = {key: days_ago(age) for key, age in keys.items()}
    return Credentials(name, arn("user", name), has_password, has_mfa, made)


def of(row: Credentials) -> list[str]:
    return [kind for _, kind in kinds(credentials=(row,))]


def test_keys_are_old_after_90_days_and_several_when_there_are_two() -> None:
    assert of(user({})) == of(user({"AKIA1": 89})) == []
    assert of(user({"AKIA1": 91})) == ["access-key-old"]
    assert of(user({"AKIA1": 1, "AKIA2": 2})) == ["access-key-several"]


def test_the_commands_deactivate_the_old_key_and_all_but_the_newest() -> None:
    old, several = found(credentials=(user({"AKIA1": 100, "AKIA2": 2}),))
    command = "aws iam update-access-key --user-name=ann --access-key-id=AKIA1 --status=Inactive"
    assert (old.commands, several.commands) == ((command,), (command,))
    assert old.evidence == "user ann has AKIA1 of 2026-08-20, older than 90 days"


def test_a_password_needs_mfa() -> None:
    assert of(user({}, has_password=True)) == ["no-mfa"]
    assert of(user({}, has_password=True, has_mfa=True)) == []


def test_the_root_user_needs_mfa_and_no_key_and_nobody_else_can_mend_that() -> None:
    findings = found(credentials=(user({"1": 1}, name="<root_account>", has_password=True),))
    assert [(each.id, each.commands) for each in findings] == [("root-access-key", ()), ("no-mfa", ())]


def bucket(*statements: Raw, grantees: tuple[str, ...] = ()) -> list[Any]:
    return [kind for _, kind in kinds(buckets=(Bucket("photos", document(*statements), grantees),))]


def everyone(**more: Any) -> Raw:
    return {**allow("s3:GetObject", "arn:aws:s3:::photos/*"), "Principal": "*", **more}


def test_a_bucket_is_public_by_its_policy_or_its_acl() -> None:
    assert bucket(everyone()) == bucket(grantees=(ALL_USERS,)) == ["bucket-public"]
    assert bucket() == bucket({**everyone(), "Principal": {"AWS": OWN}}) == bucket(grantees=("",)) == []
    assert bucket({**everyone(), "Principal": {"Service": "cloudfront.amazonaws.com"}}) == []


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"StringEquals": {"aws:SourceVpce": "vpce-1"}}, []),
        ({"StringEquals": {"aws:PrincipalOrgID": "o-1"}}, []),
        ({"IpAddress": {"aws:SourceIp": ["203.0.113.0/24"]}}, []),
        ({"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "0.0.0.0/0"]}}, ["bucket-public"]),
        ({"Bool": {"aws:SecureTransport": "true"}}, ["bucket-public"]),
        ({"StringLike": {"aws:Referer": "https://example.org/*"}}, ["bucket-public"]),
    ],
)
def test_a_bucket_is_not_public_if_a_condition_names_its_readers(condition: Raw, expected: list[str]) -> None:
    assert bucket(everyone(Condition=condition)) == expected


def test_a_deny_without_encryption_leaves_a_bucket_public() -> None:
    plain = {**deny("s3:*", "arn:aws:s3:::photos/*"), "Principal": "*"}
    assert bucket(everyone(), {**plain, "Condition": {"Bool": {"aws:SecureTransport": "false"}}}) == ["bucket-public"]
    assert bucket(everyone(), plain) == []
    all_but_deleting = {**everyone(), "NotAction": "s3:DeleteBucket"}
    del all_but_deleting["Action"]
    assert bucket(all_but_deleting, {**plain, "Action": "s3:PutObject"}) == ["bucket-public"]
    assert bucket(all_but_deleting, {**plain, "Action": "*"}) == []


def function(principal: Any, qualifier: str | None = None, **more: Any) -> Any:
    policy = FunctionPolicy("f", FUNCTION, qualifier, document({**INVOKE, "Principal": principal, **more}), "us-east-1")
    return found(functions=(policy,))


def test_a_function_with_everybody_in_its_policy_is_public() -> None:
    (finding,) = function("*", "live")
    assert finding.id == "function-public"
    assert finding.commands == (
        "aws lambda remove-permission --region=us-east-1 --function-name=f --qualifier=live --statement-id=s",
    )
    for condition in (
        {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}},
        {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}},
    ):
        (url,) = function("*", Condition=condition)
        assert (url.id, url.severity) == ("function-url-public", "high")
        assert "policy allows everybody lambda:InvokeFunction" in url.evidence


def test_a_service_that_invokes_for_any_customer_is_a_confused_deputy() -> None:
    (finding,) = function({"Service": "s3.amazonaws.com"})
    assert finding.id == "confused-deputy"
    assert finding.commands == (
        "aws lambda remove-permission --region=us-east-1 --function-name=f --statement-id=s",
        "aws lambda add-permission --region=us-east-1 --function-name=f --statement-id=s --principal=s3.amazonaws.com "
        f"--action=lambda:InvokeFunction --source-account={OWN}",
    )


def test_a_service_with_its_source_and_an_account_are_neither() -> None:
    assert function({"Service": "s3.amazonaws.com"}, Condition={"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::b"}}) == []
    assert function({"AWS": f"arn:aws:iam::{OWN}:root"}) == []
