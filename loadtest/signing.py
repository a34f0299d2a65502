"""AWS Signature Version 4 for one POST request that is sent many times, at the price of a dictionary look-up.

A signature depends on the body, the headers and the second of the clock. Bodies and headers of a load test are few and
fixed, so each (body, second) is signed once and the head's bytes are sent again. Checked against botocore's signer.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class Credentials:
    """What AWS knows the caller by; the token is there for temporary credentials only."""

    access_key: str
    secret_key: str
    token: str | None = None


@dataclass(frozen=True)
class Payload:
    """A body with what its signature needs: content type, and the SHA-256 in hexadecimal."""

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


def signed_headers(route: Route, payload: Payload, credentials: Credentials, stamp: str) -> dict[str, str]:
    """Return every header of the request, signed; `stamp` is the UTC time as YYYYMMDDTHHMMSSZ."""
    headers = {"content-type": payload.content_type, "host": route.host, "x-amz-date": stamp}
    if credentials.token:
        headers["x-amz-security-token"] = credentials.token
    scope = f"{stamp[:8]}/{route.region}/{route.service}/aws4_request"
    names = ";".join(sorted(headers))
    digest = hashlib.sha256(_canonical(route, payload, headers, names).encode()).hexdigest()
    key = _signing_key(credentials.secret_key, stamp[:8], route.region, route.service)
    signature = hmac.new(key, f"{ALGORITHM}\n{stamp}\n{scope}\n{digest}".encode(), hashlib.sha256).hexdigest()
    credential = f"{credentials.access_key}/{scope}"
    headers["authorization"] = f"{ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return headers


class Signer:
    """The bytes of signed requests, made once a second for each payload; used from one thread."""

    def __init__(
        self, route: Route, credentials: Callable[[], Credentials], clock: Callable[[], float] = time.time
    ) -> None:
        """Keep what is fixed; `credentials` is asked once a second, so that expiring ones are renewed in time."""
        self._route = route
        self._credentials = credentials
        self._clock = clock
        self._second = -1
        self._current = Credentials("", "")
        self._requests: dict[str, bytes] = {}

    def request(self, payload: Payload) -> bytes:
        """Return a whole HTTP/1.1 request, head and body, signed for this second."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._current, self._requests = second, self._credentials(), {}
        request = self._requests.get(payload.sha256)
        if request is None:
            request = self._requests[payload.sha256] = self._build(payload, second)
        return request

    def _build(self, payload: Payload, second: int) -> bytes:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        headers = signed_headers(self._route, payload, self._current, stamp)
        headers["content-length"] = str(len(payload.body))
        return _head(self._route, headers) + payload.body


def _canonical(route: Route, payload: Payload, headers: Mapping[str, str], names: str) -> str:
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    return f"POST\n{route.path}\n{route.query}\n{lines}\n{names}\n{payload.sha256}"


def _head(route: Route, headers: Mapping[str, str]) -> bytes:
    target = f"{route.path}?{route.query}" if route.query else route.path
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {target} HTTP/1.1\r\n{lines}\r\n".encode("ascii")


def _signing_key(secret: str, *parts: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (*parts, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
