"""Reads from a request who says to have signed it, when, and for which service; checks nothing.

Sources: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html (version 4, in header or query),
https://docs.aws.amazon.com/AmazonS3/latest/userguide/RESTAuthentication.html (version 2, of S3 only).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

UNSIGNED = b"UNSIGNED-PAYLOAD"
CONTENT_SHA256 = b"x-amz-content-sha256"
TOKEN = b"x-amz-security-token"
_V4_HEADER = re.compile(
    rb"AWS4-HMAC-SHA256 +Credential=([^/,\s]+)/(\d{8})/([^/,\s]+)/([^/,\s]+)/aws4_request, *"
    rb"SignedHeaders=([a-z0-9_.;-]+), *Signature=([0-9a-f]{64})"
)
_V2_HEADER = re.compile(rb"AWS ([^:\s]+):([A-Za-z0-9+/=]+)")
_CREDENTIAL = re.compile(rb"([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request")


@dataclass(frozen=True)
class Claim:
    """A signature as it was sent. `stamp`: when it was made; `expires`: for how many seconds from then, if presigned.

    `version` 2 has no scope: `date`, `region` and `signed_headers` are empty; its `expires` is a Unix time.
    """

    version: int
    access_key_id: str
    date: bytes
    region: bytes
    service: str
    signed_headers: bytes
    signature: bytes
    stamp: bytes
    token: bytes | None
    is_query: bool = False
    expires: bytes = b""


class MalformedError(Exception):
    """There is an attempt at a signature that cannot be read."""


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """Return the headers, those that were sent more than once joined as the signature has them."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        headers[name] = headers[name] + b"," + value if name in headers else value
    return headers


def query_of(query: bytes) -> list[tuple[bytes, bytes]]:
    """Return the query's names and values, as they were sent."""
    pairs = (each.partition(b"=") for each in query.split(b"&") if each)
    return [(name, value) for name, _, value in pairs]


def claim_of(headers: Mapping[bytes, bytes], query: bytes) -> Claim | None:
    """Return what a request says of its signature, None if there is none.

    Raises:
        MalformedError: there is something that is no signature of version 4 or 2.
    """
    authorization = headers.get(b"authorization")
    if authorization is not None:
        return _of_header(authorization, headers)
    if b"X-Amz-" not in query and b"AWSAccessKeyId=" not in query:
        return None
    found = dict(query_of(query))
    if b"X-Amz-Algorithm" in found or b"X-Amz-Signature" in found:
        return _of_query(found)
    return _of_old_query(found) if b"AWSAccessKeyId" in found else None


def _of_header(authorization: bytes, headers: Mapping[bytes, bytes]) -> Claim:
    stamp = headers.get(b"x-amz-date") or headers.get(b"date", b"")
    token = headers.get(TOKEN)
    if found := _V4_HEADER.fullmatch(authorization):
        key, date, region, service, signed, signature = found.groups()
        return Claim(4, key.decode("latin1"), date, region, service.decode("latin1"), signed, signature, stamp, token)
    if found := _V2_HEADER.fullmatch(authorization):
        key, signature = found.groups()
        return Claim(2, key.decode("latin1"), b"", b"", "s3", b"", signature, stamp, token)
    raise MalformedError


def _of_query(found: Mapping[bytes, bytes]) -> Claim:
    values = {name: unquote_to_bytes(value) for name, value in found.items() if name.startswith(b"X-Amz-")}
    credential = _CREDENTIAL.fullmatch(values.get(b"X-Amz-Credential", b""))
    if credential is None or values.get(b"X-Amz-Algorithm") != b"AWS4-HMAC-SHA256":
        raise MalformedError
    key, date, region, service = credential.groups()
    return Claim(
        version=4,
        access_key_id=key.decode("latin1"),
        date=date,
        region=region,
        service=service.decode("latin1"),
        signed_headers=values.get(b"X-Amz-SignedHeaders", b""),
        signature=values.get(b"X-Amz-Signature", b""),
        stamp=values.get(b"X-Amz-Date", b""),
        token=values.get(b"X-Amz-Security-Token"),
        is_query=True,
        expires=values.get(b"X-Amz-Expires", b""),
    )


def _of_old_query(found: Mapping[bytes, bytes]) -> Claim:
    values = {name: unquote_to_bytes(value) for name, value in found.items()}
    return Claim(
        version=2,
        access_key_id=values[b"AWSAccessKeyId"].decode("latin1"),
        date=b"",
        region=b"",
        service="s3",
        signed_headers=b"",
        signature=values.get(b"Signature", b""),
        stamp=b"",
        token=values.get(TOKEN),
        is_query=True,
        expires=values.get(b"Expires", b""),
    )
