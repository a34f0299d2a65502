"""Checks the signature of each chunk of an aws-chunked body (STREAMING-AWS4-HMAC-SHA256-PAYLOAD).

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html and sigv4-streaming-trailers.html
"""

import hashlib
import hmac
from dataclasses import dataclass, field

from localaws.auth.claims import Claim
from localaws.auth.refusals import Reason, refusal
from localaws.auth.version4 import sign, signing_key

SIGNED_CHUNKS = (b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")
_EMPTY = hashlib.sha256().hexdigest().encode()


@dataclass
class ChunkSignatures:
    """The chain of a body's signatures: each signs the one before, the first the request's own."""

    key: bytes = field(repr=False)
    stamp: bytes
    scope: bytes
    last: bytes

    @classmethod
    def of(cls, claim: Claim, secret: str) -> "ChunkSignatures":
        """Return the chain that begins with a request's own signature."""
        scope = b"%b/%b/%b/aws4_request" % (claim.date, claim.region, claim.service.encode("latin1"))
        key = signing_key(secret, claim.date, claim.region, claim.service)
        return cls(key, claim.stamp, scope, claim.signature)

    def check_chunk(self, sha256: str, signature: bytes) -> None:
        """Go one chunk on, of which this is the SHA-256 in hexadecimal.

        Raises:
            AwsError: SignatureDoesNotMatch.
        """
        self._check(b"AWS4-HMAC-SHA256-PAYLOAD", [_EMPTY, sha256.encode()], signature)

    def check_trailer(self, trailer: bytes, signature: bytes) -> None:
        """Check the end: the lines `name:value` of the trailer, each with a line feed.

        Raises:
            AwsError: SignatureDoesNotMatch.
        """
        digest = hashlib.sha256(trailer).hexdigest().encode()
        self._check(b"AWS4-HMAC-SHA256-TRAILER", [digest], signature)

    def _check(self, algorithm: bytes, digests: list[bytes], signature: bytes) -> None:
        right = sign(self.key, b"\n".join([algorithm, self.stamp, self.scope, self.last, *digests]))
        if not hmac.compare_digest(right, signature):
            raise refusal(Reason.NO_MATCH, "s3", is_form=False)
        self.last = right
