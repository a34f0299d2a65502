"""Computes what a request's signature of version 4 must be.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import functools
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote_from_bytes, unquote_to_bytes

from botocore.utils import normalize_url_path

from localaws.auth.claims import Claim, query_of

ALGORITHM = b"AWS4-HMAC-SHA256"
_PLAIN = re.compile(rb"[A-Za-z0-9/_.~-]*")
_PLAIN_QUERY = re.compile(rb"[A-Za-z0-9_.~-]*")


@dataclass(frozen=True)
class Line:
    """The first line of a request, as it was sent: method, path and query, both percent-encoded."""

    method: str
    path: bytes
    query: bytes


@functools.lru_cache(maxsize=1024)
def signing_key(secret: str, date: bytes, region: bytes, service: str) -> bytes:
    """Return the key that signs a day's requests to a service."""
    key = b"AWS4" + secret.encode()
    for part in (date, region, service.encode("latin1"), b"aws4_request"):
        key = hmac.digest(key, part, "sha256")
    return key


def signature(claim: Claim, secret: str, text: bytes) -> bytes:
    """Return the right signature of a string to sign, in hexadecimal."""
    return sign(signing_key(secret, claim.date, claim.region, claim.service), text)


def canonical_request(claim: Claim, line: Line, headers: Mapping[bytes, bytes], payload: bytes) -> bytes | None:
    """Return the request as it is signed, None if a header that is said to be signed is not there.

    `payload`: the body's SHA-256 in hexadecimal, or what stands for it.
    """
    names = claim.signed_headers.split(b";")
    try:
        lines = [b"%b:%b" % (name, b" ".join(headers[name].split())) for name in names]
    except KeyError:
        return None
    path = _canonical_key(line.path) if claim.service == "s3" else _canonical_path(line.path)
    query = canonical_query(line.query) if line.query else b""
    return b"\n".join([line.method.encode("latin1"), path, query, *lines, b"", claim.signed_headers, payload])


def string_to_sign(claim: Claim, request: bytes) -> bytes:
    """Return what a request's signature signs; `request`: the canonical one."""
    scope = b"%b/%b/%b/aws4_request" % (claim.date, claim.region, claim.service.encode("latin1"))
    digest = hashlib.sha256(request).hexdigest().encode()
    return b"\n".join((ALGORITHM, claim.stamp, scope, digest))


def sign(key: bytes, text: bytes) -> bytes:
    """Return a text's signature in hexadecimal."""
    return hmac.digest(key, text, "sha256").hex().encode()


def canonical_query(query: bytes) -> bytes:
    """Return the query sorted and strictly encoded, without its own signature."""
    pairs = [(_strict(name), _strict(value)) for name, value in query_of(query) if name != b"X-Amz-Signature"]
    return b"&".join(b"%b=%b" % pair for pair in sorted(pairs))


def _strict(part: bytes) -> bytes:
    if _PLAIN_QUERY.fullmatch(part):
        return part
    return quote_from_bytes(unquote_to_bytes(part), safe="-_.~").encode()


def _canonical_key(path: bytes) -> bytes:
    """Return S3's path: encoded once, and nothing in it is taken out."""
    if _PLAIN.fullmatch(path):
        return path
    return quote_from_bytes(unquote_to_bytes(path), safe="/-_.~").encode()


def _canonical_path(path: bytes) -> bytes:
    """Return other services' path: without empty and dot segments, and encoded a second time."""
    if b"//" in path or b"/." in path:
        path = normalize_url_path(path.decode("latin1")).encode("latin1")
    return path if _PLAIN.fullmatch(path) else quote_from_bytes(path, safe="/-_.~").encode()
