"""Reading the event: which image is meant. Does no I/O."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from refusal import Refusal


@dataclass(frozen=True)
class ImageRequest:
    """Exactly one of the two is set."""

    url: str | None = None
    image: bytes | None = None


def read_request(event: Any, *, max_image_bytes: int) -> ImageRequest:
    """Read `{"url"}`, `{"image"}` or an API-Gateway event with one of them as its body.

    Raises: Refusal 400 for what is none of these, 413 for an image that is too large.
    """
    fields = body_of(event) if is_api_gateway(event) else event
    if not isinstance(fields, dict):
        raise bad_request('The request must be a JSON object with "url" or "image".')
    if ("url" in fields) == ("image" in fields):
        raise bad_request('The request must have exactly one of "url" and "image".')
    if "url" in fields:
        return ImageRequest(url=text(fields, "url"))
    return ImageRequest(image=decode_image(text(fields, "image"), max_image_bytes))


def is_api_gateway(event: Any) -> bool:
    """Both versions of API Gateway's events, and function URLs, bring a `body`; a direct request does not."""
    return isinstance(event, dict) and "body" in event and "url" not in event and "image" not in event


def body_of(event: dict[str, Any]) -> Any:
    """Return the JSON value in an API-Gateway event's body."""
    body = event["body"]
    if not isinstance(body, str):
        raise bad_request("The request has no body.")
    try:
        if event.get("isBase64Encoded") is True:
            body = base64.b64decode(body, validate=True).decode("utf-8")
        return json.loads(body, object_pairs_hook=without_duplicates)
    except (ValueError, RecursionError) as error:  # binascii.Error and UnicodeDecodeError are ValueErrors
        raise bad_request("The request's body is not JSON.") from error


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object; one that says something twice is ambiguous and refused."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise bad_request("The request's body has a key twice.")
    return fields


def text(fields: dict[str, Any], name: str) -> str:
    """Return a field that must be a string with something in it."""
    value = fields[name]
    if not isinstance(value, str) or not value:
        raise bad_request(f'"{name}" must be a string that is not empty.')
    return value


def decode_image(encoded: str, max_image_bytes: int) -> bytes:
    """Decode base64, refusing what is too large before decoding it."""
    if len(encoded) > (max_image_bytes + 2) // 3 * 4:
        raise Refusal(413, "ImageTooLarge", f"The image is larger than {max_image_bytes} bytes.")
    try:
        image = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise bad_request('"image" is not base64.') from error
    if len(image) > max_image_bytes:
        raise Refusal(413, "ImageTooLarge", f"The image is larger than {max_image_bytes} bytes.")
    return image


def bad_request(message: str) -> Refusal:
    """Return the refusal of a request that makes no sense."""
    return Refusal(400, "BadRequest", message)
