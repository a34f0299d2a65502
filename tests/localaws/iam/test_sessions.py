"""AssumeRole as STS does it: what the role has to trust, tags, chains of roles, and parameters that are none."""

import io
import uuid
import zipfile
from typing import Any

import pytest

from tests.conftest import RunningLocalAws
from tests.localaws.callers import ACCOUNT, Somebody, allow, assume, deny, document, make_role, make_user, refusal

RED = [{"Key": "team", "Value": "red"}]
EVERY = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]


@pytest.fixture
def user(localaws: RunningLocalAws) -> Somebody:
    return make_user(localaws, allow("sts:*"))


def trusting(localaws: RunningLocalAws, who: str, actions: list[str], *statements: Any, **more: Any) -> str:
    """Make a role that `who` may use for these actions."""
    role = make_role(localaws, {"AWS": who}, *statements)
    trust = document({"Effect": "Allow", "Principal": {"AWS": who}, "Action": actions})
    localaws.client("iam").update_assume_role_policy(RoleName=role.rpartition("/")[2], PolicyDocument=trust)
    if more:
        localaws.client("iam").update_role(RoleName=role.rpartition("/")[2], **more)
    return role


@pytest.mark.parametrize(
    ("action", "given"), [("sts:TagSession", {"Tags": RED}), ("sts:SetSourceIdentity", {"SourceIdentity": "bob"})]
)
def test_a_role_trusts_tags_and_source_identity_or_there_is_no_session(
    localaws: RunningLocalAws, user: Somebody, action: str, given: dict[str, Any]
) -> None:
    plain, trusts = (trusting(localaws, user.arn, EVERY[:1] + more) for more in ([], [action]))
    code, text = refusal(assume, user, plain, **given)
    assert (code, text) == (
        "AccessDenied",
        f"User: {user.arn} is not authorized to perform: {action} on resource: {plain}",
    )
    assume(user, trusts, **given)
    forbidden = make_user(localaws, allow("sts:*"), deny(action))
    assert refusal(assume, forbidden, trusting(localaws, forbidden.arn, EVERY), **given)[0] == "AccessDenied"


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        ({"Tags": [*RED, {"Key": "TEAM", "Value": "blue"}]}, "InvalidParameterValue", "Tag keys are case insensitive"),
        ({"Tags": RED, "TransitiveTagKeys": ["other"]}, "InvalidParameterValue", "must be included"),
        ({"Tags": [{"Key": "team", "Value": "\0*"}]}, "ValidationError", "at 'tags.1.member.value' failed"),
        ({"Tags": [{"Key": "team", "Value": "a\nb"}]}, "ValidationError", "at 'tags.1.member.value' failed"),
        ({"Tags": [{"Key": "a*", "Value": ""}]}, "ValidationError", "at 'tags.1.member.key' failed"),
        ({"RoleSessionName": "a"}, "ValidationError", "length greater than or equal to 2"),
        ({"RoleSessionName": "a/b:*"}, "ValidationError", r"pattern: [\w+=,.@-]*"),
        ({"RoleSessionName": "é-é"}, "ValidationError", r"pattern: [\w+=,.@-]*"),
        ({"RoleSessionName": "x" * 65}, "ValidationError", "length less than or equal to 64"),
        ({"SourceIdentity": "a b"}, "ValidationError", "at 'sourceIdentity' failed"),
        ({"DurationSeconds": 899}, "ValidationError", "greater than or equal to 900"),
        ({"DurationSeconds": 43201}, "ValidationError", "less than or equal to 43200"),
    ],
)
def test_a_parameter_that_sts_does_not_take_is_refused(
    localaws: RunningLocalAws, user: Somebody, given: dict[str, Any], code: str, says: str
) -> None:
    role = trusting(localaws, user.arn, EVERY)
    wanted = {"RoleArn": role, "RoleSessionName": "test", **given}
    got, text = refusal(user.client("sts", parameter_validation=False).assume_role, **wanted)
    assert (got, says in text) == (code, True), (got, text)


def test_transitive_tags_go_along_a_chain_and_stay_as_they_are(localaws: RunningLocalAws, user: Somebody) -> None:
    first = trusting(localaws, user.arn, EVERY, allow("sts:*"))
    no_red = deny("s3:ListAllMyBuckets", Condition={"StringEquals": {"aws:PrincipalTag/team": "red"}})
    second = trusting(localaws, first, EVERY, allow("*"), no_red)
    third = trusting(localaws, second, EVERY, allow("*"), no_red)
    begun = assume(user, first, Tags=[*RED, {"Key": "own", "Value": "1"}], TransitiveTagKeys=["Team"])
    for given in ({"Tags": [{"Key": "TEAM", "Value": "blue"}]}, {"TransitiveTagKeys": ["team"]}):
        code, text = refusal(assume, begun, second, **given)
        assert code == "InvalidParameterValue" and "conflicts with a transitive tag key" in text
    for chained in (assume(begun, second), assume(assume(begun, second, Tags=[{"Key": "x", "Value": "y"}]), third)):
        assert "explicit deny" in refusal(chained.client("s3").list_buckets)[1]
    assert "Buckets" in assume(assume(user, first, Tags=RED), second).client("s3").list_buckets()


def test_a_source_identity_is_kept_in_a_chain_and_is_a_condition(localaws: RunningLocalAws, user: Somebody) -> None:
    first = trusting(localaws, user.arn, EVERY, allow("sts:*"))
    no_bob = deny("s3:ListAllMyBuckets", Condition={"StringEquals": {"aws:SourceIdentity": "bob"}})
    second, untrusting = (trusting(localaws, first, each, allow("*"), no_bob) for each in (EVERY, EVERY[:2]))
    sts = user.client("sts")
    told = sts.assume_role(RoleArn=first, RoleSessionName="test", SourceIdentity="bob")
    assert told["SourceIdentity"] == "bob"
    begun = assume(user, first, SourceIdentity="bob")
    assert "explicit deny" in refusal(assume(begun, second).client("s3").list_buckets)[1]
    assert refusal(assume, begun, second, SourceIdentity="eve") == (
        "ValidationError",
        "The source identity is already set for this assume role session",
    )
    assert "sts:SetSourceIdentity" in refusal(assume, begun, untrusting)[1]
    assert "Buckets" in assume(assume(user, first), untrusting).client("s3").list_buckets()


def test_a_chained_session_lasts_an_hour_at_most(localaws: RunningLocalAws, user: Somebody) -> None:
    first = trusting(localaws, user.arn, EVERY, allow("sts:*"), MaxSessionDuration=43200)
    second = trusting(localaws, first, EVERY, MaxSessionDuration=43200)
    begun = assume(user, first, DurationSeconds=43200)
    code, text = refusal(assume, begun, second, DurationSeconds=3601)
    assert (code, "1 hour session limit for roles assumed by role chaining" in text) == ("ValidationError", True)
    assume(begun, second, DurationSeconds=3600)


def test_a_session_of_a_role_that_is_gone_has_no_rights_of_the_next_one(
    localaws: RunningLocalAws, user: Somebody
) -> None:
    iam, name = localaws.client("iam"), f"again-{uuid.uuid4().hex[:8]}"
    old = assume(user, make_role(localaws, {"AWS": user.arn}, allow("*"), name=name))
    before = old.client("sts").get_caller_identity()["UserId"]
    remove_role(iam, name)
    role = make_role(localaws, {"AWS": ACCOUNT}, allow("*"), name=name)
    bucket = make_bucket(localaws, allow_to(role))
    assert refusal(old.client("s3").list_buckets)[0] == "AccessDenied"
    assert refusal(old.client("s3").list_objects_v2, Bucket=bucket)[0] == "AccessDenied"
    assert old.client("sts").get_caller_identity()["UserId"] == before
    assert assume(user, role).client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def remove_role(iam: Any, name: str) -> None:
    iam.delete_role_policy(RoleName=name, PolicyName="own")
    iam.delete_role(RoleName=name)


def make_bucket(localaws: RunningLocalAws, policy: Any) -> str:
    s3, name = localaws.client("s3"), f"named-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    arn = f"arn:aws:s3:::{name}"
    s3.put_bucket_policy(Bucket=name, Policy=document({**policy, "Resource": [arn, f"{arn}/*"]}))
    return name


def allow_to(arn: str) -> dict[str, Any]:
    return allow("s3:ListBucket", Principal={"AWS": arn})


def test_a_user_that_is_made_again_is_another_principal(localaws: RunningLocalAws) -> None:
    iam, s3 = localaws.client("iam"), localaws.client("s3")
    old = make_user(localaws)
    name, unique_id = old.arn.rpartition("/")[2], old.client("sts").get_caller_identity()["UserId"]
    role, bucket = make_role(localaws, {"AWS": old.arn}, allow("*")), make_bucket(localaws, allow_to(old.arn))
    assume(old, role).client("s3").list_objects_v2(Bucket=bucket)
    iam.delete_access_key(UserName=name, AccessKeyId=old.keys["aws_access_key_id"])
    iam.delete_user(UserName=name)
    new = make_user(localaws, name=name)
    assert refusal(assume, new, role)[0] == "AccessDenied"
    assert refusal(new.client("s3").list_objects_v2, Bucket=bucket)[0] == "AccessDenied"
    trust = iam.get_role(RoleName=role.rpartition("/")[2])["Role"]["AssumeRolePolicyDocument"]
    assert trust["Statement"][0]["Principal"] == {"AWS": unique_id} and unique_id.startswith("AIDA")
    assert unique_id in s3.get_bucket_policy(Bucket=bucket)["Policy"]
    stale = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    assert refusal(s3.put_bucket_policy, Bucket=bucket, Policy=stale) == (
        "MalformedPolicy",
        "Invalid principal in policy",
    )


def test_a_function_s_policy_names_a_user_that_exists_and_stays_that_one(localaws: RunningLocalAws) -> None:
    iam, functions = localaws.client("iam"), localaws.client("lambda")
    old, name = make_user(localaws), f"named-{uuid.uuid4().hex[:8]}"
    make_function(localaws, name)
    added = {"FunctionName": name, "StatementId": "s", "Action": "lambda:GetFunction", "Principal": old.arn}
    functions.add_permission(**added)
    assert old.client("lambda").get_function(FunctionName=name)["Configuration"]["FunctionName"] == name
    iam.delete_access_key(UserName=old.arn.rpartition("/")[2], AccessKeyId=old.keys["aws_access_key_id"])
    iam.delete_user(UserName=old.arn.rpartition("/")[2])
    assert refusal(functions.add_permission, **{**added, "StatementId": "t"}) == (
        "InvalidParameterValueException",
        "The provided principal was invalid. Please check the principal and try again.",
    )
    new = make_user(localaws, name=old.arn.rpartition("/")[2])
    assert refusal(new.client("lambda").get_function, FunctionName=name)[0] == "AccessDeniedException"
    functions.delete_function(FunctionName=name)


def make_function(localaws: RunningLocalAws, name: str) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("handler.py", "def handle(event, context):\n    return event\n")
    role = make_role(localaws, {"Service": "lambda.amazonaws.com"})
    code = {"Code": {"ZipFile": content.getvalue()}, "Handler": "handler.handle", "Runtime": "python3.11"}
    localaws.client("lambda").create_function(FunctionName=name, Role=role, **code)


def test_a_user_that_is_renamed_stays_the_principal(localaws: RunningLocalAws) -> None:
    user, name = make_user(localaws), f"renamed-{uuid.uuid4().hex[:8]}"
    bucket = make_bucket(localaws, allow_to(user.arn))
    localaws.client("iam").update_user(UserName=user.arn.rpartition("/")[2], NewUserName=name)
    assert f":user/{name}" in localaws.client("s3").get_bucket_policy(Bucket=bucket)["Policy"]
    later = make_user(localaws, name=user.arn.rpartition("/")[2])
    assert refusal(later.client("s3").list_objects_v2, Bucket=bucket)[0] == "AccessDenied"
