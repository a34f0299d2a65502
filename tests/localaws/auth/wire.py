"""Requests as they go over the wire, without an SDK that would sign or repair them."""

import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def send(url: str, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
    """Send exactly these headers, `Host` and `Content-Length`."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=30)
    try:
        connection.request(method, target, body, {"Host": address.netloc, **(headers or {})})
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()
