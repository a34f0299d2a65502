"""Requests signed by botocore, as the verifier sees them."""

import hashlib
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import (
    HmacV1Auth,
    HmacV1QueryAuth,
    S3SigV4Auth,
    S3SigV4QueryAuth,
    SigV4Auth,
    SigV4QueryAuth,
)
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from localaws.auth.keys import Key
from localaws.auth.verifier import Signed, Unverified, Verifier

HOST = "127.0.0.1:4577"
ID, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "FwoGZXIvYXdzE/token+="
SIGNERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "json": ("sagemaker", lambda key: SigV4Auth(key, "sagemaker", "us-east-1")),
    "lambda": ("lambda", lambda key: SigV4Auth(key, "lambda", "eu-west-1")),
    "presigned sts": ("sts", lambda key: SigV4QueryAuth(key, "sts", "us-east-1", expires=60)),
    "s3": ("s3", lambda key: S3SigV4Auth(key, "s3", "us-east-1")),
    "presigned s3": ("s3", lambda key: S3SigV4QueryAuth(key, "s3", "us-east-1", expires=60)),
    "old s3": ("s3", lambda key: HmacV1Auth(key)),
    "old presigned s3": ("s3", lambda key: HmacV1QueryAuth(key, expires=60)),
}


def request(
    method: str = "POST", target: str = "/", body: bytes = b"", headers: dict[str, str] | None = None
) -> AWSRequest:
    """Return a request to the server's address that is not signed yet."""
    made = AWSRequest(method, f"http://{HOST}{target}", {"Host": HOST, **(headers or {})}, body)
    made.auth_path = None
    return made


def sign(made: AWSRequest, signer: str, *, secret: str = SECRET, token: str | None = None) -> AWSRequest:
    """Sign a request in place, as botocore does."""
    SIGNERS[signer][1](ReadOnlyCredentials(ID, secret, token)).add_auth(made)
    return made


def scope_of(made: AWSRequest) -> dict[str, Any]:
    """Return the ASGI scope of a request."""
    parts = urlsplit(made.url)
    headers = [(name.lower().encode(), value.encode("latin1")) for name, value in _text(made).items()]
    return {
        "type": "http",
        "method": made.method,
        "path": parts.path or "/",
        "raw_path": (parts.path or "/").encode("latin1"),
        "query_string": parts.query.encode("latin1"),
        "headers": headers,
    }


def _text(made: AWSRequest) -> dict[str, str]:
    return {name: value.decode() if isinstance(value, bytes) else str(value) for name, value in made.headers.items()}


def verify(scope: dict[str, Any], body: bytes, key: Key | None, *, clock: Callable[[], float] = time.time) -> Signed:
    """Return who signed; raises AwsError if it does not hold. `key`: what the server issued under `ID`."""
    found = Verifier(lambda name: key if name == ID else None, clock=clock).read(scope)
    if isinstance(found, Unverified):
        digest = found.payload if found.payload is not None else hashlib.sha256(body).hexdigest().encode()
        return found.verify(digest)
    return found
