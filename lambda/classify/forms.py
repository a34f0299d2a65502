"""Read a `multipart/form-data` body (RFC 7578). Does no I/O.

The body is split at its boundary, so that a picture's bytes are kept as they are; the standard library's `email`
package reads the headers of each part. It takes quadratic time for parameters, so that they are counted before.
"""

from __future__ import annotations

from email.message import Message
from email.parser import BytesHeaderParser
from typing import NamedTuple

from refusal import bad_request

MAX_PARTS = 100
MAX_BOUNDARY = 70  # RFC 2046
MAX_HEAD_BYTES = 8192
MAX_PARAMETERS = 64  # of all headers of a part, and lines
_HEADERS = BytesHeaderParser()


class Part(NamedTuple):
    """A field of a form; `filename` is None if the part is not a file."""

    name: str
    filename: str | None
    content: bytes


def read_form(content_type: str, body: bytes) -> list[Part]:
    """Return the parts of a form in their order.

    Raises:
        Refusal: the form has no boundary, no parts or too many, or is cut off, or as `part_of` (400).
    """
    boundary = boundary_of(content_type)
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode(), MAX_PARTS + 2)
    if len(pieces) < 3 or len(pieces) > MAX_PARTS + 2:
        raise bad_request(f"The form must have 1 to {MAX_PARTS} parts, each between two of its boundaries.")
    if not pieces[-1].startswith(b"--"):
        raise bad_request("The form is cut off: its last boundary is missing.")
    return [part_of(piece) for piece in pieces[1:-1]]


def boundary_of(content_type: str) -> str:
    """Return the boundary that a form's Content-Type names.

    Raises:
        Refusal: it names none that RFC 2046 allows (400).
    """
    header = f"Content-Type: {content_type}".encode("utf-8", "replace")
    boundary = parameter(read_head(header), "boundary", of="content-type") or ""
    if not 0 < len(boundary) <= MAX_BOUNDARY or not boundary.isascii() or not boundary.isprintable():
        raise bad_request("The form's Content-Type has no boundary. Let the HTTP client set this header itself.")
    return boundary


def part_of(piece: bytes) -> Part:
    """Return the part between two boundaries.

    Raises:
        Refusal: the part has no headers or too many, or an encoding of its own (400).
    """
    head, blank, content = piece.partition(b"\r\n\r\n")
    headers = read_head(head.lstrip(b" \t\r\n")) if blank else Message()
    name = parameter(headers, "name")
    if name is None:
        raise bad_request("A part of the form has no name in its Content-Disposition.")
    if str(headers.get("Content-Transfer-Encoding", "binary")).lower() not in ("binary", "8bit", "7bit"):
        raise bad_request(f'The part "{name}" has a Content-Transfer-Encoding, which forms do not use.')
    return Part(name, parameter(headers, "filename"), content)


def read_head(head: bytes) -> Message:
    """Return the headers of a form or of a part.

    Raises:
        Refusal: they are too long, or too many (400).
    """
    if len(head) > MAX_HEAD_BYTES or head.count(b";") + len(head.splitlines()) > MAX_PARAMETERS:
        raise bad_request(
            f"The headers of a form and of each part have at most {MAX_HEAD_BYTES} bytes, and {MAX_PARAMETERS} "
            "parameters and lines."
        )
    return _HEADERS.parsebytes(head)


def parameter(headers: Message, name: str, of: str = "content-disposition") -> str | None:
    """Return a parameter of a header.

    Raises:
        Refusal: the header cannot be read, for example a number in a parameter's name is too long (400).
    """
    try:
        value = headers.get_param(name, header=of)
    except ValueError as error:
        raise bad_request("A header of the form cannot be read.") from error
    return None if value is None else str(value[2] if isinstance(value, tuple) else value)
