"""What a request names by name, id, key or ARN is decided on under the ARN that it has here, or refused."""

import io
import time
import uuid
import zipfile
from typing import Any

import boto3
import pytest
from botocore.config import Config

from localaws.ec2.images import PUBLISHED
from tests.conftest import RunningLocalAws
from tests.localaws.callers import ACCOUNT, allow, assume, deny, make_role, make_user, refusal
from tests.localaws.permissions.sent import EC2, IAM, SAGEMAKER, asks

LAUNCH: dict[str, Any] = {
    "ImageId": PUBLISHED[0].ami_id,
    "InstanceType": "c7i.large",
    "MinCount": 1,
    "MaxCount": 1,
    "DryRun": True,
}
PARAMETER = f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/"
ROLE = IAM + "role/none"
DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}


def a_name(start: str = "n") -> str:
    return f"{start}-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def function(localaws: RunningLocalAws) -> str:
    name, role = a_name("victim"), make_role(localaws, {"Service": "lambda.amazonaws.com"})
    code = {"ZipFile": zipped("def handle(event, context): return 1")}
    localaws.client("lambda").create_function(
        FunctionName=name, Runtime="python3.11", Handler="handler.handle", Role=role, Code=code
    )
    return name


def zipped(source: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("handler.py", source)
    return file.getvalue()


@pytest.mark.parametrize(
    ("arn", "code"),
    [
        (f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:", "ResourceNotFoundException"),
        (f"arn:aws:lambda::{ACCOUNT}:function:", "AccessDeniedException"),
        (f"arn:aws-cn:lambda:us-east-1:{ACCOUNT}:function:", "AccessDeniedException"),
        ("arn:aws:lambda:us-east-1:999999999999:function:", "AccessDeniedException"),
        ("arn:aws:lambda:us-east-1:aws:function:", "AccessDeniedException"),
        ("arn:aws:s3:::function:", "AccessDeniedException"),
        ("999999999999:function:", "AccessDeniedException"),
        ("function:", "AccessDeniedException"),
        (f"{ACCOUNT}:function:", "AccessDeniedException"),
    ],
)
def test_a_function_s_arn_of_elsewhere_is_not_the_one_here(
    localaws: RunningLocalAws, function: str, arn: str, code: str
) -> None:
    own = deny("lambda:*", f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{function}*")
    user = make_user(localaws, allow("lambda:*"), own).client("lambda", parameter_validation=False)
    assert refusal(user.get_function, FunctionName=f"{arn}{function}")[0] == code
    assert refusal(user.invoke, FunctionName=f"{arn}{function}")[0] == code
    of_tags = code if arn.startswith("arn:") else "ValidationException"
    assert refusal(user.list_tags, Resource=f"{arn}{function}")[0] == of_tags


@pytest.mark.parametrize(
    "arn",
    [
        SAGEMAKER + "model/Victim",
        SAGEMAKER + "endpoint/x/model/victim",
        f"arn:aws:sagemaker:eu-west-1:{ACCOUNT}:model/victim",
        f"arn:aws-cn:sagemaker:us-east-1:{ACCOUNT}:model/victim",
        "arn:aws:sagemaker:us-east-1:999999999999:model/victim",
        f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:victim",
        "arn:victim",
    ],
)
def test_tags_of_sagemaker_s_are_those_of_an_arn_that_is_here(localaws: RunningLocalAws, arn: str) -> None:
    own = deny("sagemaker:*", SAGEMAKER + "model/victim")
    user = make_user(localaws, allow("sagemaker:*"), own).client("sagemaker", parameter_validation=False)
    assert refusal(user.list_tags, ResourceArn=arn)[0] == "AccessDeniedException"
    assert refusal(user.add_tags, ResourceArn=arn, Tags=[{"Key": "a", "Value": "b"}])[0] == "AccessDeniedException"


@pytest.mark.parametrize("path", ["model/none", "unheard-of/none"])
def test_tags_of_what_does_not_exist_are_an_error_of_the_request(localaws: RunningLocalAws, path: str) -> None:
    sagemaker = localaws.client("sagemaker")
    code = refusal(sagemaker.list_tags, ResourceArn=SAGEMAKER + path)[0]
    assert code in ("ValidationException", "AccessDeniedException")


@pytest.mark.parametrize(
    "name",
    [
        "/{name}/db",
        PARAMETER + "{name}/db",
        PARAMETER + "{name}/db:1",
        "arn:aws:ssm:eu-west-1:" + ACCOUNT + ":parameter/{name}/db",
        "arn:aws:ssm:us-east-1:999999999999:parameter/{name}/db",
    ],
)
def test_a_parameter_is_the_same_however_it_is_named(localaws: RunningLocalAws, name: str) -> None:
    start = a_name()
    localaws.client("ssm").put_parameter(Name=f"/{start}/db", Value="SECRET", Type="String")
    user = make_user(localaws, allow("ssm:*"), deny("ssm:*", f"{PARAMETER}{start}/*")).client("ssm")
    assert refusal(user.get_parameter, Name=name.format(name=start))[0] == "AccessDeniedException"
    assert refusal(user.get_parameters, Names=[name.format(name=start)])[0] == "AccessDeniedException"


@pytest.mark.parametrize(
    ("path", "resource"), [("/prod", "prod"), ("/prod/", "prod/"), ("/", ""), ("/prod/db/", "prod/db/")]
)
def test_parameters_of_a_path_are_decided_by_the_path_as_it_is_written(path: str, resource: str) -> None:
    assert asks("ssm", "get_parameters_by_path", Path=path) == [("ssm:GetParametersByPath", PARAMETER + resource)]


def test_a_log_group_s_arn_of_another_region_is_not_the_one_here(localaws: RunningLocalAws) -> None:
    name = a_name()
    localaws.client("logs").create_log_group(logGroupName=name)
    here = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{name}"
    user = make_user(localaws, allow("logs:*"), deny("logs:*", f"{here}*")).client("logs")
    for identifier in (name, here, here.replace("us-east-1", "eu-west-1")):
        assert refusal(user.filter_log_events, logGroupIdentifier=identifier)[0] == "AccessDeniedException"
    assert refusal(user.list_tags_for_resource, resourceArn=here.replace("us-east", "eu-west"))[0] in DENIED


def test_a_request_is_decided_in_the_region_that_it_is_signed_for(localaws: RunningLocalAws) -> None:
    elsewhere = {"StringNotEquals": {"aws:RequestedRegion": "us-east-1"}}
    user = make_user(localaws, allow("logs:*"), deny("*", Condition=elsewhere))
    client = boto3.client(
        "logs", endpoint_url=user.url, region_name="eu-west-1", config=Config(retries={"max_attempts": 0}), **user.keys
    )
    code, text = refusal(client.create_log_group, logGroupName="g")
    assert (code, "arn:aws:logs:eu-west-1:" in text) == ("AccessDeniedException", True)


def test_code_from_s3_is_read_by_who_deploys_it(localaws: RunningLocalAws, function: str) -> None:
    s3, bucket = localaws.client("s3"), a_name("code")
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="code.zip", Body=zipped("def handle(event, context): return 2"))
    code = {"S3Bucket": bucket, "S3Key": "code.zip"}
    user = make_user(localaws, allow(["lambda:*", "iam:PassRole"]))
    got, text = refusal(user.client("lambda").update_function_code, FunctionName=function, **code)
    assert got == "AccessDeniedException"
    assert text.startswith(f"Your access has been denied by S3, {'please make sure your request credentials'}")
    assert f"{bucket}/code.zip" in text
    made: dict[str, Any] = {
        "FunctionName": a_name(),
        "Role": ROLE,
        "Runtime": "python3.11",
        "Handler": "handler.handle",
    }
    assert refusal(user.client("lambda").create_function, **made, Code=code)[0] == "AccessDeniedException"
    reader = make_user(localaws, allow(["lambda:*"]), allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*"))
    reader.client("lambda").update_function_code(FunctionName=function, **code)


def test_what_a_service_does_with_objects_for_its_caller_is_asked_for() -> None:
    layer = asks("lambda", "publish_layer_version", LayerName="l", Content={"S3Bucket": "bbb", "S3Key": "k"})
    assert ("s3:GetObject", "arn:aws:s3:::bbb/k") in layer
    version = {"S3Bucket": "bbb", "S3Key": "k", "S3ObjectVersion": "1"}
    code = asks("lambda", "update_function_code", FunctionName="f", **version)
    assert ("s3:GetObjectVersion", "arn:aws:s3:::bbb/k") in code
    times = {"fromTime": 0, "to": int(time.time() * 1000)}
    export = asks("logs", "create_export_task", logGroupName="g", destination="b", destinationPrefix="p", **times)
    assert [each for each in export if each[0] == "s3:PutObject"] == [
        ("s3:PutObject", "arn:aws:s3:::b/aws-logs-write-test"),
        ("s3:PutObject", "arn:aws:s3:::b/p/*"),
    ]


def test_a_profile_is_named_once(localaws: RunningLocalAws) -> None:
    iam, names = localaws.client("iam"), (a_name("mine"), a_name("theirs"))
    roles = [make_role(localaws, {"Service": "ec2.amazonaws.com"}) for _ in names]
    for name, role in zip(names, roles, strict=True):
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=role.rpartition("/")[2])
    arns = [f"{IAM}instance-profile/{name}" for name in names]
    both = {"Name": names[0], "Arn": arns[1]}
    user = make_user(localaws, allow("ec2:*"), allow("iam:PassRole", roles[0])).client("ec2")
    assert refusal(user.run_instances, **LAUNCH, IamInstanceProfile={"Name": names[0]})[0] == "DryRunOperation"
    assert refusal(user.run_instances, **LAUNCH, IamInstanceProfile=both)[0] == "UnauthorizedOperation"
    root = localaws.client("ec2")
    code, text = refusal(root.run_instances, **LAUNCH, IamInstanceProfile=both)
    expected = "The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'"
    assert (code, text) == ("InvalidParameterCombination", expected)


def test_a_security_group_is_the_same_by_name_and_by_id(localaws: RunningLocalAws) -> None:
    ec2, name = localaws.client("ec2"), a_name("group")
    group = ec2.create_security_group(GroupName=name, Description="d")["GroupId"]
    ec2.create_tags(Resources=[group], Tags=[{"Key": "env", "Value": "prod"}])
    of_tag = {"StringEquals": {"aws:ResourceTag/env": "prod"}}
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "0.0.0.0/0"}
    for denied in (deny("ec2:*", f"{EC2}security-group/{group}"), deny("ec2:*", Condition=of_tag)):
        user = make_user(localaws, allow("ec2:*"), denied).client("ec2")
        for named in ({"GroupId": group}, {"GroupName": name}):
            assert refusal(user.authorize_security_group_ingress, **named, **rule)[0] == "UnauthorizedOperation"
            assert refusal(user.delete_security_group, **named)[0] == "UnauthorizedOperation"
        assert refusal(user.run_instances, **LAUNCH, SecurityGroups=[name])[0] == "UnauthorizedOperation"
        assert refusal(user.run_instances, **LAUNCH, SecurityGroupIds=[group])[0] == "UnauthorizedOperation"
    ec2.delete_security_group(GroupId=group)


def test_a_key_pair_is_the_same_by_name_and_by_id(localaws: RunningLocalAws) -> None:
    ec2, name = localaws.client("ec2"), a_name("key")
    pair = ec2.create_key_pair(KeyName=name)["KeyPairId"]
    ec2.create_tags(Resources=[pair], Tags=[{"Key": "env", "Value": "prod"}])
    of_tag = {"StringEquals": {"aws:ResourceTag/env": "prod"}}
    for denied in (deny("ec2:*", f"{EC2}key-pair/{name}"), deny("ec2:*", Condition=of_tag)):
        user = make_user(localaws, allow("ec2:*"), denied).client("ec2")
        assert refusal(user.delete_key_pair, KeyName=name)[0] == "UnauthorizedOperation"
        assert refusal(user.delete_key_pair, KeyPairId=pair)[0] == "UnauthorizedOperation"
        tags = [{"Key": "env", "Value": "none"}]
        assert refusal(user.create_tags, Resources=[pair], Tags=tags)[0] == "UnauthorizedOperation"
    ec2.delete_key_pair(KeyName=name)


def test_a_renaming_needs_the_permission_on_both_names() -> None:
    found = asks("iam", "update_user", UserName="eve", NewUserName="boss", NewPath="/admin/")
    assert found == [("iam:UpdateUser", IAM + "user/eve"), ("iam:UpdateUser", IAM + "user/admin/boss")]
    group = asks("iam", "update_group", GroupName="g", NewGroupName="h")
    assert group == [("iam:UpdateGroup", IAM + "group/g"), ("iam:UpdateGroup", IAM + "group/h")]


def test_keys_without_a_user_s_name_are_the_signer_s(localaws: RunningLocalAws) -> None:
    name, other = a_name("own"), make_user(localaws)
    key_of_other = other.keys["aws_access_key_id"]
    own = make_user(localaws, allow("iam:*AccessKey*", f"{IAM}user/${{aws:username}}"), name=name)
    iam = own.client("iam")
    assert [each["UserName"] for each in iam.list_access_keys()["AccessKeyMetadata"]] == [name]
    made = iam.create_access_key()["AccessKey"]
    assert made["UserName"] == name
    iam.update_access_key(AccessKeyId=made["AccessKeyId"], Status="Inactive")
    assert iam.get_access_key_last_used(AccessKeyId=made["AccessKeyId"])["UserName"] == name
    iam.delete_access_key(AccessKeyId=made["AccessKeyId"])
    everything = make_user(localaws, allow("iam:*")).client("iam")
    for client in (iam, everything):
        assert refusal(client.update_access_key, AccessKeyId=key_of_other, Status="Inactive")[0] == "NoSuchEntity"
        assert refusal(client.delete_access_key, AccessKeyId=key_of_other)[0] == "NoSuchEntity"
    assert refusal(iam.get_access_key_last_used, AccessKeyId=key_of_other)[0] == "AccessDenied"


def test_a_deny_on_oneself_counts_without_one_s_name(localaws: RunningLocalAws) -> None:
    name = a_name("carl")
    user = make_user(localaws, allow("iam:*"), deny("iam:*", f"{IAM}user/{name}"), name=name).client("iam")
    for call in (user.create_access_key, user.list_access_keys, user.get_user):
        assert refusal(call)[0] == "AccessDenied"


def test_a_role_names_the_user_that_it_means(localaws: RunningLocalAws) -> None:
    user = make_user(localaws, allow("sts:AssumeRole"))
    session = assume(user, make_role(localaws, {"AWS": user.arn}, allow("iam:*")))
    code, text = refusal(session.client("iam").list_access_keys)
    assert (code, text) == ("ValidationError", "Must specify userName when calling with non-User credentials")
