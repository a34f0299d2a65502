"""Write a URL as people type it in the form that is sent: ASCII only. Does no I/O and decides nothing.

Spaces and other characters of the path and the query become percent-encoded UTF-8, and a host's name becomes its IDNA
form. The result is checked like any other URL, because a host may turn into another one here: full-width digits
become an address.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from refusal import Refusal

URL_LIMIT = 2048
_BLANKS = " \t\r\n"
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_PARTS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^/?#]*)(.*)")
PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))  # all printable ASCII, including the % of what is encoded already
_HOST = re.compile(r"[A-Za-z0-9._-]+")
_DEVIATIONS = frozenset("\u00df\u03c2\u200c\u200d")  # IDNA 2003 and 2008 make different hosts of these


def ascii_url(url: str) -> str:
    """Return the URL without surrounding blanks, percent-encoded, with its host in IDNA form.

    Raises:
        Refusal: the URL is too long, has control characters, or its host has no IDNA form (400).
    """
    url = url.strip(_BLANKS)
    if len(url) > URL_LIMIT:
        raise bad_url(f"The URL must have at most {URL_LIMIT} characters; it has {len(url)}.")
    if _CONTROLS.search(url):
        raise bad_url("The URL has a control character, such as a line break.")
    parts = _PARTS.fullmatch(url)
    if parts is None:
        return quote(url, safe=PRINTABLE)
    scheme, authority, rest = parts.groups()
    return scheme + ascii_authority(authority) + quote(rest, safe=PRINTABLE)


def ascii_authority(authority: str) -> str:
    """Return the host and port with the host in IDNA form (RFC 3490, which the standard library has).

    Raises:
        Refusal: the host has no IDNA form, or one that differs between the versions of IDNA (400).
    """
    if authority.isascii():
        return authority
    if _DEVIATIONS & set(authority.lower()):
        raise bad_url("The URL's host has a character that programs read differently: write the host as xn--...")
    host, colon, port = authority.partition(":")
    try:
        encoded = host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise bad_url("The URL's host is not a valid international host name.") from error
    if not _HOST.fullmatch(encoded):  # full-width punctuation becomes "/", ":" or "@" and would end the host
        raise bad_url("The URL's host is not a valid international host name.")
    return encoded + colon + port


def bad_url(message: str) -> Refusal:
    """Return the refusal of an invalid URL."""
    return Refusal(400, "BadUrl", message)
