"""AWS Signature Version 4 for one POST request that is sent many times, signed by botocore.

A signature depends on the body, the headers and the second of the clock. Bodies and headers of a load test are few and
fixed, so each (body, second) is signed once and the bytes of the whole request are sent again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials


@dataclass(frozen=True)
class Payload:
    """A body with its content type; the SHA-256, in hexadecimal, tells it from others."""

    name: str
    body: bytes
    content_type: str
    sha256: str

    @classmethod
    def of(cls, name: str, body: bytes, content_type: str) -> Payload:
        """Hash a body once."""
        return cls(name, body, content_type, hashlib.sha256(body).hexdigest())


@dataclass(frozen=True)
class Route:
    """Where a request goes: host (with the port when it is not the scheme's), path and query, all percent-encoded."""

    host: str
    path: str
    query: str
    service: str
    region: str

    @property
    def target(self) -> str:
        """The path with the query, as the request's first line has them."""
        return f"{self.path}?{self.query}" if self.query else self.path


class Signer:
    """The bytes of signed requests, made once a second for each payload; used from one thread."""

    def __init__(
        self, route: Route, credentials: Callable[[], ReadOnlyCredentials], clock: Callable[[], float] = time.time
    ) -> None:
        """Keep what is fixed; `credentials` is asked once a second, so that expiring ones are renewed in time."""
        self._route = route
        self._credentials = credentials
        self._clock = clock
        self._second = -1
        self._current = ReadOnlyCredentials("", "", None)
        self._requests: dict[str, bytes] = {}

    def request(self, payload: Payload) -> bytes:
        """Return a whole HTTP/1.1 request, head and body, signed for this second."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._current, self._requests = second, self._credentials(), {}
        request = self._requests.get(payload.sha256)
        if request is None:
            request = self._requests[payload.sha256] = self._build(payload)
        return request

    def _build(self, payload: Payload) -> bytes:
        route = self._route
        headers = {"content-type": payload.content_type, "host": route.host}
        request = AWSRequest("POST", f"https://{route.host}{route.target}", data=payload.body, headers=headers)
        SigV4Auth(self._current, route.service, route.region).add_auth(request)
        request.headers["content-length"] = str(len(payload.body))
        lines = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        return f"POST {route.target} HTTP/1.1\r\n{lines}\r\n".encode("ascii") + payload.body
