"""Each service refuses in its own words, as boto3 tells them; the clock that judges is the front's."""

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

import boto3
import pytest
import uvicorn
from botocore.config import Config
from botocore.exceptions import ClientError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localaws.auth.keys import Key
from localaws.auth.signature_gate import SignatureGate
from localaws.auth.verifier import Verifier
from tests.localaws.auth.wire import send

LONGEST_BODY_BYTES = 8 * 2**20
S3_NO_MATCH = "The request signature we calculated does not match the signature you provided. Check your key and"
NO_MATCH = "The request signature we calculated does not match the signature you provided. Check your AWS Secret"
INVALID = "The security token included in the request is invalid."
OVER = "The security token included in the request is expired"
EC2 = ("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
TOO_OLD = "Signature expired: "

S3_ANSWERS = {
    "secret": ("SignatureDoesNotMatch", S3_NO_MATCH, 403),
    "unknown": ("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", 403),
    "token": ("InvalidToken", "The provided token is malformed or otherwise invalid.", 400),
    "over": ("ExpiredToken", "The provided token has expired.", 400),
    "skew": ("RequestTimeTooSkewed", "The difference between the request time and the current time is too large.", 403),
}
QUERY_ANSWERS = {
    "secret": ("SignatureDoesNotMatch", NO_MATCH, 403),
    "unknown": ("InvalidClientTokenId", INVALID, 403),
    "token": ("InvalidClientTokenId", INVALID, 403),
    "over": ("ExpiredToken", OVER, 403),
    "skew": ("SignatureDoesNotMatch", TOO_OLD, 403),
}
JSON_ANSWERS = {
    "secret": ("InvalidSignatureException", NO_MATCH, 400),
    "unknown": ("UnrecognizedClientException", INVALID, 400),
    "token": ("UnrecognizedClientException", INVALID, 400),
    "over": ("ExpiredTokenException", OVER, 400),
    "skew": ("InvalidSignatureException", TOO_OLD, 400),
}
EC2_ANSWERS = {
    **dict.fromkeys(("secret", "unknown", "token"), EC2),
    **dict.fromkeys(("over", "skew"), ("RequestExpired", "Request has expired.", 400)),
}
REST_ANSWERS = {case: (code, message, 403) for case, (code, message, _) in JSON_ANSWERS.items()}
CALLS: dict[str, tuple[str, dict[str, Any], dict[str, tuple[str, str, int]]]] = {
    "s3": ("list_buckets", {}, S3_ANSWERS),
    "sts": ("get_caller_identity", {}, QUERY_ANSWERS),
    "iam": ("list_roles", {}, QUERY_ANSWERS),
    "ec2": ("describe_instances", {}, EC2_ANSWERS),
    "sagemaker": ("list_endpoints", {}, JSON_ANSWERS),
    "logs": ("describe_log_groups", {}, JSON_ANSWERS),
    "ssm": ("describe_parameters", {}, JSON_ANSWERS),
    "cloudwatch": ("list_metrics", {}, JSON_ANSWERS),
    "application-autoscaling": ("describe_scalable_targets", {"ServiceNamespace": "sagemaker"}, JSON_ANSWERS),
    "resourcegroupstaggingapi": ("get_resources", {}, JSON_ANSWERS),
    "sagemaker-runtime": ("invoke_endpoint", {"EndpointName": "e", "Body": b"{}"}, REST_ANSWERS),
    "lambda": ("invoke", {"FunctionName": "f", "Payload": b"{}"}, REST_ANSWERS),
}


@dataclass
class Gate:
    """A gate in a thread of this process; what it lets through is answered with the size of its body."""

    url: str
    keys: dict[str, Key]
    ahead_seconds: list[float] = field(default_factory=lambda: [0.0])

    def client(self, service: str, key: str = "GOOD", secret: str = "secret", token: str | None = None) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token or "",
            config=Config(retries={"total_max_attempts": 1}),
        )


@pytest.fixture(scope="module")
def gate() -> Iterator[Gate]:
    keys = {
        "GOOD": Key("secret"),
        "SESSION": Key("secret", "token", time.time() + 3600),
        "OVER": Key("secret", "token", time.time() - 1),
    }
    ahead_seconds = [0.0]

    async def size(scope: Any, receive: Any, send: Any) -> None:
        body = await Request(scope, receive).body()
        await Response(str(len(body)))(scope, receive, send)

    verifier = Verifier(keys.get, clock=lambda: time.time() + ahead_seconds[0])
    own = Route("/_localaws/anything", size, methods=["POST"])
    app = SignatureGate(size, verifier, token="token", routes=[own], longest_body_bytes=LONGEST_BODY_BYTES)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield Gate(f"http://127.0.0.1:{listener.getsockname()[1]}", keys, ahead_seconds)
        server.should_exit = True
        thread.join(60)


@pytest.mark.parametrize("service", CALLS)
def test_a_service_refuses_what_is_not_signed_right_in_its_own_words(gate: Gate, service: str) -> None:
    operation, arguments, answers = CALLS[service]
    clients = {
        "secret": gate.client(service, secret="other"),
        "unknown": gate.client(service, "UNKNOWN"),
        "token": gate.client(service, "SESSION", token="other"),
        "over": gate.client(service, "OVER", token="token"),
        "skew": gate.client(service),
    }
    for case, client in clients.items():
        gate.ahead_seconds[0] = 3600.0 if case == "skew" else 0.0
        with pytest.raises(ClientError) as refused:
            getattr(client, operation)(**arguments)
        error, status = refused.value.response["Error"], refused.value.response["ResponseMetadata"]["HTTPStatusCode"]
        code, message, expected_status = answers[case]
        assert (error["Code"], status) == (code, expected_status), case
        assert error["Message"].startswith(message), case
    gate.ahead_seconds[0] = 0.0


def test_s3_tells_what_was_signed_and_names_the_request(gate: Gate) -> None:
    with pytest.raises(ClientError) as refused:
        gate.client("s3", secret="other").get_object(Bucket="b", Key="k")
    error, metadata = refused.value.response["Error"], refused.value.response["ResponseMetadata"]
    text, asked = error["StringToSign"], error["CanonicalRequest"]
    assert text.splitlines()[0] == "AWS4-HMAC-SHA256" and asked.splitlines()[:2] == ["GET", "/b/k"]
    assert text.splitlines()[-1] == hashlib.sha256(asked.encode()).hexdigest()
    assert bytes.fromhex(error["StringToSignBytes"]) == text.encode()
    assert (error["AWSAccessKeyId"], len(error["SignatureProvided"])) == ("GOOD", 64)
    assert metadata["RequestId"] == metadata["HTTPHeaders"]["x-amz-request-id"]
    assert metadata["HostId"] == metadata["HTTPHeaders"]["x-amz-id-2"]


def test_s3_tells_an_unknown_key_and_by_how_much_a_request_is_late(gate: Gate) -> None:
    with pytest.raises(ClientError) as unknown:
        gate.client("s3", "UNKNOWN").list_buckets()
    assert unknown.value.response["Error"]["AWSAccessKeyId"] == "UNKNOWN"
    gate.ahead_seconds[0] = 3600.0
    with pytest.raises(ClientError) as late:
        gate.client("s3").list_buckets()
    gate.ahead_seconds[0] = 0.0
    assert late.value.response["Error"]["MaxAllowedSkewMilliseconds"] == "900000"
    assert late.value.response["Error"]["ServerTime"].endswith("Z")


def test_what_no_xml_may_hold_is_not_in_an_error(gate: Gate) -> None:
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    query = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=%01%3CA%3E%2F{now[:8]}%2Fr%2Fs3%2Faws4_request"
    answer = send(gate.url, "GET", f"/b/k?{query}&X-Amz-Date={now}&X-Amz-Expires=9&X-Amz-Signature=0")
    assert ElementTree.fromstring(answer.body).findtext("AWSAccessKeyId") == "?<A>"


def test_a_body_of_many_pieces_is_hashed_and_passed_on_whole(gate: Gate) -> None:
    body = bytes(range(256)) * 20_000
    answer = gate.client("sagemaker-runtime").invoke_endpoint(EndpointName="e", Body=body)
    assert int(answer["Body"].read()) == len(body)


def test_a_body_that_is_larger_than_any_of_awss_is_refused(gate: Gate) -> None:
    client = gate.client("sagemaker-runtime")
    with pytest.raises(ClientError, match="RequestEntityTooLargeException"):
        client.invoke_endpoint(EndpointName="e", Body=bytes(LONGEST_BODY_BYTES + 1))


def test_a_head_request_is_refused_without_a_body(gate: Gate) -> None:
    with pytest.raises(ClientError) as refused:
        gate.client("s3", "UNKNOWN").head_object(Bucket="bucket", Key="key")
    assert refused.value.response["Error"]["Code"] == "403"


def test_a_refused_upload_leaves_the_connection_usable(gate: Gate) -> None:
    s3 = gate.client("s3", "UNKNOWN")
    for _ in range(2):
        with pytest.raises(ClientError, match="InvalidAccessKeyId"):
            s3.put_object(Bucket="bucket", Key="key", Body=bytes(4 * 2**20))


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "bearer token", "Bearer token "])
def test_localawss_own_paths_need_the_token(gate: Gate, authorization: str) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    for method in ("POST", "GET", "DELETE"):
        answer = send(gate.url, method, "/_localaws/anything", headers)
        if authorization.strip() != "Bearer token":
            assert answer.status == 401 and b"server.json" in answer.body
    assert send(gate.url, "POST", "/_localaws/anything", {"Authorization": "Bearer token"}).status == 200
