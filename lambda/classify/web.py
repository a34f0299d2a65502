"""Read the HTTP request inside a Lambda event: API Gateway versions 1 and 2, and function URLs. Does no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from encoded import decode_base64
from refusal import bad_request

MAX_QUERY_FIELDS = 50
_AUTHORIZERS = ("iam", "jwt", "lambda")
_OF_HTTP = frozenset({"version", "rawPath", "requestContext", "headers"})
_CLOUDFRONT = "x-amz-cf-id"


class WebRequest(NamedTuple):
    """An HTTP request. `headers` has lower-case names.

    `body` is what the event has as its body. `is_public` says that AWS authenticated no caller that the event names.
    """

    method: str
    headers: Mapping[str, str]
    urls: tuple[str, ...]
    body: Any
    is_base64: bool
    is_public: bool

    @classmethod
    def of(cls, event: Any) -> WebRequest | None:
        """Return the HTTP request of an event, or None if the event has none.

        Raises:
            Refusal: the query has too many fields (400).
        """
        if not isinstance(event, dict) or "url" in event or "image" in event:
            return None
        context = mapping(event, "requestContext")
        method = event.get("httpMethod") or mapping(context, "http").get("method")
        if not isinstance(method, str):
            method = "POST" if "body" in event else ""
        if not method:
            return None
        headers, is_base64 = headers_of(event), str(event.get("isBase64Encoded")).lower() == "true"
        return cls(method.upper(), headers, urls_of(event), event.get("body"), is_base64, is_public(event, headers))

    def content(self) -> bytes:
        """Return the bytes of the body.

        Raises:
            Refusal: there is no body, or it is not the base64 that the event says it is (400).
        """
        if not isinstance(self.body, str) or not self.body:
            raise bad_request("The request has no body.")
        return decode_base64(self.body, "the body") if self.is_base64 else self.body.encode("utf-8", "replace")


def mapping(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a member that is an object, or an empty one."""
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def headers_of(event: Mapping[str, Any]) -> dict[str, str]:
    """Return the event's headers with lower-case names; of several values of a header, the last one."""
    several = mapping(event, "multiValueHeaders").items()
    single = {name: values[-1] for name, values in several if isinstance(values, list) and values}
    fields = {**single, **mapping(event, "headers")}
    return {name.lower(): value for name, value in fields.items() if isinstance(value, str)}


def urls_of(event: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the values of the query's parameter `url`.

    Raises:
        Refusal: the query has too many fields (400).
    """
    raw = event.get("rawQueryString")
    if isinstance(raw, str) and raw:
        try:
            return tuple(parse_qs(raw, max_num_fields=MAX_QUERY_FIELDS).get("url", []))
        except ValueError as error:
            raise bad_request(f"The query has more than {MAX_QUERY_FIELDS} fields.") from error
    several = mapping(event, "multiValueQueryStringParameters").get("url")
    values = several if isinstance(several, list) else [mapping(event, "queryStringParameters").get("url")]
    return tuple(value for value in values if isinstance(value, str) and value)


def is_public(event: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    """Return whether AWS authenticated no caller that an HTTP event names; what is not known counts as public.

    Nothing that the caller chooses, such as a host's name, is asked. Payload format 2.0 (function URLs, HTTP APIs)
    names an authenticated caller in its authorizer. CloudFront signs for all of its viewers, so a request that came
    through it is of nobody. Format 1.0 (REST APIs) has `httpMethod` and cannot come from a function URL; such an API
    can refuse callers by means that its event does not tell. A direct invocation has none of an HTTP event's members.
    """
    if "httpMethod" in event or _OF_HTTP.isdisjoint(event):
        return False
    authorizer = mapping(mapping(event, "requestContext"), "authorizer")
    return _CLOUDFRONT in headers or not any(mapping(authorizer, kind) for kind in _AUTHORIZERS)
