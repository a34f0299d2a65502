"""The operation of a request is the one that moto carries out; what moto could read in two ways is refused."""

import gzip
import json
from dataclasses import replace
from typing import Any

import pytest
from moto.core.request import Request
from moto.core.responses import BaseResponse

from localaws.permissions.operations import SERVED, Asked, UnknownOperation, operation_of
from localaws.permissions.s3_actions import ACTIONS, KNOWN
from localaws.permissions.s3_bodies import MANY
from tests.localaws.permissions.sent import OBJECT, bare, sent
from tests.localaws.permissions.test_kennels_operations import ONE_QUESTION

FORM = "application/x-www-form-urlencoded; charset=utf-8"


def json_request(**parameters: Any) -> Asked:
    asked = sent("sagemaker", "describe_endpoint", EndpointName="mine")
    return replace(asked, body=json.dumps({"EndpointName": "mine", **parameters}).encode())


def with_header(name: str, value: str) -> Asked:
    asked = json_request()
    return replace(asked, headers={**asked.headers, name: value})


def form_request(body: str) -> Asked:
    return Asked("ec2", "POST", "/", "", {"host": "127.0.0.1", "content-type": FORM}, body.encode())


def lambda_request(method: str, path: str, query: str = "", *, body: bytes = b"", **headers: str) -> Asked:
    return Asked("lambda", method, f"/2015-03-31/functions/{path}", query, {"host": "127.0.0.1", **headers}, body)


def action_of_moto(asked: Asked) -> str | None:
    url = f"http://127.0.0.1:4577{asked.path}" + (f"?{asked.query}" if asked.query else "")
    request = Request.from_primitives(asked.method, url, asked.headers, asked.body)
    response = BaseResponse(service_name=SERVED[asked.service].model)
    response.setup_class(request, url)
    return response._get_action()


@pytest.mark.parametrize(("service", "operation", "parameters"), [each[:3] for each in ONE_QUESTION])
def test_moto_carries_out_the_same_operation(service: str, operation: str, parameters: dict[str, Any]) -> None:
    asked = sent(service, operation, **parameters)
    if service != "sagemaker-runtime":
        assert action_of_moto(asked) == operation_of(asked).name


def test_nested_parameters_of_a_form_have_botocores_names() -> None:
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "a", "Value": "b"}]}]
    given = {"ImageId": "ami-1", "SecurityGroupIds": ["sg-1", "sg-2"], "IamInstanceProfile": {"Name": "p"}}
    operation = operation_of(sent("ec2", "run_instances", MinCount=1, MaxCount=1, TagSpecifications=tags, **given))
    expected = {**given, "MinCount": "1", "MaxCount": "1", "TagSpecifications": tags}
    assert {name: operation.parameters[name] for name in expected} == expected


def test_path_query_and_body_are_parameters_of_lambdas() -> None:
    path, body = (
        "/2019-09-30/functions/my%3Afunction/provisioned-concurrency",
        b'{"ProvisionedConcurrentExecutions": 2}',
    )
    operation = operation_of(replace(lambda_request("PUT", "", "Qualifier=live", body=body), path=path))
    expected = {"FunctionName": "my:function", "Qualifier": "live", "ProvisionedConcurrentExecutions": 2}
    assert (operation.name, operation.parameters) == ("PutProvisionedConcurrencyConfig", expected)


def test_headers_are_parameters_of_s3s() -> None:
    operation = operation_of(sent("s3", "put_object", **OBJECT, Body=b"x", ACL="public-read"))
    expected = {**OBJECT, "ACL": "public-read"}
    assert {name: operation.parameters[name] for name in expected} == expected


@pytest.mark.parametrize("name", sorted(KNOWN - {MANY}))
def test_an_operation_of_s3s_is_told_from_path_query_and_headers(name: str) -> None:
    found = operation_of(bare("s3", name))
    assert ACTIONS[found.name] == ACTIONS[name]
    assert found.parameters.get("Key", "k/e y") == "k/e y"


def test_a_compressed_body_is_read() -> None:
    asked = json_request()
    packed = replace(
        asked, headers={**asked.headers, "content-encoding": "gzip"}, body=gzip.compress(asked.body or b"")
    )
    assert operation_of(packed).parameters == {"EndpointName": "mine"}


def targeted(asked: Asked) -> Asked:
    return replace(asked, headers={**asked.headers, "x-amz-target": "x.DeleteFunction"})


TWO_WAYS = {
    "an action in the query of JSON": replace(json_request(), query="Action=DeleteEndpoint"),
    "a parameter in the query of JSON": replace(json_request(), query="EndpointName=theirs"),
    "an action in a JSON string": json_request(note="&Action=DeleteEndpoint&"),
    "an encoded action in a JSON string": json_request(note="&%41ction=DeleteEndpoint&"),
    "a parameter in a JSON string": json_request(note="&EndpointName=theirs&"),
    "JSON as a form": with_header("content-type", FORM),
    "an action in a header": replace(
        json_request(), body=b"", headers={**json_request().headers, "action": "ListModels"}
    ),
    "two documents": replace(json_request(), body=b'{"EndpointName": "mine"}{"EndpointName": "theirs"}'),
    "a parameter twice": form_request("Action=TerminateInstances&InstanceId.1=i-1&InstanceId.1=i-2"),
    "an action twice": form_request("Action=DescribeInstances&Action=TerminateInstances"),
    "an action in the query too": replace(form_request("Action=DescribeInstances"), query="Action=StopInstances"),
    "a list with a gap": form_request("Action=TerminateInstances&InstanceId.1=i-1&InstanceId.3=i-2"),
    "a list that starts late": form_request("Action=TerminateInstances&InstanceId.10=i-1"),
    "a form that is none": replace(form_request("Action=DescribeInstances"), headers={"content-type": "text/plain"}),
    "a name in Lambda's path and body": lambda_request("PUT", "mine/code", body=b'{"FunctionName": "theirs"}'),
    "a name in Lambda's path and query": lambda_request("DELETE", "mine", "FunctionName=theirs"),
    "an action in Lambda's query": lambda_request("GET", "mine", "Action=DeleteFunction"),
    "a target of Lambda's": targeted(lambda_request("GET", "mine")),
    "an action in a header of Lambda's": lambda_request("GET", "mine", action="DeleteFunction"),
    "two subresources": Asked("s3", "GET", "/b", "list-type=2&policy", {"host": "127.0.0.1"}),
    "a subresource and an upload": Asked("s3", "GET", "/b/k", "acl&uploadId=u", {"host": "127.0.0.1"}),
    "an encoded bucket": Asked("s3", "GET", "/b%2Fk", "", {"host": "127.0.0.1"}),
    "an empty bucket": Asked("s3", "GET", "//b/k", "", {"host": "127.0.0.1"}),
    "a version twice": Asked("s3", "GET", "/b/k", "versionId=1&versionId=2", {"host": "127.0.0.1"}),
}


@pytest.mark.parametrize("asked", TWO_WAYS.values(), ids=TWO_WAYS.keys())
def test_what_could_be_read_in_two_ways_is_refused(asked: Asked) -> None:
    with pytest.raises(UnknownOperation):
        operation_of(asked)


@pytest.mark.parametrize("text", ["GET /?a=1&b=2", "Tom & Jerry", "https://x/?Version=1&x=%zz"])
def test_an_ampersand_in_a_text_is_a_text(text: str) -> None:
    event = {"timestamp": 0, "message": text}
    asked = sent("logs", "put_log_events", logGroupName="g", logStreamName="s", logEvents=[event])
    assert operation_of(asked).name == "PutLogEvents"


@pytest.mark.parametrize("name", ["", "NoSuchOperation", "describe_instances"])
def test_an_operation_that_the_service_lacks_is_refused(name: str) -> None:
    with pytest.raises(UnknownOperation, match=f"ec2:{name}$"):
        operation_of(form_request(f"Action={name}&Version=2016-11-15"))


def test_only_the_runtimes_paths_invoke() -> None:
    with pytest.raises(UnknownOperation):
        operation_of(Asked("sagemaker", "GET", "/endpoints/e/invocations", "", {}, b""))
    with pytest.raises(UnknownOperation):
        operation_of(Asked("sagemaker", "POST", "/endpoints/e/other", "", {}, b""))
