"""Notices reach a real SMTP server and a real webhook; what does not take one is said, without the address."""

import asyncore
import json
import logging
import smtpd
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from pydantic import SecretStr

from tasks.run.notices import notify
from tasks.run.settings import Settings
from tests.http_server import serving

TITLE, TEXT = "kennel: endpoint of dogs: promoted", "better: 0.9 against 0.8 on 252 photos"


@contextmanager
def webhook() -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """Yield the address of a webhook without a scheme, and the paths and bodies of what it gets."""
    received: list[tuple[str, dict[str, Any]]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append((self.path, json.loads(self.rfile.read(int(self.headers["content-length"])))))
            self.send_response(200)
            self.end_headers()

    with serving(Hook) as url:
        yield url.removeprefix("http://"), received


class Mailbox(smtpd.SMTPServer):
    """Keeps the messages that it gets."""

    def __init__(self) -> None:
        self.sockets: dict[int, Any] = {}
        super().__init__(("127.0.0.1", 0), ("127.0.0.1", 0), map=self.sockets, decode_data=True)
        self.messages: list[tuple[str, list[str], str]] = []
        assert self.socket is not None
        self.port: int = self.socket.getsockname()[1]

    def process_message(
        self, peer: tuple[str, int], mailfrom: str, rcpttos: list[str], data: bytes | str, **kwargs: Any
    ) -> str | None:
        self.messages.append((mailfrom, rcpttos, str(data)))
        return None


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    server, ended = Mailbox(), threading.Event()

    def serve() -> None:
        while not ended.is_set():
            asyncore.loop(timeout=0.05, count=1, map=server.sockets)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        ended.set()
        thread.join(10)
        server.close()


def settings(*addresses: str) -> Settings:
    return Settings(notify=SecretStr(" ".join(addresses)) if addresses else None)


def test_a_notice_reaches_a_mailbox_and_a_webhook() -> None:
    with mailbox() as mail, webhook() as (hook, received):
        mailto = f"mailto://127.0.0.1:{mail.port}?from=kennel@example.org&to=me@example.org&mode=insecure"
        assert notify(TITLE, TEXT, settings(mailto, f"json://{hook}/hook")) == 2
    ((sender, recipients, message),) = mail.messages
    assert (sender, recipients) == ("kennel@example.org", ["me@example.org"])
    assert "promoted" in message
    ((path, body),) = received
    assert (path, body["title"], body["message"]) == ("/hook", TITLE, TEXT)


def test_an_address_that_does_not_take_it_is_said_and_the_others_get_it(caplog: pytest.LogCaptureFixture) -> None:
    with webhook() as (hook, received), caplog.at_level(logging.INFO, logger="kennel"):
        given = settings("json://user:s3cret@127.0.0.1:9/hook", "nonsense", f"json://{hook}/hook")
        assert notify(TITLE, TEXT, given) == 1
    assert len(received) == 1
    said = [record.getMessage() for record in caplog.records if record.name == "kennel"]
    assert [text.split(":")[1].strip() for text in said] == [
        f"the notice was not taken by address {number} of KENNEL_NOTIFY" for number in (1, 2)
    ]
    assert "s3cret" not in caplog.text and "nonsense" not in caplog.text


def test_without_an_address_nothing_is_sent_or_imported() -> None:
    assert notify(TITLE, TEXT, settings()) == 0
