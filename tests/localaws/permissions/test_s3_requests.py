"""S3's requests are decided as they are carried out: one query, headers of one meaning, and the body that arrives."""

import http.client
import json
import uuid
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from localaws.s3.queries import written_once
from tests.conftest import RunningLocalAws
from tests.localaws.callers import Somebody, allow, deny, document, make_user, refusal
from tests.localaws.permissions.sent import TAGS

DELETE = b"<Delete><Object><Key>secret</Key></Object></Delete>"
POLICY = json.dumps({"Version": "2012-10-17", "Statement": []}).encode()
TAGGING = b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>"
ALL_USERS = "uri=http://acs.amazonaws.com/groups/global/AllUsers"


@pytest.fixture
def bucket(localaws: RunningLocalAws) -> str:
    name = f"iam-{uuid.uuid4().hex[:12]}"
    localaws.client("s3").create_bucket(Bucket=name)
    localaws.client("s3").put_object(Bucket=name, Key="secret", Body=b"SECRET")
    return name


def answer(
    somebody: Somebody | None,
    url: str,
    method: str,
    target: str,
    headers: dict[str, str] | None = None,
    body: bytes = b"",
) -> tuple[int, bytes]:
    """Send a request that is signed as `target` without its percent-encoding where that is not needed."""
    host = urlsplit(url).netloc
    request = AWSRequest(method, f"http://{host}{target}", headers=dict(headers or {}), data=body)
    if somebody is not None:
        keys = Credentials(somebody.keys["aws_access_key_id"], somebody.keys["aws_secret_access_key"])
        plain = target.partition("?")[0] + ("?" + written_once(target.partition("?")[2].encode()).decode()).rstrip("?")
        request.url = f"http://{host}{plain}"
        S3SigV4Auth(keys, "s3", "us-east-1").add_auth(request)
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        connection.request(method, target, body, {**dict(request.headers.items()), "Host": host})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "?delete", DELETE),
        ("POST", "?%64elete", DELETE),
        ("POST", "?x-id=DeleteObjects&d%65let%65=", DELETE),
        ("PUT", "?%70olicy", POLICY),
        ("PUT", "/secret?t%61gging", TAGGING),
        ("PUT", "/secret?%61cl", b""),
        ("GET", "?polic%79", b""),
        ("DELETE", "/secret?%76ersionId=null", b""),
    ],
)
def test_a_query_means_the_same_however_it_is_encoded(
    localaws: RunningLocalAws, bucket: str, method: str, target: str, body: bytes
) -> None:
    reader = make_user(localaws, allow(["s3:GetObject", "s3:PutObject"]))
    status, text = answer(reader, localaws.url, method, f"/{bucket}{target}", body=body)
    assert b"AccessDenied" in text
    assert status == (200 if b"elet" in target.encode() else 403)
    assert localaws.client("s3").get_object(Bucket=bucket, Key="secret")["Body"].read() == b"SECRET"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"%64elete", b"delete"),
        (b"delete=", b"delete"),
        (b"a+b=c%2Bd", b"a%2Bb=c%2Bd"),
        (b"prefix=%ff%2F&&x", b"prefix=%FF%2F&x"),
        (b"%2564elete", b"%2564elete"),
        (b"", b""),
    ],
)
def test_a_query_is_written_in_one_way(given: bytes, expected: bytes) -> None:
    assert written_once(given) == expected
    assert written_once(expected) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-copy_source": "/{bucket}/secret"},
        {"x-amz_copy-source": "/{bucket}/secret"},
        {"x_amz_copy_source": "/{bucket}/secret"},
        {"x-amz-grant_read": ALL_USERS},
        {"x-amz-tagging_": "a=b"},
    ],
)
def test_a_header_with_an_underscore_is_not_another(
    localaws: RunningLocalAws, bucket: str, headers: dict[str, str]
) -> None:
    writer = make_user(localaws, allow(["s3:PutObject", "s3:GetObject"], f"arn:aws:s3:::{bucket}/mine"))
    given = {name: text.format(bucket=bucket) for name, text in headers.items()}
    status, _ = answer(writer, localaws.url, "PUT", f"/{bucket}/mine", given, b"x")
    if status == 200:
        assert localaws.client("s3").get_object(Bucket=bucket, Key="mine")["Body"].read() == b"x"
    assert answer(None, localaws.url, "GET", f"/{bucket}/mine")[0] == 403


def test_metadata_may_have_underscores(localaws: RunningLocalAws, bucket: str) -> None:
    s3 = localaws.client("s3")
    s3.put_object(Bucket=bucket, Key="m", Body=b"", Metadata={"a_b": "1"})
    assert s3.head_object(Bucket=bucket, Key="m")["Metadata"] == {"a_b": "1"}


def test_each_version_of_delete_objects_is_decided(localaws: RunningLocalAws, bucket: str) -> None:
    s3 = localaws.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=bucket, Key="v", Body=b"1")["VersionId"]
    user = make_user(localaws, allow("s3:DeleteObject")).client("s3")
    objects = [{"Key": "v", "VersionId": version}, {"Key": "v"}]
    reply = user.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert [(each["Key"], each["Code"]) for each in reply["Errors"]] == [("v", "AccessDenied")]
    assert [each["DeleteMarker"] for each in reply["Deleted"]] == [True]
    assert version in [each["VersionId"] for each in s3.list_object_versions(Bucket=bucket)["Versions"]]


@pytest.mark.parametrize(
    "condition", [{"aws:RequestedRegion": "us-east-1"}, {"s3:signatureversion": "AWS4-HMAC-SHA256"}]
)
def test_delete_objects_has_the_request_s_circumstances(
    localaws: RunningLocalAws, bucket: str, condition: dict[str, str]
) -> None:
    denied = deny("s3:DeleteObject", Condition={"StringEquals": condition})
    user = make_user(localaws, allow("s3:DeleteObject"), denied).client("s3")
    reply = user.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "secret"}]})
    assert [each["Code"] for each in reply["Errors"]] == ["AccessDenied"]


@pytest.mark.parametrize(
    "body", [b"", b"<Delete/>", b"<a/>", b"<Delete><Object><Key><b/></Key></Object></Delete>", b"<"]
)
def test_a_body_that_names_nothing_deletes_nothing(localaws: RunningLocalAws, bucket: str, body: bytes) -> None:
    user = make_user(localaws, allow("s3:*"))
    status, text = answer(user, localaws.url, "POST", f"/{bucket}?delete", body=body)
    assert (status, b"MalformedXML" in text) == (400, True)


def test_tags_in_the_body_are_what_is_decided_on(localaws: RunningLocalAws, bucket: str) -> None:
    key = {"Bucket": bucket, "Key": "secret"}
    only = {"StringEquals": {"s3:RequestObjectTag/kennel:run": "r1"}}
    user = make_user(localaws, allow("s3:PutObjectTagging", Condition=only))
    user.client("s3").put_object_tagging(**key, Tagging={"TagSet": TAGS})
    other = {"TagSet": [{**TAGS[0], "Value": "r2"}]}
    assert refusal(user.client("s3").put_object_tagging, **key, Tagging=other)[0] == "AccessDenied"
    status, _ = answer(
        user, localaws.url, "PUT", f"/{bucket}/secret?tagging", {"x-amz-tagging": "kennel:run=r1"}, TAGGING
    )
    assert status == 403
    assert localaws.client("s3").get_object_tagging(**key)["TagSet"] == TAGS


def test_keys_of_tags_in_the_body_are_what_is_decided_on(localaws: RunningLocalAws, bucket: str) -> None:
    only = {"ForAllValues:StringLike": {"s3:RequestObjectTagKeys": ["kennel:*"]}}
    user = make_user(localaws, allow("s3:PutObjectTagging", Condition=only)).client("s3")
    tagging = {"TagSet": [*TAGS, {"Key": "admin", "Value": "1"}]}
    assert refusal(user.put_object_tagging, Bucket=bucket, Key="secret", Tagging=tagging)[0] == "AccessDenied"


def test_a_bucket_s_region_is_decided_on(localaws: RunningLocalAws) -> None:
    denied = deny("s3:CreateBucket", Condition={"StringEquals": {"s3:LocationConstraint": "eu-west-1"}})
    user, name = make_user(localaws, allow("s3:*"), denied).client("s3"), f"iam-{uuid.uuid4().hex[:12]}"
    place: Any = {"LocationConstraint": "eu-west-1"}
    assert refusal(user.create_bucket, Bucket=name, CreateBucketConfiguration=place)[0] == "AccessDenied"
    user.create_bucket(Bucket=name)


def test_replication_passes_its_role(localaws: RunningLocalAws, bucket: str) -> None:
    rules = [{"Status": "Enabled", "Prefix": "", "Destination": {"Bucket": f"arn:aws:s3:::{bucket}"}}]
    given = {"Role": "arn:aws:iam::123456789012:role/replicator", "Rules": rules}
    user = make_user(localaws, allow("s3:*")).client("s3")
    code, text = refusal(user.put_bucket_replication, Bucket=bucket, ReplicationConfiguration=given)
    assert (code, "iam:PassRole" in text) == ("AccessDenied", True)


def test_each_version_of_an_object_has_tags_of_its_own(localaws: RunningLocalAws, bucket: str) -> None:
    s3, resource, name = localaws.client("s3"), f"arn:aws:s3:::{bucket}/*", "versions"
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=bucket, Key=name, Body=b"HIDDEN", Tagging="secret=yes")["VersionId"]
    second = s3.put_object(Bucket=bucket, Key=name, Body=b"shown")["VersionId"]
    secret = {"StringEquals": {"s3:ExistingObjectTag/secret": "yes"}}
    denied = deny(["s3:GetObject", "s3:GetObjectVersion"], resource, Condition=secret)
    user = make_user(localaws, allow("s3:*"), denied).client("s3")
    assert user.get_object(Bucket=bucket, Key=name, VersionId=second)["Body"].read() == b"shown"
    assert user.get_object(Bucket=bucket, Key=name)["Body"].read() == b"shown"
    old = {"Bucket": bucket, "Key": name, "VersionId": first}
    assert refusal(user.get_object, **old)[0] == "AccessDenied"
    assert refusal(user.copy_object, Bucket=bucket, Key="copy", CopySource=old)[0] == "AccessDenied"


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"s3:ExistingObjectTag/secret": "yes"}},
        {"StringEquals": {"aws:RequestedRegion": "us-east-1"}},
        {"StringEquals": {"aws:PrincipalType": "Anonymous"}},
        {"Null": {"s3:signatureversion": "true"}},
    ],
)
def test_everyone_is_denied_what_a_condition_denies(
    localaws: RunningLocalAws, bucket: str, condition: dict[str, Any]
) -> None:
    s3, resource = localaws.client("s3"), f"arn:aws:s3:::{bucket}/*"
    s3.put_object(Bucket=bucket, Key="tagged", Body=b"HIDDEN", Tagging="secret=yes")
    allowing, denying = allow("s3:GetObject", resource, Principal="*"), deny("s3:GetObject", resource, Principal="*")
    s3.put_bucket_policy(Bucket=bucket, Policy=document(allowing))
    assert answer(None, localaws.url, "GET", f"/{bucket}/tagged") == (200, b"HIDDEN")
    s3.put_bucket_policy(Bucket=bucket, Policy=document(allowing, {**denying, "Condition": condition}))
    assert answer(None, localaws.url, "GET", f"/{bucket}/tagged")[0] == 403
