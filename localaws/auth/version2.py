"""Computes what a request's signature of version 2 must be, which only S3 still takes.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/RESTAuthentication.html
"""

import base64
import hmac
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from botocore.auth import HmacV1Auth

from localaws.auth.claims import Claim, query_of
from localaws.auth.version4 import Line

SUBRESOURCES = frozenset(name.encode() for name in HmacV1Auth.QSAOfInterest)
LATER_SUBRESOURCES = frozenset(
    {
        *(b"abac", b"annotation", b"attributes", b"encryption", b"intelligent-tiering", b"legal-hold"),
        *(b"metadataAnnotationTable", b"metadataConfiguration", b"metadataInventoryTable", b"metadataJournalTable"),
        *(b"metadataTable", b"ownershipControls", b"policyStatus", b"publicAccessBlock", b"renameObject"),
        *(b"retention", b"session"),
    }
)
"""Subresources that S3 got after version 2, which clients do not sign: nobody may add one to a presigned URL."""
_STANDARD = (b"content-md5", b"content-type")


def signature(secret: str, text: bytes) -> bytes:
    """Return the right signature of a string to sign, in base64."""
    return base64.b64encode(hmac.digest(secret.encode(), text, "sha1"))


def string_to_sign(claim: Claim, line: Line, headers: Mapping[bytes, bytes], bucket: bytes) -> bytes:
    """Return what a request's signature signs. `bucket`: the one that the Host header names, empty if the path does."""
    query = [(unquote_to_bytes(name), value) for name, value in query_of(line.query)]
    sent = dict(headers)
    if claim.is_query:  # a presigned URL has in its query what its maker signed as headers
        named = {name.lower(): unquote_to_bytes(value) for name, value in query if _was_header(name.lower())}
        sent = named | sent  # a header that is sent counts, because S3 acts on it
    amazon = sorted(name for name in sent if name.startswith(b"x-amz-"))
    date = claim.expires if claim.is_query else b"" if b"x-amz-date" in sent else sent.get(b"date", b"")
    lines = [
        line.method.encode("latin1"),
        *(sent.get(name, b"").strip() for name in _STANDARD),
        date,
        *(b"%b:%b" % (name, sent[name].strip()) for name in amazon),
        _resource(line.path, query, bucket, SUBRESOURCES | (LATER_SUBRESOURCES if claim.is_query else frozenset())),
    ]
    return b"\n".join(lines)


def _was_header(name: bytes) -> bool:
    return name.startswith(b"x-amz-") or name in _STANDARD


def _resource(path: bytes, query: list[tuple[bytes, bytes]], bucket: bytes, signed: frozenset[bytes]) -> bytes:
    named = sorted((name, unquote_to_bytes(value)) for name, value in query if name in signed)
    parts = [b"%b=%b" % (name, value) if value else name for name, value in named]
    return (b"/" + bucket if bucket else b"") + path + (b"?" + b"&".join(parts) if parts else b"")
