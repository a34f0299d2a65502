"""Read the HTTP request inside a Lambda event: API Gateway versions 1 and 2, and function URLs. Does no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from encoded import decode_base64
from refusal import bad_request

MAX_QUERY_FIELDS = 50
URL_DOMAIN = ".lambda-url."


@dataclass(frozen=True)
class WebRequest:
    """An HTTP request. `headers` has lower-case names.

    `body` is what the event has as its body. `is_public` says that it came through a function URL that authenticates
    nobody.
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
        is_base64 = str(event.get("isBase64Encoded")).lower() == "true"
        return cls(method.upper(), headers_of(event), urls_of(event), event.get("body"), is_base64, is_public(context))

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


def is_public(context: Mapping[str, Any]) -> bool:
    """Return whether the request came through a function URL whose AuthType is NONE: AWS names no caller then."""
    return URL_DOMAIN in str(context.get("domainName")) and not mapping(context, "authorizer")
