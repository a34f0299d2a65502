"""Sign one request with AWS Signature Version 4, using the standard library only.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

ALGORITHM = "AWS4-HMAC-SHA256"


class Credentials(NamedTuple):
    """A key pair and, for a role, its session token."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


class Signer(NamedTuple):
    """Signs POST requests without a query for one service in one region."""

    credentials: Credentials
    region: str
    service: str

    def sign(self, path: str, headers: Mapping[str, str], body: bytes, now: datetime) -> dict[str, str]:
        """Return the headers with the date, the session token and the signature added; `path` must need no escaping."""
        stamp = now.strftime("%Y%m%dT%H%M%SZ")
        token = self.credentials.session_token
        signed = {**headers, "X-Amz-Date": stamp, **({"X-Amz-Security-Token": token} if token else {})}
        canonical = {name.lower(): " ".join(value.split()) for name, value in signed.items()}
        names = ";".join(sorted(canonical))
        lines = [f"{name}:{canonical[name]}" for name in sorted(canonical)]
        request = "\n".join(["POST", path, "", *lines, "", names, hashlib.sha256(body).hexdigest()])
        scope = f"{stamp[:8]}/{self.region}/{self.service}/aws4_request"
        to_sign = "\n".join([ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()])
        signature = hmac.new(self._key(stamp[:8]), to_sign.encode(), hashlib.sha256).hexdigest()
        credential = f"Credential={self.credentials.access_key_id}/{scope}"
        return {**signed, "Authorization": f"{ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}"}

    def _key(self, date: str) -> bytes:
        key = f"AWS4{self.credentials.secret_access_key}".encode()
        for part in (date, self.region, self.service, "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return key
