"""Requests as botocore makes them, caught before they are sent."""

import functools
import io
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from localaws.permissions.operations import SERVED, Asked
from localaws.permissions.questions import Place, Question, questions_of

PLACE = Place("123456789012", "us-east-1")
ROLE = "arn:aws:iam::123456789012:role/kennel-trainer"
S3, EC2 = "arn:aws:s3:::", "arn:aws:ec2:us-east-1:123456789012:"
IAM, SAGEMAKER = "arn:aws:iam::123456789012:", "arn:aws:sagemaker:us-east-1:123456789012:"
LAMBDA, LOGS = "arn:aws:lambda:us-east-1:123456789012:function:", "arn:aws:logs:us-east-1:123456789012:log-group:"
ALARM = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:"
TAGS = [{"Key": "kennel:run", "Value": "r1"}]
SCALED_BY = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/e/variant/v",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
OBJECT, UPLOAD = {"Bucket": "b", "Key": "a b/c+d%2Fe"}, {"UploadId": "u", "PartNumber": 1}
KEY = S3 + "b/a b/c+d%2Fe"
PROFILE = {"InstanceProfileName": "kennel-p"}
_SIGNED = {**{served.model: name for name, served in SERVED.items()}, "sagemaker-runtime": "sagemaker"}


def sent(service: str, operation: str, **parameters: Any) -> Asked:
    """Return the request of a client's method."""
    caught: list[AWSPreparedRequest] = []
    client = _client(service)

    def catch(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        caught.append(request)
        return AWSResponse(request.url, 400, {}, _Nothing())

    client.meta.events.register_first("before-send", catch, unique_id="catch")
    try:
        getattr(client, operation)(**parameters)
    except (ClientError, ResponseParserError):  # the answer is empty
        pass
    finally:
        client.meta.events.unregister("before-send", catch, unique_id="catch")
    return _asked(_SIGNED[service], caught[0])


def asks(service: str, operation: str, **parameters: Any) -> list[tuple[str, str]]:
    """Return the actions and resources of the questions of a client's method."""
    return [(each.action, each.resource) for each in questions(service, operation, **parameters)]


def questions(service: str, operation: str, **parameters: Any) -> tuple[Question, ...]:
    """Return the questions of a client's method."""
    return questions_of(sent(service, operation, **parameters), PLACE)


class _Nothing(io.BytesIO):
    def stream(self, **_: Any) -> Any:
        return iter(())


@functools.cache
def _client(service: str) -> Any:
    keys = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "none"}
    return boto3.client(service, region_name=PLACE.region, endpoint_url="http://127.0.0.1:4577", **keys)


def _asked(service: str, request: AWSPreparedRequest) -> Asked:
    url = urlsplit(request.url)
    headers = {
        name.lower(): text.decode() if isinstance(text, bytes) else text for name, text in request.headers.items()
    }
    body = request.body.read() if hasattr(request.body, "read") else request.body
    body = body.encode() if isinstance(body, str) else body
    return Asked(service, request.method, url.path or "/", url.query, {"host": url.netloc, **headers}, body)
