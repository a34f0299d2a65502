"""The HTTP response that a function's answer becomes at its URL, and the headers of CORS.

Source: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-response-payload
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

JSON = "application/json"
_STATUS = re.compile(r"[2-5][0-9]{2}")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OF_THE_SERVER = {"connection", "content-length", "date", "keep-alive", "transfer-encoding"}
_SHARING = "access-control-"


class MalformedAnswer(ValueError):
    """The function's answer is no HTTP response."""


@dataclass(frozen=True)
class UrlReply:
    """A response: header names are in lower case, and one may come more than once."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def adding(self, headers: Mapping[str, str]) -> UrlReply:
        """Return it with more headers."""
        return replace(self, headers=(*self.headers, *headers.items()))

    def sharing(self, headers: Mapping[str, str]) -> UrlReply:
        """Return it with the URL's CORS headers, which replace the function's own."""
        kept = tuple(each for each in self.headers if not each[0].startswith(_SHARING))
        return replace(self, headers=kept).adding(headers)


def error_of(status: int, message: str | None) -> UrlReply:
    """Return a refusal of Lambda's own, as it is at function URLs."""
    return UrlReply(status, (("content-type", JSON),), json.dumps({"Message": message}).encode())


def failed() -> UrlReply:
    """Return what a caller gets of a function that failed, or whose answer is no response."""
    return UrlReply(502, (("content-type", JSON),), b"Internal Server Error")


def reply_of(payload: bytes) -> UrlReply:
    """Return the response that a function's answer stands for.

    An answer without `statusCode` is the body of a 200.

    Raises:
        MalformedAnswer: it is no response.
    """
    try:
        answer = json.loads(payload or b"null")
    except (ValueError, RecursionError) as error:
        raise MalformedAnswer("no JSON") from error
    if isinstance(answer, dict) and "statusCode" in answer:
        return _proxied(answer)
    body = answer.encode() if isinstance(answer, str) else payload
    return UrlReply(200, (("content-type", JSON),), body)


def _proxied(answer: Mapping[str, Any]) -> UrlReply:
    headers = list(_headers(answer.get("headers") or {}))
    if all(name != "content-type" for name, _ in headers):
        headers.append(("content-type", JSON))
    cookies = answer.get("cookies") or []
    if not isinstance(cookies, list):
        raise MalformedAnswer("cookies is no list")
    headers += [("set-cookie", _value(each)) for each in cookies]
    return UrlReply(_status(answer["statusCode"]), tuple(headers), _body(answer))


def _status(given: Any) -> int:
    if not isinstance(given, int | str) or not _STATUS.fullmatch(str(given)):
        raise MalformedAnswer("statusCode is none from 200 to 599")
    return int(given)


def _headers(given: Any) -> Iterable[tuple[str, str]]:
    if not isinstance(given, dict):
        raise MalformedAnswer("headers is no object")
    for name, value in given.items():
        if not _NAME.fullmatch(name):
            raise MalformedAnswer(f"a header's name {name[:40]!r}")
        if name.lower() not in _OF_THE_SERVER:
            yield name.lower(), _value(value)


def _value(given: Any) -> str:
    if isinstance(given, dict | list) or given is None:
        raise MalformedAnswer("a header's value is no text")
    text = given if isinstance(given, str) else json.dumps(given)
    if not _VALUE.fullmatch(text):
        raise MalformedAnswer("a header's value")
    return text


def _body(answer: Mapping[str, Any]) -> bytes:
    body = answer.get("body")
    if body is None:
        return b""
    try:
        text = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
        is_base64 = answer.get("isBase64Encoded") is True
        return base64.b64decode(text, validate=True) if is_base64 else text.encode("utf-8", "replace")
    except (ValueError, RecursionError) as error:
        raise MalformedAnswer("the body is no base64, or too deep") from error


def is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """Return whether a browser asks if a page may send a request."""
    return method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def names_origin(cors: Mapping[str, Any] | None, origin: str | None) -> bool:
    """Return whether a URL's CORS names an origin; `*` names all, also a page that tells none."""
    allowed = [str(each).lower() for each in (cors or {}).get("AllowOrigins", ())]
    return "*" in allowed or (origin is not None and origin.lower() in allowed)


def sharing_headers(cors: Mapping[str, Any], origin: str, *, is_preflight: bool) -> dict[str, str]:
    """Return the headers that let a page of an allowed origin read the answer, or send its request."""
    is_for_all = "*" in cors.get("AllowOrigins", ()) and not cors.get("AllowCredentials")
    headers = {"access-control-allow-origin": "*" if is_for_all else origin, "vary": "Origin"}
    if cors.get("AllowCredentials"):
        headers["access-control-allow-credentials"] = "true"
    if cors.get("ExposeHeaders"):
        headers["access-control-expose-headers"] = ",".join(cors["ExposeHeaders"])
    if is_preflight:
        for member, name in (("AllowMethods", "methods"), ("AllowHeaders", "headers")):
            if cors.get(member):
                headers[f"access-control-allow-{name}"] = ",".join(cors[member])
        if cors.get("MaxAge"):
            headers["access-control-max-age"] = str(cors["MaxAge"])
    return headers
