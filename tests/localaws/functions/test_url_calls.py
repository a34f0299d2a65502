"""Tests of calls to function URLs: who may call, what the function gets, and what the caller gets."""

import base64
import json
from typing import Any

import pytest

from tests.conftest import RunningLocalAws
from tests.localaws.callers import ACCOUNT, allow, make_user
from tests.localaws.functions.functions_kit import Functions, Metrics
from tests.localaws.functions.url_kit import Url, event_in, make_url, open_url

JPEG = b"\xff\xd8\xff\x00\x01"
ANSWERS = """
import json
def handler(event, context):
    answer = json.loads(event["body"])
    if answer == "raise":
        raise ValueError("no")
    return answer
"""


@pytest.fixture(scope="module")
def echo(functions: Functions) -> Url:
    return make_url(functions)


@pytest.fixture(scope="module")
def answering(functions: Functions) -> Url:
    return make_url(functions, ANSWERS)


def test_the_event_has_payload_format_2_0(echo: Url) -> None:
    headers = {"Cookie": "a=1; b=2", "X-Two": "x", "User-Agent": "test", "Content-Type": "application/json"}
    event = event_in(echo.send("/some%20path/x?a=1&a=2&b=%C3%BC&c", "POST", b'{"k": 1}', headers))
    assert (event["version"], event["routeKey"], event["isBase64Encoded"]) == ("2.0", "$default", False)
    assert (event["rawPath"], event["rawQueryString"]) == ("/some%20path/x", "a=1&a=2&b=%C3%BC&c")
    assert event["queryStringParameters"] == {"a": "1,2", "b": "ü", "c": ""}
    assert event["cookies"] == ["a=1", "b=2"]
    assert (event["headers"]["x-two"], event["body"]) == ("x", '{"k": 1}')
    context = event["requestContext"]
    assert context["domainName"] == echo.host.partition(":")[0]
    assert context["apiId"] == context["domainPrefix"] == echo.host.partition(".")[0]
    assert (context["accountId"], context["stage"], "authorizer" in context) == ("anonymous", "$default", False)
    assert context["http"] == {
        "method": "POST",
        "path": "/some%20path/x",
        "protocol": "HTTP/1.1",
        "sourceIp": "127.0.0.1",
        "userAgent": "test",
    }
    plain = event_in(echo.send())
    assert {"body", "cookies", "queryStringParameters"}.isdisjoint(plain)


def test_the_event_has_the_urls_own_host_however_it_was_written(echo: Url) -> None:
    event = event_in(echo.send(headers={"Host": echo.host.upper()}))
    assert event["requestContext"]["domainName"] == echo.host.partition(":")[0]
    assert event["requestContext"]["apiId"] == echo.host.partition(".")[0]


def test_a_url_of_another_region_does_not_exist(echo: Url) -> None:
    other = echo.host.replace(".us-east-1.", ".eu-west-1.")
    assert (other != echo.host, echo.send(headers={"Host": other}).status) == (True, 404)


@pytest.mark.parametrize("kind", ["image/jpeg", "application/octet-stream", "multipart/form-data; boundary=X"])
def test_a_binary_body_is_base64_in_the_event(echo: Url, kind: str) -> None:
    event = event_in(echo.send("/", "POST", JPEG, {"Content-Type": kind}))
    assert event["isBase64Encoded"] is True
    assert base64.b64decode(event["body"]) == JPEG


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        ({"statusCode": 201, "body": "made", "headers": {"X-A": 7}}, 201, b"made"),
        ({"statusCode": 200, "body": base64.b64encode(JPEG).decode(), "isBase64Encoded": True}, 200, JPEG),
        ({"statusCode": 204}, 204, b""),
        ({"message": "hi"}, 200, b'{"message": "hi"}'),
        ("hi", 200, b"hi"),
        ([1], 200, b"[1]"),
        ({"statusCode": "no"}, 502, b"Internal Server Error"),
        ({"statusCode": 99}, 502, b"Internal Server Error"),
        ({"statusCode": 200, "headers": {"x": "a\r\nset-cookie: b"}}, 502, b"Internal Server Error"),
        ({"statusCode": 200, "body": "@", "isBase64Encoded": True}, 502, b"Internal Server Error"),
        ("raise", 502, b"Internal Server Error"),
    ],
)
def test_the_functions_answer_becomes_a_response(answering: Url, answer: Any, status: int, body: bytes) -> None:
    got = answering.send("/", "POST", json.dumps(answer).encode(), {"Content-Type": "application/json"})
    assert (got.status, got.body) == (status, body)
    assert status == 204 or got.headers["content-type"] == "application/json"
    if status == 201:
        assert got.headers["x-a"] == "7"


def test_cookies_and_a_head_request(answering: Url, echo: Url) -> None:
    answer = json.dumps({"statusCode": 200, "cookies": ["a=1; Secure"], "headers": {"Content-Type": "text/html"}})
    got = answering.send("/", "POST", answer.encode())
    assert (got.headers["set-cookie"], got.headers["content-type"]) == ("a=1; Secure", "text/html")
    head = echo.send("/", "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) > 100


def test_a_url_without_authentication_needs_both_statements_of_the_policy(functions: Functions) -> None:
    name, aws = functions.make(), functions.aws
    url = Url(name, aws.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"])
    assert url.send().status == 403
    open_url(functions, name)
    assert url.send().status == 200
    for statement in ("url", "invoke"):
        aws.remove_permission(FunctionName=name, StatementId=statement)
        refused = url.send()
        assert (refused.status, b"Forbidden" in refused.body) == (403, True)
        aws.remove_permission(FunctionName=name, StatementId="invoke" if statement == "url" else "url")
        if statement == "url":
            open_url(functions, name)


def test_an_aliass_url_needs_the_policy_of_the_alias(functions: Functions) -> None:
    name, aws = functions.make(), functions.aws
    version = aws.publish_version(FunctionName=name)["Version"]
    aws.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    made = aws.create_function_url_config(FunctionName=name, Qualifier="live", AuthType="NONE")
    url = Url(name, made["FunctionUrl"])
    open_url(functions, name)
    assert url.send().status == 403
    open_url(functions, name, Qualifier="live")
    assert json.loads(url.send().body)["arn"].endswith(f":{name}:live")


def test_aws_iam_takes_signatures_of_lambda_and_tells_the_function_who_called(functions: Functions) -> None:
    url = make_url(functions, auth_type="AWS_IAM")
    event = event_in(url.signed("/p?x=a%20b", "POST", b"text"))
    iam = event["requestContext"]["authorizer"]["iam"]
    assert (iam["accountId"], iam["userArn"]) == (ACCOUNT, f"arn:aws:iam::{ACCOUNT}:root")
    assert event["requestContext"]["accountId"] == ACCOUNT
    assert "authorization" not in event["headers"]
    assert url.send().status == 403
    open_url(functions, url.function)
    assert url.send().status == 403  # the policy opens the other kind of URL only
    tampered = url.signature("/", "POST", b"one")
    assert url.send("/", "POST", b"two", tampered).status == 403
    assert url.send("/", "POST", b"", url.signature("/", "POST", b"", service="sagemaker")).status == 403
    other = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "wrong"}
    assert url.signed(keys=other).status == 403


def test_aws_iam_needs_both_permissions_of_the_caller(functions: Functions, localaws: RunningLocalAws) -> None:
    url = make_url(functions, auth_type="AWS_IAM")
    both = make_user(localaws, allow(["lambda:InvokeFunctionUrl", "lambda:InvokeFunction"]))
    assert url.signed(keys=both.keys).status == 200
    via = {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}
    kind = {"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}}
    only = make_user(
        localaws,
        allow("lambda:InvokeFunctionUrl", Condition=kind),
        allow("lambda:InvokeFunction", Condition=via),
    )
    assert url.signed(keys=only.keys).status == 200
    for action in ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction"):
        refused = url.signed(keys=make_user(localaws, allow(action)).keys)
        assert (refused.status, b"Forbidden" in refused.body) == (403, True)


def test_cors_is_answered_by_the_url_and_replaces_the_functions_headers(functions: Functions) -> None:
    app = "https://app.example"
    cors = {
        "AllowOrigins": [app],
        "AllowMethods": ["GET", "POST"],
        "AllowHeaders": ["content-type"],
        "ExposeHeaders": ["retry-after"],
        "MaxAge": 60,
    }
    url = make_url(functions, ANSWERS, Cors=cors)
    asked = {"Origin": app, "Access-Control-Request-Method": "POST"}
    preflight = url.send("/", "OPTIONS", b"", asked)
    assert (preflight.status, preflight.body) == (200, b"")
    assert {name: value for name, value in preflight.headers.items() if name.startswith("access-control")} == {
        "access-control-allow-origin": app,
        "access-control-allow-methods": "GET,POST",
        "access-control-allow-headers": "content-type",
        "access-control-expose-headers": "retry-after",
        "access-control-max-age": "60",
    }
    own = json.dumps({"statusCode": 200, "headers": {"Access-Control-Allow-Origin": "*"}}).encode()
    assert url.send("/", "POST", own, {"Origin": app}).headers["access-control-allow-origin"] == app
    for foreign in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        refused = url.send("/", "OPTIONS" if len(foreign) == 2 else "POST", own, foreign)
        assert (refused.status, "access-control-allow-origin" in refused.headers) == (403, False)
    functions.aws.update_function_url_config(FunctionName=url.function, Cors={"AllowOrigins": ["*"]})
    assert url.send("/", "POST", own, {"Origin": "https://evil.example"}).headers["access-control-allow-origin"] == "*"
    functions.aws.update_function_url_config(FunctionName=url.function, Cors={})
    assert url.send("/", "POST", own, {"Origin": app}).status == 403


def test_throttles_and_bodies_that_are_too_large(functions: Functions, metrics: Metrics) -> None:
    url = make_url(functions)
    large = url.send("/", "POST", b"x" * 6_291_457, {"Content-Type": "text/plain"})
    assert (large.status, b"6291456" in large.body) == (413, True)
    binary = url.send("/", "POST", b"\xff" * 5_000_000, {"Content-Type": "image/jpeg"})
    assert binary.status == 413  # its base64 is larger than the limit
    assert url.send().status == 200
    functions.aws.put_function_concurrency(FunctionName=url.function, ReservedConcurrentExecutions=0)
    throttled = url.send()
    assert (throttled.status, json.loads(throttled.body)["Reason"]) == (
        429,
        "ReservedFunctionConcurrentInvocationLimitExceeded",
    )
    counted = {name: metrics.get(name, "Sum", FunctionName=url.function) for name in ("UrlRequestCount", "Url4xxCount")}
    assert counted == {"UrlRequestCount": 4.0, "Url4xxCount": 3.0}


def test_an_unknown_url_and_another_host_are_no_function(localaws: RunningLocalAws) -> None:
    port = localaws.url.rpartition(":")[2]
    unknown = Url("", f"http://{'a' * 32}.lambda-url.us-east-1.localhost:{port}/")
    assert (unknown.send().status, unknown.send("/_localaws/health").status) == (404, 404)
    elsewhere = Url("", f"http://{'a' * 32}.lambda-url.us-east-1.on.aws:{port}/")
    assert elsewhere.send().status == 403
