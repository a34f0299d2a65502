"""The tests' proxy names the operation of a request as botocore does, in each protocol."""

import pytest

from tests.aws_requests import Request, full_name


@pytest.mark.parametrize(
    ("service", "method", "path", "name"),
    [
        ("s3", "PUT", "/b", "s3.CreateBucket"),
        ("s3", "PUT", "/b/a/key", "s3.PutObject"),
        ("s3", "PUT", "/b/a/key?partNumber=1&uploadId=3", "s3.UploadPart"),
        ("s3", "PUT", "/b?tagging", "s3.PutBucketTagging"),
        ("s3", "POST", "/b?delete", "s3.DeleteObjects"),
        ("s3", "GET", "/b?list-type=2&prefix=x", "s3.ListObjectsV2"),
        ("lambda", "POST", "/2015-03-31/functions", "lambda.CreateFunction"),
        ("lambda", "POST", "/2015-03-31/functions/f/versions", "lambda.PublishVersion"),
        ("lambda", "DELETE", "/2015-03-31/functions/f", "lambda.DeleteFunction"),
        ("sagemaker", "POST", "/endpoints/e/invocations", "sagemaker-runtime.InvokeEndpoint"),
    ],
)
def test_a_rest_request_is_named_by_its_path_and_query(service: str, method: str, path: str, name: str) -> None:
    operation = Request(method, path, signed(service), b"").operation
    assert operation is not None and full_name(operation) == name


def test_a_target_header_and_an_action_in_the_body_name_the_operation() -> None:
    named = Request("POST", "/", {**signed("logs"), "X-Amz-Target": "Logs_20140328.CreateLogGroup"}, b"{}").operation
    queried = Request("POST", "/", signed("iam"), b"Action=CreateRole&Version=2010-05-08").operation
    assert [full_name(each) for each in (named, queried) if each] == ["logs.CreateLogGroup", "iam.CreateRole"]


def test_a_request_without_a_signature_is_of_no_service() -> None:
    assert Request("GET", "/_localaws/health", {}, b"").operation is None


def signed(service: str) -> dict[str, str]:
    return {"Authorization": f"AWS4-HMAC-SHA256 Credential=id/20260101/us-east-1/{service}/aws4_request"}
