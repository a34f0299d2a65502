"""A request is carried out by the service, in the region and in the name that were signed, whatever else it says."""

from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree

import boto3
import pytest
from botocore.auth import HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from tests.conftest import RunningLocalAws
from tests.keys import KEY, for_boto3
from tests.localaws.auth.wire import Answer, send
from tests.localaws.callers import Somebody, allow, make_role, make_user

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/x-amz-json-1.1"}
LIST_KEYS, EXPORT_TASKS = "TrentService.ListKeys", "Logs_20140328.DescribeExportTasks"
SERVICES = {LIST_KEYS: "kms", EXPORT_TASKS: "logs"}


def key_of(somebody: Somebody) -> ReadOnlyCredentials:
    return ReadOnlyCredentials(somebody.keys["aws_access_key_id"], somebody.keys["aws_secret_access_key"], None)


def target_of(made: AWSRequest) -> str:
    parts = urlsplit(made.url)
    return f"{parts.path or '/'}?{parts.query}"


@pytest.mark.parametrize("version", ["2", "4"])
def test_the_form_of_a_presigned_request_leads_to_no_other_service(localaws: RunningLocalAws, version: str) -> None:
    user = make_user(localaws, allow("s3:ListAllMyBuckets"))
    role = make_role(localaws, {"Service": "lambda.amazonaws.com"}, allow("*"))
    query = urlencode({"Version": "2011-06-15", "RoleArn": role, "RoleSessionName": "test"})
    made = AWSRequest("GET", f"{localaws.url}/?{query}", FORM)
    signer = HmacV1QueryAuth(key_of(user), 60) if version == "2" else S3SigV4QueryAuth(key_of(user), "s3", "us-east-1")
    signer.add_auth(made)
    body = b"Action=AssumeRole&Action=AssumeRoleWithWebIdentity"
    answer = send(localaws.url, "GET", target_of(made), FORM, body)
    assert answer.status == 200 and b"ListAllMyBucketsResult" in answer.body


@pytest.mark.parametrize("name", ["latest", "v20180820", "favicon.ico"])
def test_a_buckets_name_leads_to_no_other_service(localaws: RunningLocalAws, name: str) -> None:
    s3 = localaws.client("s3")
    s3.create_bucket(Bucket=name)
    for key in ("meta-data/x", "api/token", "x"):
        s3.put_object(Bucket=name, Key=key, Body=b"content")
        assert s3.get_object(Bucket=name, Key=key)["Body"].read() == b"content"
    assert s3.list_objects_v2(Bucket=name)["KeyCount"] == 3


class WithAnotherCredential(SigV4QueryAuth):  # type: ignore[misc]
    """Signs a query that has a second credential in front of the signer's."""

    other = ""

    def canonical_query_string(self, request: AWSRequest) -> str:
        request.url = request.url.replace("X-Amz-Credential=", f"X-Amz-Credential={self.other}&X-Amz-Credential=")
        return "&".join(sorted(urlsplit(request.url).query.split("&")))


def send_with_another(localaws: RunningLocalAws, user: Somebody, target: str, region: str, other: str) -> Answer:
    """Send an operation, presigned for a region, with another credential's scope in front of the signed one."""
    headers = {**JSON, "X-Amz-Target": target}
    signer = WithAnotherCredential(key_of(user), SERVICES[target], region, expires=60)
    signer.other = quote(f"{KEY.access_key_id}/20000101/{other}/aws4_request", safe="")
    made = AWSRequest("POST", f"{localaws.url}/", headers)
    signer.add_auth(made)
    return send(localaws.url, "POST", target_of(made), headers)


@pytest.mark.parametrize("scope", ["us-east-1/kms", "us-east-1/iam", "eu-west-1/ec2"])
def test_a_second_credential_in_the_query_changes_nothing(localaws: RunningLocalAws, scope: str) -> None:
    user = make_user(localaws, allow("kms:ListKeys"))
    here = localaws.client("kms").create_key()["KeyMetadata"]["KeyId"]
    answer = send_with_another(localaws, user, LIST_KEYS, "eu-west-1", scope)
    assert answer.status == 200 and b"Keys" in answer.body
    assert here.encode() not in answer.body  # it is of us-east-1


@pytest.mark.parametrize("where", ["query", "host", "user agent"])
def test_only_the_signature_tells_the_region(localaws: RunningLocalAws, where: str) -> None:
    user = make_user(localaws, allow("kms:ListKeys", Condition={"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}))
    here = localaws.client("kms").create_key()["KeyMetadata"]["KeyId"]
    host = urlsplit(localaws.url).netloc
    named = f"a.us-east-1.amazonaws.com.localhost:{host.rpartition(':')[2]}" if where == "host" else host
    query = "?x-amz-foo=a.us-east-1.amazonaws.com" if where == "query" else "/"
    headers = {
        **JSON,
        "X-Amz-Target": LIST_KEYS,
        "Host": named,
        "User-Agent": "a region/us-east-1" if where == "user agent" else "a",
    }
    made = AWSRequest("POST", f"http://{named}/{query.lstrip('/')}", headers, b"{}")
    SigV4Auth(key_of(user), "kms", "eu-west-1").add_auth(made)
    answer = send(localaws.url, "POST", f"/{query.lstrip('/')}", dict(made.headers.items()), b"{}")
    assert answer.status == 200 and here.encode() not in answer.body


def test_an_operation_that_two_services_have_is_that_of_the_signed_one(localaws: RunningLocalAws) -> None:
    user = make_user(localaws, allow("logs:DescribeExportTasks"))
    answer = send_with_another(localaws, user, EXPORT_TASKS, "us-east-1", "us-east-1/ec2")
    assert answer.status == 200 and b"exportTasks" in answer.body


# --- regions that do not exist ----------------------------------------------------------------------------------------

ASKING = {  # a service that has the kind of signature: operation and form, or the target of a JSON operation
    "s3": "",
    "iam": "Action=ListRoles&Version=2010-05-08",
    "ec2": "Action=DescribeVpcs&Version=2016-11-15",
    "kms": LIST_KEYS,
    "sagemaker": "SageMaker.ListModels",
    "budgets": "AWSBudgetServiceGateway.DescribeBudgets",
    "pricing": "AWSPriceListService.GetProducts",
    "lambda": "",
}
PATHS = {"lambda": "/2015-03-31/functions"}
MALFORMED = {"s3": "AuthorizationHeaderMalformed", "iam": "IncompleteSignature", "ec2": "IncompleteSignature"}
WRONG = {**MALFORMED, "iam": "SignatureDoesNotMatch", "ec2": "AuthFailure"}


def asked_in_region(localaws: RunningLocalAws, service: str, region: str, *, is_query: bool = False) -> Answer:
    asking, target = ASKING[service], PATHS.get(service, "/")
    is_form = "Action=" in asking
    headers = FORM if is_form else {**JSON, "X-Amz-Target": asking} if asking else {}
    body = asking.encode() if is_form else b"{}" if asking else b""
    made = AWSRequest("POST" if asking else "GET", f"{localaws.url}{target}", headers, body)
    made.headers["Host"] = urlsplit(localaws.url).netloc
    key = ReadOnlyCredentials(KEY.access_key_id, KEY.secret_access_key, None)
    if is_query:
        signer = S3SigV4QueryAuth if service == "s3" else SigV4QueryAuth
        signer(key, service, region, expires=60).add_auth(made)
        return send(localaws.url, made.method, target_of(made), headers, body)
    (S3SigV4Auth if service == "s3" else SigV4Auth)(key, service, region).add_auth(made)
    return send(localaws.url, made.method, target, dict(made.headers.items()), body)


def code_of(answer: Answer) -> str:
    if answer.headers["content-type"] == "application/xml":
        return str(next(each.text for each in ElementTree.fromstring(answer.body).iter("Code")))
    return answer.headers["x-amzn-errortype"]


@pytest.mark.parametrize("service", ASKING)
@pytest.mark.parametrize("region", ["nonsense-1", "us-nonsense-1", "cn-north-1", "aws", "global", "x" * 4000])
def test_a_signature_for_a_region_that_is_none_is_refused_as_such(
    localaws: RunningLocalAws, service: str, region: str
) -> None:
    answer = asked_in_region(localaws, service, region)
    assert code_of(answer) == WRONG.get(service, "InvalidSignatureException"), answer.body
    text = (
        f"the region '{region}' is wrong; expecting 'us-east-1'" if service == "s3" else f"valid region, not '{region}'"
    )
    assert text in answer.body.decode() and answer.status < 500
    assert asked_in_region(localaws, service, "eu-west-1").status < 500


@pytest.mark.parametrize("service", ASKING)
@pytest.mark.parametrize("region", ["", "us/east", "us east", "us,east"])
def test_a_region_that_no_scope_can_hold_is_refused_as_malformed(
    localaws: RunningLocalAws, service: str, region: str
) -> None:
    answer = asked_in_region(localaws, service, region)
    assert code_of(answer) == MALFORMED.get(service, "IncompleteSignatureException"), answer.body


@pytest.mark.parametrize("region", ["nonsense-1", "\x1b\0", "ä", "us east"])
def test_a_presigned_region_that_is_none_is_refused_in_a_reply_that_can_be_read(
    localaws: RunningLocalAws, region: str
) -> None:
    of_s3 = asked_in_region(localaws, "s3", region, is_query=True)
    assert code_of(of_s3) == "AuthorizationQueryParametersError", of_s3.body
    of_kms = asked_in_region(localaws, "kms", region, is_query=True)
    assert (of_kms.status, code_of(of_kms)) == (400, "InvalidSignatureException"), of_kms.body


def test_a_client_learns_from_s3_in_which_region_to_sign(localaws: RunningLocalAws) -> None:
    s3 = boto3.client("s3", endpoint_url=localaws.url, region_name="nonsense-1", **for_boto3())
    localaws.client("s3").create_bucket(Bucket="in-the-servers-region")
    assert s3.list_objects_v2(Bucket="in-the-servers-region")["KeyCount"] == 0
