"""The streamed body of an answer: whole, or asked for again, or an error of AWS; there is one reader of it."""

import ast
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tasks.account.objects import read_object
from tasks.run.aws import Aws
from tasks.run.errors import AwsFailed, MalformedAnswer, Unreachable, aws_boundary
from tasks.run.settings import Settings
from tasks.run.streamed import read_streamed, read_whole
from tests.keys import for_environment
from tests.tasks.run.test_bounded_answers import drip_body, server, whole

ROOT = Path(__file__).resolve().parents[3]
CONTENT = b"x" * 100_000
Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in for_environment().items():
        monkeypatch.setenv(name, value)


def client(url: str, folder: Path, attempts: int = 2) -> Aws:
    limits: dict[str, Any] = {"read_timeout_seconds": 1.0, "max_attempts": attempts, "region": "us-east-1"}
    return Aws(Settings(endpoint_url=url, home=folder, runs=folder / "runs", **limits))


def cut(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    whole(handler, CONTENT[:70_000], len(CONTENT))
    handler.close_connection = True


def stall(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    drip_body(handler, b"")


def reader(aws: Aws, service: str) -> bytes | None:
    """Return the object of S3, or the reply of a function."""
    if service == "s3":
        return read_object(aws, "b", "k")
    with aws_boundary("function f"):
        return read_streamed(aws, "lambda", "invoke", "Payload", read_whole, FunctionName="f")[1]


@pytest.mark.parametrize(
    ("service", "answer", "error", "words"),
    [
        ("s3", cut, MalformedAnswer, "its body was cut"),
        ("lambda", cut, MalformedAnswer, "its body was cut"),
        ("s3", stall, Unreachable, 'Read timeout on endpoint URL: "http://127'),
    ],
)
def test_a_body_that_does_not_come_whole_is_asked_for_again_and_then_awss_error(
    tmp_path: Path, service: str, answer: Answer, error: type[AwsFailed], words: str
) -> None:
    asked = []

    def counted(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        asked.append(handler.path)
        answer(handler, body)

    with server(counted) as url:
        with pytest.raises(error, match=words) as caught:
            reader(client(url, tmp_path), service)
        assert (len(asked), caught.value.exit_code) == (2, 5)
        if error is MalformedAnswer:
            assert url in caught.value.what and "curl" in caught.value.next_command
        else:
            assert "kennel down --yes" in caught.value.next_command  # it hangs, on this machine


def test_a_body_that_is_whole_at_the_second_attempt_is_read(tmp_path: Path) -> None:
    answers = iter((cut, lambda handler, _: whole(handler, CONTENT)))
    with server(lambda handler, body: next(answers)(handler, body)) as url:
        assert read_object(client(url, tmp_path), "b", "k") == CONTENT


def test_nobody_but_the_reader_touches_a_streamed_body() -> None:
    touching = {
        str(path.relative_to(ROOT))
        for room in ("tasks", "flows", "kennel")
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Subscript) and ast.unparse(node.slice) in ("'Body'", "'Payload'")
    }
    assert touching == set()
