"""Decode images that are text: base64 in any of its usual forms, and `data:` URIs. Does no I/O."""

from __future__ import annotations

import base64
from urllib.parse import unquote

from refusal import Refusal, bad_request

DATA_SCHEME = "data:"


def is_data_uri(text: str) -> bool:
    """Return whether the text is a `data:` URI."""
    return text[: len(DATA_SCHEME)].lower() == DATA_SCHEME


def decode_image(text: str, max_image_bytes: int) -> bytes:
    """Decode a base64 image or a `data:` URI; if it is too large, refuse it before decoding.

    Raises:
        Refusal: it is not base64 (400), or too large (413).
    """
    text = text.strip()
    digits = digits_of(base64_of(text) if is_data_uri(text) else text)
    if len(digits) > (max_image_bytes + 2) // 3 * 4:
        raise too_large(max_image_bytes)
    image = decode_digits(digits, "the image")
    check_size(image, max_image_bytes)
    return image


def base64_of(uri: str) -> str:
    """Return the base64 of a `data:` URI.

    Raises:
        Refusal: the URI has no base64 (400).
    """
    head, comma, content = uri.partition(",")
    if not comma or not head.lower().replace(" ", "").endswith(";base64"):
        raise bad_request("The data: URI has no base64. Send data:image/jpeg;base64, followed by the base64.")
    return unquote(content) if "%" in content else content


def decode_base64(text: str, what: str) -> bytes:
    """Decode base64 or base64url, in lines or not, with padding or not.

    Raises:
        Refusal: it is neither (400).
    """
    return decode_digits(digits_of(text), what)


def digits_of(text: str) -> str:
    """Return base64 or base64url without line breaks and padding."""
    return "".join(text.split()).rstrip("=")


def decode_digits(digits: str, what: str) -> bytes:
    """Decode base64 or base64url that has no line breaks and no padding.

    Raises:
        Refusal: it is neither (400).
    """
    standard = digits.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except ValueError as error:  # binascii.Error is one, and so is a character that is not ASCII
        raise bad_request(f"What should be {what} is not base64.") from error


def check_size(image: bytes, max_image_bytes: int) -> None:
    """Refuse an image that is too large.

    Raises:
        Refusal: it is (413).
    """
    if len(image) > max_image_bytes:
        raise too_large(max_image_bytes)


def too_large(max_bytes: int) -> Refusal:
    """Return the refusal of an image with too many bytes."""
    return Refusal(413, "ImageTooLarge", f"The image is larger than {max_bytes} bytes.")
