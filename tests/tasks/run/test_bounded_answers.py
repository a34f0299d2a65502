"""What one answer may take is bounded: its time also when it drips, its size, and the pages of a listing."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError

from tasks.account.logs import LogFollower
from tasks.account.permission_use import _services
from tasks.run import bounded_answers, logical_aws
from tasks.run.aws import Aws
from tasks.run.errors import MalformedAnswer, Unreachable, aws_boundary
from tasks.run.logical_aws import identify
from tasks.run.settings import Settings
from tests.http_server import serving
from tests.keys import for_environment

IDENTITY = (
    b"<R><GetCallerIdentityResult><Account>123456789012</Account><Arn>arn:aws:iam::123456789012:root</Arn>"
    b"</GetCallerIdentityResult></R>"
)
Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


@contextmanager
def server(answer: Answer) -> Iterator[str]:
    """Serve on loopback; STS says who is asking, and all other requests get `answer` (the handler, their body)."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if b"GetCallerIdentity" in body:
                whole(self, IDENTITY)
                return
            try:
                answer(self, body)
            except OSError:  # the client went away
                self.close_connection = True

        do_POST = do_GET  # noqa: N815  a name that http.server asks for

    with serving(Handler) as url:
        yield url


def whole(handler: BaseHTTPRequestHandler, body: bytes, length: int | None = None) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.send_header("x-amzn-requestid", "7a62c49f-347e-4fc4-9331-6e8e1b5b4f0f")
    handler.send_header("ETag", '"a"')
    handler.end_headers()
    handler.wfile.write(body)


def drip_body(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    whole(handler, b"{", 1000)
    drip(handler)


def drip_headers(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
    drip(handler)


def drip(handler: BaseHTTPRequestHandler) -> None:
    for _ in range(400):
        handler.wfile.write(b" ")
        Event().wait(0.05)


def client(url: str, folder: Path, service: str = "sagemaker") -> Any:
    more: dict[str, Any] = {"read_timeout_seconds": 1.0, "max_attempts": 1, "region": "us-east-1"}
    return Aws(Settings(endpoint_url=url, home=folder, runs=folder / "runs", **more)).client(service)


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in for_environment().items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("answer", [drip_body, drip_headers])
def test_an_answer_that_drips_ends_with_the_read_timeout(tmp_path: Path, answer: Answer) -> None:
    with server(answer) as url:
        sagemaker, s3 = client(url, tmp_path), client(url, tmp_path, "s3")
        begun = time.monotonic()
        with pytest.raises(Unreachable, match="Read timeout"), aws_boundary("step"):
            sagemaker.describe_endpoint(EndpointName="e")
        with pytest.raises(ReadTimeoutError):
            s3.get_object(Bucket="b", Key="k")["Body"].read()
        assert 1.5 < time.monotonic() - begun < 20, "each of the answers drips for 20 s"


def test_an_embedded_aws_that_has_ended_and_one_that_hangs_have_other_reasons_and_cures(tmp_path: Path) -> None:
    with server(drip_headers) as url, pytest.raises(Unreachable) as hangs, aws_boundary("step"):
        client(url, tmp_path).describe_endpoint(EndpointName="e")
    with pytest.raises(Unreachable) as ended, aws_boundary("step"):
        client(url, tmp_path).describe_endpoint(EndpointName="e")
    assert "stopped by a signal (SIGSTOP)" in hangs.value.why and "has ended" not in hangs.value.why
    assert "which lets a stopped one go on" in hangs.value.next_command
    assert ended.value.why == "the embedded AWS has ended or was not started: nothing answers there"
    assert "which starts the embedded AWS; for a flow of a Prefect worker: kennel up" in ended.value.next_command


@pytest.mark.parametrize("answer", [drip_body, drip_headers])
def test_a_health_answer_that_drips_ends(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> None:
    monkeypatch.setattr(logical_aws, "ANSWER_SECONDS", 0.3)
    with server(answer) as url, pytest.raises(Unreachable):
        identify(url)


def test_time_in_which_the_reader_is_slow_does_not_count(tmp_path: Path) -> None:
    content = b"x" * 300_000
    with server(lambda handler, _: whole(handler, content)) as url:
        stream, read = client(url, tmp_path, "s3").get_object(Bucket="b", Key="k")["Body"], b""
        for _ in range(3):
            Event().wait(0.5)
            read += stream.read(100_000)
    assert read == content


def test_an_answer_that_is_too_long_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_answers, "LONGEST_BYTES", 2**20)
    with server(lambda handler, _: whole(handler, b" " * 2**24)) as url:
        with pytest.raises(MalformedAnswer, match="it is longer than 1,048,576 bytes"), aws_boundary("step"):
            client(url, tmp_path).list_endpoints()
        assert len(client(url, tmp_path, "s3").get_object(Bucket="b", Key="k")["Body"].read()) == 2**24


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (["a", "a"], "its next page is one that was read already"),
        (["a", "b", "a"], "its next page is one that was read already"),
        ([{"a": 1}], "which is no text"),
        ([str(number) for number in range(30)], "there is another page after 20"),
    ],
)
def test_a_listing_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokens: list[Any], said: str) -> None:
    monkeypatch.setattr(bounded_answers, "MOST_PAGES", 20)
    left = list(tokens)

    def page(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        whole(handler, json.dumps({"Endpoints": [], "NextToken": left.pop(0)}).encode())

    with server(page) as url, pytest.raises(MalformedAnswer, match=said) as caught, aws_boundary("step"):
        list(client(url, tmp_path).get_paginator("list_endpoints").paginate())
    assert caught.value.what.startswith("ListEndpoints at http") and "curl" in caught.value.next_command


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (["1", "2", "1"], "one that was read already"),
        ([str(number) for number in range(99)], "another page after 20"),
    ],
)
def test_a_log_and_a_report_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokens: list[str], said: str) -> None:
    monkeypatch.setattr(bounded_answers, "MOST_PAGES", 20)
    left = list(tokens)

    def page(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        target = handler.headers.get("X-Amz-Target", "")
        if b"GenerateServiceLastAccessedDetails" in body:
            result = "<GenerateServiceLastAccessedDetailsResult>{}</GenerateServiceLastAccessedDetailsResult>"
            whole(handler, f"<R>{result.format('<JobId>' + 'j' * 36 + '</JobId>')}</R>".encode())
        elif target.endswith("DescribeLogStreams"):
            whole(handler, b'{"logStreams": [{"logStreamName": "s"}]}')
        elif target:
            whole(handler, json.dumps({"events": [], "nextForwardToken": left.pop(0)}).encode())
        else:
            more = f"<IsTruncated>true</IsTruncated><Marker>{left.pop(0)}</Marker>"
            told = f"<JobStatus>COMPLETED</JobStatus><ServicesLastAccessed/>{more}"
            result = f"<GetServiceLastAccessedDetailsResult>{told}</GetServiceLastAccessedDetailsResult>"
            whole(handler, f"<R>{result}</R>".encode())

    with server(page) as url:
        more: dict[str, Any] = {"read_timeout_seconds": 1.0, "max_attempts": 1, "region": "us-east-1"}
        aws = Aws(Settings(endpoint_url=url, home=tmp_path, runs=tmp_path / "runs", **more))
        with pytest.raises(MalformedAnswer, match=said):
            LogFollower(aws, "group").poll()
        left[:] = tokens
        with pytest.raises(MalformedAnswer, match=said), aws_boundary("step"):
            list(_services(aws, "r"))


def test_a_whole_listing_is_read(tmp_path: Path) -> None:
    pages = [{"Endpoints": [{"EndpointName": "a"}], "NextToken": "2"}, {"Endpoints": [{"EndpointName": "b"}]}]
    with server(lambda handler, _: whole(handler, json.dumps(pages.pop(0)).encode())) as url:
        found = client(url, tmp_path).get_paginator("list_endpoints").paginate().search("Endpoints[].EndpointName")
        assert list(found) == ["a", "b"]
