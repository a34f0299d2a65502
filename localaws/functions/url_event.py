"""The event that a function gets of a request to its URL: payload format 2.0.

Source: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-request-payload
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import Scope

from localaws.auth.claims import headers_of

_TEXT = re.compile(r"text/.*|application/(json|javascript|xml)|application/.*\+(json|xml)")
_REMOVED = ("authorization", "connection")


@dataclass(frozen=True)
class SignedBy:
    """Who signed a request: the key's id, and the user or session."""

    access_key_id: str
    account_id: str
    user_id: str
    arn: str

    def shown(self) -> dict[str, Any]:
        """Return it as the event's `authorizer.iam`."""
        return {
            "accessKey": self.access_key_id,
            "accountId": self.account_id,
            "callerId": self.user_id,
            "cognitoIdentity": None,
            "principalOrgId": None,
            "userArn": self.arn,
            "userId": self.user_id,
        }


def event_of(scope: Scope, body: bytes, request_id: str, signed_by: SignedBy | None) -> dict[str, Any]:
    """Return the event of a request; one without a signature (`signed_by` None) has no authorizer."""
    headers = _headers(scope)
    query = scope["query_string"].decode("latin1")
    cookies = [each.strip() for each in headers.get("cookie", "").split(";") if each.strip()]
    text = text_of(body, headers.get("content-type", ""))
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": scope["raw_path"].decode("latin1"),
        "rawQueryString": query,
        **({"cookies": cookies} if cookies else {}),
        "headers": headers,
        **({"queryStringParameters": _joined(query)} if query else {}),
        "requestContext": _context(scope, headers, request_id, signed_by),
        **({} if not body else {"body": base64.b64encode(body).decode() if text is None else text}),
        "isBase64Encoded": bool(body) and text is None,
    }


def text_of(body: bytes, content_type: str) -> str | None:
    """Return a body as text if its type is one of text, or it has none; None if it is passed on as base64."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind and not _TEXT.fullmatch(kind):
        return None
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _headers(scope: Scope) -> dict[str, str]:
    given = {name.decode("latin1"): value.decode("latin1") for name, value in headers_of(scope).items()}
    address, port = scope.get("client") or ("127.0.0.1", 0)
    forwarded = {
        "x-forwarded-for": str(address),
        "x-forwarded-proto": str(scope.get("scheme", "http")),
        "x-forwarded-port": given.get("host", "").rpartition(":")[2] or str(port),
    }
    return {**{name: value for name, value in given.items() if name not in _REMOVED}, **forwarded}


def _joined(query: str) -> dict[str, str]:
    """Return the parameters of a query; several values of one are joined with commas."""
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _context(scope: Scope, headers: Mapping[str, str], request_id: str, signed_by: SignedBy | None) -> dict[str, Any]:
    domain, now = headers.get("host", "").partition(":")[0].lower(), datetime.now(UTC)
    url_id = domain.partition(".")[0]
    return {
        "accountId": signed_by.account_id if signed_by else "anonymous",
        "apiId": url_id,
        **({"authorizer": {"iam": signed_by.shown()}} if signed_by else {}),
        "domainName": domain,
        "domainPrefix": url_id,
        "http": {
            "method": scope["method"],
            "path": scope["raw_path"].decode("latin1"),
            "protocol": f"HTTP/{scope.get('http_version', '1.1')}",
            "sourceIp": headers["x-forwarded-for"],
            "userAgent": headers.get("user-agent", ""),
        },
        "requestId": request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "timeEpoch": int(now.timestamp() * 1000),
    }
