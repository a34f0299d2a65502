"""Read from a Lambda event which image to classify. Does no I/O."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from encoded import check_size, decode_image, is_data_uri
from kinds import recognise
from refusal import Refusal, bad_request
from web import WebRequest

if TYPE_CHECKING:
    from forms import Part

ALLOWED = '{"url": "https://..."} or {"image": "<base64>"}'
_BOM = b"\xef\xbb\xbf"
_REPLACED = "\ufffd".encode()  # what a byte becomes that is no text, when it is decoded as text


class ImageRequest(NamedTuple):
    """The image of a request: exactly one of its URL and its bytes is set."""

    url: str | None = None
    image: bytes | None = None


def read_request(event: Any, *, max_image_bytes: int) -> ImageRequest:
    """Read an event that a client sends to Lambda directly, or the HTTP request that is in it.

    Raises:
        Refusal: the event has no image and no URL (400), or the image is too large (413).
    """
    web = WebRequest.of(event)
    if web is None:
        return read_fields(event, max_image_bytes)
    if web.method in ("GET", "HEAD"):
        return ImageRequest(url=one_url(web))
    if isinstance(web.body, dict):  # API Gateway without proxy integration has read the JSON already
        return read_fields(web.body, max_image_bytes)
    return read_body(web.headers.get("content-type", ""), web.content(), max_image_bytes)


def one_url(web: WebRequest) -> str:
    """Return the URL in the query.

    Raises:
        Refusal: the query has none, or several (400).
    """
    if len(web.urls) != 1:
        raise bad_request(f"A {web.method} request must have one ?url=, percent-encoded. It has {len(web.urls)}.")
    return web.urls[0]


def read_body(content_type: str, body: bytes, max_image_bytes: int) -> ImageRequest:
    """Read the body of an HTTP request: a form, the picture itself, or JSON.

    Raises:
        Refusal: it is none of these (400), or the image is too large (413).
    """
    if content_type.lower().startswith("multipart/form-data"):
        from forms import read_form  # an import that a cold start with JSON or a picture does without

        return read_parts(read_form(content_type, body), max_image_bytes)
    if recognise(body):
        check_size(body, max_image_bytes)
        return ImageRequest(image=body)
    if content_type.lower().startswith("image/") and _REPLACED not in body:
        raise Refusal(415, "UnsupportedImage", f"The body is no picture although its Content-Type is {content_type!r}.")
    return read_fields(json_of(body), max_image_bytes)


def read_parts(parts: list[Part], max_image_bytes: int) -> ImageRequest:
    """Return the first file of a form, or what its fields "url" or "image" say.

    Raises:
        Refusal: the form has none of these (400), or the image is too large (413).
    """
    for part in parts:
        if part.filename:
            check_size(part.content, max_image_bytes)
            return ImageRequest(image=part.content)
    fields = {part.name: part.content.decode("utf-8", "replace") for part in parts if part.name in ("url", "image")}
    if not any(fields.values()):
        raise bad_request('The form has no file and no field "url" or "image".')
    return read_fields({name: value for name, value in fields.items() if value}, max_image_bytes)


def json_of(body: bytes) -> Any:
    """Return the JSON value of a body, which may begin with a byte order mark.

    Raises:
        Refusal: it is not JSON (400).
    """
    if _REPLACED in body[:16]:
        raise bad_request(
            "The body was binary data and was read as text on the way. Add its Content-Type to the API's "
            f"binaryMediaTypes, or send {ALLOWED}."
        )
    try:
        return json.loads(body.removeprefix(_BOM).decode("utf-8"), object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise bad_request(f"The request's body is neither JSON nor a picture nor a form. Send {ALLOWED}.") from error


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object; refuse it if a key occurs twice, because its meaning is ambiguous.

    Raises:
        Refusal: a key occurs twice (400).
    """
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise bad_request("The request's body has the same key twice.")
    return fields


def read_fields(fields: Any, max_image_bytes: int) -> ImageRequest:
    """Read `{"url": ...}` or `{"image": ...}`; a member that is null counts as absent.

    Raises:
        Refusal: it is something else (400), or the image is too large (413).
    """
    if not isinstance(fields, dict):
        raise bad_request(f"The request is {named(fields)}. Send one JSON object for each picture: {ALLOWED}.")
    if "Records" in fields:
        raise bad_request(f"The request is a batch of a queue, a stream or a bucket. Invoke with {ALLOWED} instead.")
    present = [name for name in ("url", "image") if fields.get(name) is not None]
    if len(present) != 1:
        found = "both" if present else "neither"
        raise bad_request(f'The request must have exactly one of "url" and "image"; it has {found}. Send {ALLOWED}.')
    value = text(fields, present[0])
    if present[0] == "url" and not is_data_uri(value.strip()):
        return ImageRequest(url=value)
    return ImageRequest(image=decode_image(value, max_image_bytes))


def named(value: Any) -> str:
    """Return what a value that is no object is, in words."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "a string" if isinstance(value, str) else "empty" if value is None else "a number or a truth value"


def text(fields: dict[str, Any], name: str) -> str:
    """Return a field that must be a non-empty string.

    Raises:
        Refusal: it is not (400).
    """
    value = fields[name]
    if not isinstance(value, str) or not value.strip():
        raise bad_request(f'"{name}" must be a non-empty string.')
    return value
