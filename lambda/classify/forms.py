"""Read a `multipart/form-data` body (RFC 7578). Does no I/O.

The body is split at its boundary, so that a picture's bytes are kept as they are; the standard library's `email`
package reads the headers of each part.
"""

from __future__ import annotations

from dataclasses import dataclass
from email import policy
from email.message import EmailMessage, Message
from email.parser import BytesHeaderParser

from refusal import bad_request

MAX_PARTS = 100
MAX_BOUNDARY = 70  # RFC 2046
_HEADERS = BytesHeaderParser(policy=policy.compat32)


@dataclass(frozen=True)
class Part:
    """A field of a form; `filename` is None if the part is not a file."""

    name: str
    filename: str | None
    content: bytes


def read_form(content_type: str, body: bytes) -> list[Part]:
    """Return the parts of a form in their order.

    Raises:
        Refusal: the form has no boundary, no parts or too many, or is cut off (400).
    """
    header = EmailMessage()
    header["Content-Type"] = content_type
    boundary = str(header["Content-Type"].params.get("boundary", ""))
    if not 0 < len(boundary) <= MAX_BOUNDARY or not boundary.isascii():
        raise bad_request("The form's Content-Type has no boundary. Let the HTTP client set this header itself.")
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode(), MAX_PARTS + 2)
    if len(pieces) < 3 or len(pieces) > MAX_PARTS + 2:
        raise bad_request(f"The form must have 1 to {MAX_PARTS} parts, each between two of its boundaries.")
    if not pieces[-1].startswith(b"--"):
        raise bad_request("The form is cut off: its last boundary is missing.")
    return [part_of(piece) for piece in pieces[1:-1]]


def part_of(piece: bytes) -> Part:
    """Return the part between two boundaries.

    Raises:
        Refusal: the part has no headers, or an encoding of its own (400).
    """
    head, blank, content = piece.partition(b"\r\n\r\n")
    headers = _HEADERS.parsebytes(head.lstrip(b" \t\r\n"))
    name = parameter(headers, "name")
    if not blank or name is None:
        raise bad_request("A part of the form has no name in its Content-Disposition.")
    if str(headers.get("Content-Transfer-Encoding", "binary")).lower() not in ("binary", "8bit", "7bit"):
        raise bad_request(f'The part "{name}" has a Content-Transfer-Encoding, which forms do not use.')
    return Part(name, parameter(headers, "filename"), content)


def parameter(headers: Message, name: str) -> str | None:
    """Return a parameter of a part's Content-Disposition."""
    value = headers.get_param(name, header="content-disposition")
    return None if value is None else str(value[2] if isinstance(value, tuple) else value)
