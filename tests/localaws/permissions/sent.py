"""Requests as botocore makes them, caught before they are sent."""

import functools
import io
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from moto.core.utils import get_service_model

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


def bare(service: str, name: str, body: bytes | None = None) -> Asked:
    """Return a request for an operation, by its signing name, with nothing but what its path and query need."""
    model = get_service_model(SERVED[service].model)
    operation, headers = model.operation_model(name), {"host": "127.0.0.1"}
    shape: Any = operation.input_shape
    if service not in ("s3", "lambda"):
        if model.metadata["protocol"] == "json":
            target = f"{model.metadata['targetPrefix']}.{name}"
            return Asked(service, "POST", "/", "", {**headers, "x-amz-target": target}, body or b"{}")
        form = {**headers, "content-type": "application/x-www-form-urlencoded"}
        return Asked(service, "POST", "/", "", form, f"Action={name}".encode())
    needed = [shape.members[each].serialization for each in shape.required_members] if shape else []
    query = {**operation.http_trait.query_args, **{each["name"]: "1" for each in needed if _is_in(each, "querystring")}}
    headers |= {each["name"].lower(): "b/k" for each in needed if _is_in(each, "header")}
    path = operation.http_trait.path
    for each in needed:
        if _is_in(each, "uri"):
            path = path.replace(f"{{{each['name']}}}", each["name"]).replace(f"{{{each['name']}+}}", "k/e y")
    return Asked(service, operation.http_trait.method, quote(path), urlencode(query), headers, body)


def _is_in(serialization: Any, location: str) -> bool:
    return bool(serialization.get("location") == location)


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
