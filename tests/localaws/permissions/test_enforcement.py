"""Every request is allowed or refused as its caller's policies say, by each service in its own shape."""

import urllib.request
import uuid
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode

import pytest
from botocore.awsrequest import AWSRequest

from localaws.auth.root_key import AccessKey
from tests.conftest import RunningLocalAws
from tests.keys import signed
from tests.localaws.callers import ACCOUNT, Somebody, allow, assume, deny, document, make_role, make_user, refusal
from tests.localaws.functions.functions_kit import zipped

EVERYTHING = allow("*")
ENDPOINT = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/nobody-has-it"


@pytest.fixture
def bucket(localaws: RunningLocalAws) -> str:
    name = f"iam-{uuid.uuid4().hex[:12]}"
    localaws.client("s3").create_bucket(Bucket=name)
    localaws.client("s3").put_object(Bucket=name, Key="open/1", Body=b"1")
    localaws.client("s3").put_object(Bucket=name, Key="closed/1", Body=b"1")
    return name


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "code", "resource"),
    [
        ("s3", "list_buckets", {}, "AccessDenied", '"*"'),
        ("iam", "create_role", {"RoleName": "r", "AssumeRolePolicyDocument": "{}"}, "AccessDenied", ":role/r"),
        ("ec2", "describe_instances", {}, "UnauthorizedOperation", None),
        ("sagemaker", "list_endpoints", {}, "AccessDeniedException", "*"),
        (
            "sagemaker-runtime",
            "invoke_endpoint",
            {"EndpointName": "E", "Body": b""},
            "AccessDeniedException",
            "endpoint/e",
        ),
        ("lambda", "invoke", {"FunctionName": "f"}, "AccessDeniedException", ":function:f"),
        ("logs", "describe_log_groups", {}, "AccessDeniedException", ":log-group::log-stream:"),
        ("cloudwatch", "describe_alarms", {}, "AccessDenied", "*"),
        (
            "application-autoscaling",
            "describe_scalable_targets",
            {"ServiceNamespace": "sagemaker"},
            "AccessDeniedException",
            "*",
        ),
        ("ssm", "get_parameter", {"Name": "/p"}, "AccessDeniedException", ":parameter/p"),
    ],
)
def test_without_a_policy_nothing_is_allowed_and_the_answer_is_aws_s(
    localaws: RunningLocalAws, service: str, operation: str, parameters: dict[str, Any], code: str, resource: str | None
) -> None:
    nobody = make_user(localaws)
    got, text = refusal(getattr(nobody.client(service), operation), **parameters)
    assert got.startswith(code)
    assert f"User: {nobody.arn} is not authorized to perform: " in text
    assert "because no identity-based policy allows the" in text
    assert resource is None or resource in text


def test_a_user_with_deny_everything_makes_nothing(localaws: RunningLocalAws) -> None:
    denied = make_user(localaws, EVERYTHING, deny("*"))
    for service, operation, parameters in (
        ("s3", "list_buckets", {}),
        ("iam", "create_role", {"RoleName": "never", "AssumeRolePolicyDocument": document()}),
    ):
        _, text = refusal(getattr(denied.client(service), operation), **parameters)
        assert "with an explicit deny in an identity-based policy" in text
    assert refusal(localaws.client("iam").get_role, RoleName="never")[0] == "NoSuchEntity"


def test_who_asks_needs_no_permission_to_know_it(localaws: RunningLocalAws) -> None:
    nobody = make_user(localaws)
    assert nobody.client("sts").get_caller_identity()["Arn"] == nobody.arn


def test_a_change_of_a_policy_counts_at_the_next_request(localaws: RunningLocalAws, bucket: str) -> None:
    user = make_user(localaws)
    name, s3, iam = user.arn.rpartition("/")[2], user.client("s3"), localaws.client("iam")
    for allowed in (True, False, True):
        if allowed:
            iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document(allow("s3:GetObject")))
            assert s3.get_object(Bucket=bucket, Key="open/1")["ContentLength"] == 1
        else:
            iam.delete_user_policy(UserName=name, PolicyName="p")
            assert refusal(s3.get_object, Bucket=bucket, Key="open/1")[0] == "AccessDenied"


def test_groups_and_attached_policies_and_boundaries_count(localaws: RunningLocalAws, bucket: str) -> None:
    iam, user = localaws.client("iam"), make_user(localaws)
    name, s3, unique = user.arn.rpartition("/")[2], user.client("s3"), uuid.uuid4().hex[:8]
    iam.create_group(GroupName=unique)
    iam.put_group_policy(GroupName=unique, PolicyName="p", PolicyDocument=document(allow("s3:GetObject")))
    iam.add_user_to_group(GroupName=unique, UserName=name)
    assert s3.get_object(Bucket=bucket, Key="open/1")["ContentLength"] == 1
    made = iam.create_policy(
        PolicyName=unique, PolicyDocument=document(deny("s3:GetObject", "arn:aws:s3:::*/closed/*"))
    )
    iam.attach_user_policy(UserName=name, PolicyArn=made["Policy"]["Arn"])
    assert "explicit deny" in refusal(s3.get_object, Bucket=bucket, Key="closed/1")[1]
    assert s3.get_object(Bucket=bucket, Key="open/1")["ContentLength"] == 1


def test_a_role_s_boundary_bounds_it(localaws: RunningLocalAws, bucket: str) -> None:
    iam, user = localaws.client("iam"), make_user(localaws, allow("sts:AssumeRole"))
    made = iam.create_policy(PolicyName=uuid.uuid4().hex[:8], PolicyDocument=document(allow("s3:ListBucket")))
    role = make_role(localaws, {"AWS": ACCOUNT}, EVERYTHING)
    name = role.rpartition("/")[2]
    iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=made["Policy"]["Arn"])
    session = assume(user, role).client("s3")
    assert session.list_objects_v2(Bucket=bucket)["KeyCount"] == 2
    assert (
        "no permissions boundary allows the s3:GetObject" in refusal(session.get_object, Bucket=bucket, Key="open/1")[1]
    )


def test_a_user_s_boundary_bounds_it_from_the_start(localaws: RunningLocalAws, bucket: str) -> None:
    iam, name = localaws.client("iam"), f"bounded-{uuid.uuid4().hex[:8]}"
    policy = iam.create_policy(PolicyName=name, PolicyDocument=document(allow("s3:ListBucket")))["Policy"]["Arn"]
    given = {"UserName": name, "PermissionsBoundary": policy}
    told = iam.create_user(**given)["User"]["PermissionsBoundary"]
    assert told == {"PermissionsBoundaryType": "PermissionsBoundaryPolicy", "PermissionsBoundaryArn": policy}
    assert iam.get_user(UserName=name)["User"]["PermissionsBoundary"] == told
    details = iam.get_account_authorization_details(Filter=["User"])["UserDetailList"]
    assert [each.get("PermissionsBoundary") for each in details if each["UserName"] == name] == [told]
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document(EVERYTHING))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    keys = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    s3 = Somebody("", localaws.url, keys).client("s3")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 2
    assert "no permissions boundary allows" in refusal(s3.get_object, Bucket=bucket, Key="open/1")[1]
    iam.delete_user_permissions_boundary(UserName=name)
    assert s3.get_object(Bucket=bucket, Key="open/1")["ContentLength"] == 1
    iam.put_user_permissions_boundary(**given)
    assert "no permissions boundary allows" in refusal(s3.get_object, Bucket=bucket, Key="open/1")[1]


@pytest.mark.parametrize("kind", ["user", "role"])
def test_a_boundary_that_does_not_exist_is_refused(localaws: RunningLocalAws, kind: str) -> None:
    iam, name = localaws.client("iam"), f"boundless-{uuid.uuid4().hex[:8]}"
    boundary = {"PermissionsBoundary": f"arn:aws:iam::{ACCOUNT}:policy/none"}
    trust = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}
    given = {"UserName": name} if kind == "user" else {"RoleName": name, "AssumeRolePolicyDocument": document(trust)}
    assert refusal(getattr(iam, f"create_{kind}"), **given, **boundary)[0] == "NoSuchEntity"
    getattr(iam, f"create_{kind}")(**given)
    put = getattr(iam, f"put_{kind}_permissions_boundary")
    assert refusal(put, **{f"{kind.capitalize()}Name": name}, **boundary)[0] == "NoSuchEntity"


def test_a_session_is_bounded_by_the_policies_it_was_made_with(localaws: RunningLocalAws, bucket: str) -> None:
    user, role = make_user(localaws, allow("sts:AssumeRole")), make_role(localaws, {"AWS": ACCOUNT}, EVERYTHING)
    bounded = assume(user, role, Policy=document(allow("s3:GetObject", "arn:aws:s3:::*/open/*"))).client("s3")
    assert bounded.get_object(Bucket=bucket, Key="open/1")["ContentLength"] == 1
    assert "no session policy allows" in refusal(bounded.get_object, Bucket=bucket, Key="closed/1")[1]
    assert assume(user, role).client("s3").get_object(Bucket=bucket, Key="closed/1")["ContentLength"] == 1


def test_a_role_is_assumed_by_whom_it_trusts(localaws: RunningLocalAws) -> None:
    user, other = make_user(localaws, allow("sts:AssumeRole")), make_user(localaws)
    by_account, by_name = make_role(localaws, {"AWS": ACCOUNT}), make_role(localaws, {"AWS": other.arn})
    of_lambda = make_role(localaws, {"Service": "lambda.amazonaws.com"})
    nobody = f"arn:aws:iam::{ACCOUNT}:role/nobody"
    assert assume(user, by_account).arn.startswith(f"arn:aws:sts::{ACCOUNT}:assumed-role/")
    assert assume(other, by_name).arn.startswith(f"arn:aws:sts::{ACCOUNT}:assumed-role/")
    for who, role in ((user, by_name), (user, of_lambda), (user, nobody), (other, by_account), (other, nobody)):
        code, text = refusal(who.client("sts").assume_role, RoleArn=role, RoleSessionName="test")
        assert (code, text) == (
            "AccessDenied",
            f"User: {who.arn} is not authorized to perform: sts:AssumeRole on resource: {role}",
        )
    root = localaws.client("sts")
    assert refusal(root.assume_role, RoleArn=by_account, RoleSessionName="test")[1] == (
        "Roles may not be assumed by root accounts."
    )


def test_an_external_id_is_asked_for(localaws: RunningLocalAws) -> None:
    user = make_user(localaws, allow("sts:AssumeRole"))
    iam, name = localaws.client("iam"), f"role-{uuid.uuid4().hex[:8]}"
    trust = {
        "Effect": "Allow",
        "Principal": {"AWS": ACCOUNT},
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": "secret"}},
    }
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    assert refusal(assume, user, role)[0] == "AccessDenied"
    assert refusal(assume, user, role, ExternalId="other")[0] == "AccessDenied"
    assert assume(user, role, ExternalId="secret").arn.endswith(f"/{name}/test")


def test_a_bucket_s_policy_names_callers(localaws: RunningLocalAws, bucket: str) -> None:
    named, other, s3 = make_user(localaws), make_user(localaws, EVERYTHING), localaws.client("s3")
    everything = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    s3.put_bucket_policy(
        Bucket=bucket,
        Policy=document(
            allow("s3:GetObject", everything[1], Principal={"AWS": named.arn}),
            deny("s3:GetObject", f"arn:aws:s3:::{bucket}/closed/*", Principal={"AWS": other.arn}),
        ),
    )
    assert named.client("s3").get_object(Bucket=bucket, Key="closed/1")["ContentLength"] == 1
    assert (
        "an explicit deny in a resource-based policy"
        in refusal(other.client("s3").get_object, Bucket=bucket, Key="closed/1")[1]
    )
    assert other.client("s3").get_object(Bucket=bucket, Key="open/1")["ContentLength"] == 1
    assert s3.get_object(Bucket=bucket, Key="closed/1")["ContentLength"] == 1


def test_each_key_of_delete_objects_is_decided(localaws: RunningLocalAws, bucket: str) -> None:
    user = make_user(localaws, allow("s3:DeleteObject", f"arn:aws:s3:::{bucket}/open/*"))
    keys = {"Objects": [{"Key": "open/1"}, {"Key": "closed/1"}]}
    reply = user.client("s3").delete_objects(Bucket=bucket, Delete=keys)
    assert [each["Key"] for each in reply["Deleted"]] == ["open/1"]
    assert [(each["Key"], each["Code"]) for each in reply["Errors"]] == [("closed/1", "AccessDenied")]
    left = localaws.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    assert [each["Key"] for each in left] == ["closed/1"]


def test_a_missing_object_is_told_only_to_whom_may_list(localaws: RunningLocalAws, bucket: str) -> None:
    reader = make_user(localaws, allow("s3:GetObject")).client("s3")
    lister = make_user(localaws, allow(["s3:GetObject", "s3:ListBucket"])).client("s3")
    assert refusal(lister.get_object, Bucket=bucket, Key="none")[0] == "NoSuchKey"
    assert refusal(reader.get_object, Bucket=bucket, Key="none")[0] == "AccessDenied"
    assert refusal(reader.head_object, Bucket=bucket, Key="none")[0] == "403"


def test_a_function_s_policy_lets_others_invoke_it(localaws: RunningLocalAws) -> None:
    user = make_user(localaws, allow("lambda:InvokeFunction", f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:mine*"))
    invoke = user.client("lambda").invoke
    assert refusal(invoke, FunctionName="mine")[0] == "ResourceNotFoundException"
    assert refusal(invoke, FunctionName="mine", Qualifier="live")[0] == "ResourceNotFoundException"
    assert refusal(invoke, FunctionName="yours")[0] == "AccessDeniedException"
    foreign = "arn:aws:lambda:us-east-1:999999999999:function:mine"
    assert "no resource-based policy allows" in refusal(invoke, FunctionName=foreign)[1]


def test_what_was_allowed_to_invoke_is_refused_after_a_change(localaws: RunningLocalAws) -> None:
    iam, functions = localaws.client("iam"), localaws.client("lambda")
    user, granted = (
        make_user(localaws, allow(["lambda:InvokeFunction", "sagemaker:InvokeEndpoint"])),
        make_user(localaws),
    )
    role, name = make_role(localaws, {"Service": "lambda.amazonaws.com"}), f"f-{uuid.uuid4().hex[:8]}"
    code: Any = {"Runtime": "python3.11", "Handler": "h.h", "Code": {"ZipFile": zipped("", "h.py")}}
    functions.create_function(FunctionName=name, Role=role, **code)
    permission = {"Action": "lambda:InvokeFunction", "Principal": granted.arn}
    functions.add_permission(FunctionName=name, StatementId="s", **permission)
    dry = {"FunctionName": name, "InvocationType": "DryRun"}

    def endpoint() -> str:
        return refusal(user.client("sagemaker-runtime").invoke_endpoint, EndpointName="none", Body=b"")[0]

    for each in (user, granted) * 2:
        assert each.client("lambda").invoke(**dry)["StatusCode"] == 204
    assert [endpoint(), endpoint()] == ["ValidationError"] * 2
    iam.delete_user_policy(UserName=user.arn.rpartition("/")[2], PolicyName="own")
    functions.remove_permission(FunctionName=name, StatementId="s")
    for each in (user, granted):
        assert refusal(each.client("lambda").invoke, **dry)[0] == "AccessDeniedException"
    assert endpoint() == "AccessDeniedException"


def test_whose_a_resource_is_and_how_it_is_reached_are_conditions(localaws: RunningLocalAws, bucket: str) -> None:
    owned = {"StringEquals": {"aws:ResourceAccount": ACCOUNT}, "NumericGreaterThan": {"s3:TlsVersion": "1.1"}}
    user = make_user(localaws, allow("s3:GetObject", Condition=owned))
    assert user.client("s3").get_object(Bucket=bucket, Key="open/1")["ContentLength"] == 1
    foreign = {"StringNotEquals": {"aws:ResourceAccount": ACCOUNT}}
    other = make_user(localaws, allow("s3:GetObject"), deny("s3:*", Condition=foreign))
    assert other.client("s3").get_object(Bucket=bucket, Key="open/1")["ContentLength"] == 1


def test_tags_by_arn_need_the_permission_of_the_resources_service(localaws: RunningLocalAws, bucket: str) -> None:
    group = f"g-{uuid.uuid4().hex[:8]}"
    localaws.client("logs").create_log_group(logGroupName=group)
    log_group = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{group}"
    tagging = make_user(localaws, allow(["tag:TagResources", "tag:UntagResources"]))
    for arn, action in ((f"arn:aws:s3:::{bucket}", "s3:PutBucketTagging"), (log_group, "logs:TagResource")):
        code, text = refusal(
            tagging.client("resourcegroupstaggingapi").tag_resources, ResourceARNList=[arn], Tags={"team": "a"}
        )
        assert code == "AccessDeniedException" and f"is not authorized to perform: {action} on resource: " in text
    both = make_user(localaws, allow("tag:*"), allow("logs:TagResource", f"{log_group}*"))
    both.client("resourcegroupstaggingapi").tag_resources(ResourceARNList=[log_group], Tags={"team": "a"})
    assert (
        "rds"
        in refusal(
            both.client("resourcegroupstaggingapi").tag_resources,
            ResourceARNList=[f"arn:aws:rds:us-east-1:{ACCOUNT}:db:d"],
            Tags={"team": "a"},
        )[1]
    )


def test_a_role_is_passed_only_by_whom_may_and_to_the_service_that_is_meant(localaws: RunningLocalAws) -> None:
    role = make_role(localaws, {"Service": "sagemaker.amazonaws.com"})
    passing = allow("iam:PassRole", role, Condition={"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}})
    container = {"Image": "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6.0-cpu-py312"}
    parameters = {"ModelName": "m", "ExecutionRoleArn": role, "PrimaryContainer": container}
    for statements in ((allow("sagemaker:*"),), (allow("sagemaker:*"), passing)):
        user = make_user(localaws, *statements)
        code, text = refusal(user.client("sagemaker").create_model, **parameters)
        assert code.startswith("AccessDenied")
        assert f"is not authorized to perform: iam:PassRole on resource: {role}" in text


def posted(somebody: Somebody, path: str, body: bytes, service: str, **headers: str) -> tuple[int, bytes]:
    """Send a request as it is written, signed, and return status and body."""
    key = AccessKey(somebody.keys["aws_access_key_id"], somebody.keys["aws_secret_access_key"])
    request = AWSRequest("POST", f"{somebody.url}{path}", headers, body)
    sent = urllib.request.Request(request.url, body, signed(request, service, key), method="POST")
    with pytest.raises(HTTPError) as caught:
        urllib.request.urlopen(sent)
    return caught.value.code, caught.value.read()


@pytest.mark.parametrize("name", ["closed", "clos%65d", "CLOSED"])
def test_an_endpoint_is_the_same_however_its_name_is_written(localaws: RunningLocalAws, name: str) -> None:
    closed = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/closed"
    user = make_user(localaws, allow("sagemaker:InvokeEndpoint"), deny("sagemaker:InvokeEndpoint", closed))
    status, answer = posted(user, f"/endpoints/{name}/invocations", b"x", "sagemaker")
    assert status == 403 and b"explicit deny" in answer


@pytest.mark.parametrize("operation", ["AssumeRoleWithWebIdentity", "AssumeRoleWithSAML"])
def test_no_other_identity_provider_vouches_for_anybody(localaws: RunningLocalAws, operation: str) -> None:
    role = make_role(localaws, {"Service": "lambda.amazonaws.com"}, EVERYTHING)
    wanted = {"Action": operation, "Version": "2011-06-15", "RoleArn": role, "RoleSessionName": "test"}
    given = {"WebIdentityToken": "forged", "SAMLAssertion": "forged", "PrincipalArn": role}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = urlencode({**wanted, **given}).encode()
    status, answer = posted(make_user(localaws, EVERYTHING), "/", body, "sts", **form)
    assert status == 501 and f"does not emulate STS {operation}".encode() in answer


def test_awss_own_policies_bound_a_session(localaws: RunningLocalAws, bucket: str) -> None:
    user, role = make_user(localaws, allow("sts:AssumeRole")), make_role(localaws, {"AWS": ACCOUNT}, EVERYTHING)
    session = assume(user, role, PolicyArns=[{"arn": "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"}]).client("s3")
    assert session.get_object(Bucket=bucket, Key="open/1")["ContentLength"] == 1
    assert "no session policy allows" in refusal(session.delete_object, Bucket=bucket, Key="open/1")[1]


def test_tags_of_the_request_are_conditions(localaws: RunningLocalAws) -> None:
    tagged = allow("sagemaker:*", Condition={"StringEquals": {"aws:RequestTag/team": "dogs"}})
    user = make_user(localaws, tagged, allow("iam:PassRole")).client("sagemaker")
    role = make_role(localaws, {"Service": "sagemaker.amazonaws.com"})
    config = {
        "EndpointConfigName": f"c-{uuid.uuid4().hex[:8]}",
        "ProductionVariants": [
            {"VariantName": "v", "ModelName": "none", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        ],
    }
    assert role
    assert refusal(user.create_endpoint_config, **config)[0].startswith("AccessDenied")
    assert refusal(user.create_endpoint_config, **config, Tags=[{"Key": "team", "Value": "cats"}])[0].startswith(
        "AccessDenied"
    )
    code, _ = refusal(user.create_endpoint_config, **config, Tags=[{"Key": "team", "Value": "dogs"}])
    assert not code.startswith("AccessDenied")


def test_when_keys_and_roles_were_used_last_is_known_from_every_route(localaws: RunningLocalAws) -> None:
    user = make_user(localaws, allow("sts:AssumeRole"))
    role = make_role(localaws, {"AWS": ACCOUNT}, allow("sagemaker:InvokeEndpoint"))
    iam = localaws.client("iam")
    assert "LastUsedDate" not in iam.get_role(RoleName=role.rpartition("/")[2])["Role"]["RoleLastUsed"]
    session = assume(user, role)
    refusal(session.client("sagemaker-runtime").invoke_endpoint, EndpointName="none", Body=b"")
    used = iam.get_role(RoleName=role.rpartition("/")[2])["Role"]["RoleLastUsed"]
    assert used["Region"] == "us-east-1"
    last = iam.get_access_key_last_used(AccessKeyId=user.keys["aws_access_key_id"])["AccessKeyLastUsed"]
    assert (last["ServiceName"], last["Region"]) == ("sts", "us-east-1")
    assert abs((used["LastUsedDate"] - last["LastUsedDate"]).total_seconds()) < 60


def test_a_user_that_is_gone_may_nothing(localaws: RunningLocalAws, bucket: str) -> None:
    iam, user = localaws.client("iam"), make_user(localaws, allow("sts:AssumeRole"))
    role = make_role(localaws, {"AWS": ACCOUNT}, EVERYTHING)
    session, name = assume(user, role), role.rpartition("/")[2]
    assert session.client("s3").get_object(Bucket=bucket, Key="open/1")["ContentLength"] == 1
    iam.delete_role_policy(RoleName=name, PolicyName="own")
    iam.delete_role(RoleName=name)
    assert refusal(session.client("s3").get_object, Bucket=bucket, Key="open/1")[0] == "AccessDenied"


@pytest.mark.parametrize("depth", [1_000, 50_000])
@pytest.mark.parametrize(
    ("service", "call", "arguments"),
    [
        ("sagemaker", "list_models", {}),
        ("kms", "list_keys", {}),
        ("logs", "describe_log_groups", {}),
        ("pricing", "get_products", {"ServiceCode": "AmazonEC2"}),
    ],
)
def test_a_body_that_is_nested_too_deeply_is_refused(
    localaws: RunningLocalAws, service: str, call: str, arguments: dict[str, Any], depth: int
) -> None:
    client = localaws.client(service)

    def nest(request: Any, **_: Any) -> None:
        request.data = b'{"x": ' + b"[" * depth + b"]" * depth + b"}"

    client.meta.events.register("before-sign.*.*", nest)
    code, _ = refusal(getattr(client, call), **arguments)
    assert code not in ("InternalFailure", "500"), code
    client.meta.events.unregister("before-sign.*.*", nest)
    getattr(client, call)(**arguments)
