"""Read from a Lambda event which image to classify. Does no I/O."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from refusal import Refusal


@dataclass(frozen=True)
class ImageRequest:
    """The image of a request: exactly one of its URL and its bytes is set."""

    url: str | None = None
    image: bytes | None = None


def read_request(event: Any, *, max_image_bytes: int) -> ImageRequest:
    """Read `{"url": …}`, `{"image": …}`, or an API Gateway event whose body is one of these.

    Raises:
        Refusal: the event is none of these (400), or the image is too large (413).
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
    """Return whether the event has a `body`, as API Gateway v1 and v2 and function URLs send; direct events do not."""
    return isinstance(event, dict) and "body" in event and "url" not in event and "image" not in event


def body_of(event: dict[str, Any]) -> Any:
    """Return the JSON value in the body of an API Gateway event.

    Raises:
        Refusal: there is no body, or it is not JSON (400).
    """
    body = event["body"]
    if not isinstance(body, str):
        raise bad_request("The request has no body.")
    try:
        if event.get("isBase64Encoded") is True:
            body = base64.b64decode(body, validate=True).decode("utf-8")
        return json.loads(body, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:  # binascii.Error and UnicodeDecodeError are ValueErrors
        raise bad_request("The request's body is not JSON.") from error


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object; refuse it if a key occurs twice, because its meaning is ambiguous.

    Raises:
        Refusal: a key occurs twice (400).
    """
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise bad_request("The request's body has the same key twice.")
    return fields


def text(fields: dict[str, Any], name: str) -> str:
    """Return a field that must be a non-empty string.

    Raises:
        Refusal: it is not (400).
    """
    value = fields[name]
    if not isinstance(value, str) or not value:
        raise bad_request(f'"{name}" must be a non-empty string.')
    return value


def decode_image(encoded: str, max_image_bytes: int) -> bytes:
    """Decode a base64 image; if it is too large, refuse it before decoding.

    Raises:
        Refusal: it is not base64 (400), or too large (413).
    """
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
    """Return the refusal of a malformed request."""
    return Refusal(400, "BadRequest", message)
