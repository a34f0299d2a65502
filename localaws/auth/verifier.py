"""Decides whether a request was signed with a key that this server issued."""

import hmac
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.types import Scope

from localaws.auth import times, version2, version4
from localaws.auth.chunks import SIGNED_CHUNKS, ChunkSignatures
from localaws.auth.claims import CONTENT_SHA256, UNSIGNED, Claim, MalformedError, claim_of, headers_of
from localaws.auth.keys import Key
from localaws.auth.refusals import Reason, refusal, what_was_signed, wrong_region
from localaws.auth.version4 import Line
from localaws.errors import AwsError
from localaws.partition import has_region, own_region

FORM = b"application/x-www-form-urlencoded"
READING = ("GET", "HEAD")
_SHA256 = re.compile(rb"[0-9a-f]{64}")
_PAYLOADS = frozenset({UNSIGNED, b"STREAMING-UNSIGNED-PAYLOAD-TRAILER", *SIGNED_CHUNKS})
_UNSIGNED_HEADERS = "There were headers present in the request which were not signed"


@dataclass(frozen=True)
class Signed:
    """Who asks for which service (its signing name). `access_key_id` is empty for one who asks S3 without a name.

    `chunks` checks the body of a request to S3 whose chunks are signed; `region`: empty in a signature of version 2.
    """

    access_key_id: str
    service: str
    chunks: ChunkSignatures | None = None
    region: str = ""


ANYONE = Signed("", "s3")


@dataclass(frozen=True)
class Unverified:
    """A request whose key exists and whose time is right. `payload`: None if the body's SHA-256 has to be known."""

    claim: Claim
    key: Key
    line: Line
    headers: Mapping[bytes, bytes]
    payload: bytes | None
    bucket: bytes

    @property
    def is_form(self) -> bool:
        """Whether the request is form-encoded."""
        return _is_form(self.headers)

    def verify(self, payload: bytes) -> Signed:
        """Return who asks. `payload`: the body's SHA-256 in hexadecimal, or what stands for it.

        Raises:
            AwsError: the signature is not that of this request and the key's secret.
        """
        claim, secret = self.claim, self.key.secret
        request, text = self._to_sign(payload)
        right = version2.signature(secret, text) if claim.version == 2 else version4.signature(claim, secret, text)
        if not text or not hmac.compare_digest(right, claim.signature):
            details = what_was_signed(claim.access_key_id, claim.signature, text, request)
            raise refusal(Reason.NO_MATCH, claim.service, is_form=self.is_form, details=details)
        chunks = ChunkSignatures.of(claim, secret) if payload in SIGNED_CHUNKS else None
        return Signed(claim.access_key_id, claim.service, chunks, claim.region.decode("latin1"))

    def _to_sign(self, payload: bytes) -> tuple[bytes, bytes]:
        """Return the canonical request, which version 2 has not, and the string to sign; both empty without a header.

        That is a header which is said to be signed and is not there.
        """
        if self.claim.version == 2:
            return b"", version2.string_to_sign(self.claim, self.line, self.headers, self.bucket)
        request = version4.canonical_request(self.claim, self.line, self.headers, payload)
        return (b"", b"") if request is None else (request, version4.string_to_sign(self.claim, request))


class Verifier:
    """Reads requests. `find`: the key of an id; `bucket_of`: the bucket that a Host header names; `clock`: the real."""

    def __init__(
        self,
        find: Callable[[str], Key | None],
        *,
        bucket_of: Callable[[str], str] = lambda _: "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._find = find
        self._bucket_of = bucket_of
        self._clock = clock

    def read(self, scope: Scope) -> Unverified | Signed:
        """Return what is known before the body is read; `ANYONE` for a reading request without a signature.

        It notes in the scope as whose service's an error is to be answered.

        Raises:
            AwsError: the service's answer to a request that cannot be right whatever its body is.
        """
        headers, query = headers_of(scope), scope["query_string"]
        is_form = _is_form(headers)
        service = scope["localaws.service"] = _service_meant(scope, headers)
        try:
            claim = claim_of(headers, query)
        except MalformedError:
            raise refusal(Reason.MALFORMED, service, is_form=is_form) from None
        if claim is None:
            if service == "s3" and scope["method"] in READING:
                return ANYONE
            raise refusal(Reason.MISSING, service, is_form=is_form)
        scope["localaws.service"] = claim.service
        key = self._key(claim, is_form=is_form)
        if claim.version == 4:
            _check_region(claim, is_form=is_form)
            _check_names(claim, headers, is_form=is_form)
        line = Line(scope["method"], scope["raw_path"], query)
        bucket = self._bucket_of(headers.get(b"host", b"").decode("latin1")) if claim.version == 2 else ""
        return Unverified(claim, key, line, headers, _payload(claim, headers), bucket.encode("latin1"))

    def _key(self, claim: Claim, *, is_form: bool) -> Key:
        key = self._find(claim.access_key_id)
        if key is None:
            details = {"AWSAccessKeyId": claim.access_key_id}
            raise refusal(Reason.UNKNOWN_KEY, claim.service, is_form=is_form, details=details)
        now = self._clock()
        times.check(claim, now, is_form=is_form)
        if not hmac.compare_digest(claim.token or b"", (key.token or "").encode("latin1")):
            raise refusal(Reason.WRONG_SESSION, claim.service, is_form=is_form)
        if key.ends_at is not None and now >= key.ends_at:
            raise refusal(Reason.ENDED_SESSION, claim.service, is_form=is_form)
        return key


def service_of(scope: Scope) -> str:
    """Return the signing name of the service that a verified request asks for."""
    signed: Signed = scope["localaws.signed"]
    return signed.service


def _payload(claim: Claim, headers: Mapping[bytes, bytes]) -> bytes | None:
    if claim.version == 2:
        return UNSIGNED
    if claim.service != "s3":
        return None
    declared = headers.get(CONTENT_SHA256)
    if declared is None and claim.is_query:
        return UNSIGNED
    if declared is None:
        raise AwsError("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    if declared not in _PAYLOADS and not _SHA256.fullmatch(declared):
        text = "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING value, or a valid sha256 value."
        raise AwsError("InvalidArgument", text)
    return declared


def _check_region(claim: Claim, *, is_form: bool) -> None:
    region = claim.region.decode("latin1")
    if not has_region(claim.service, region):
        raise wrong_region(claim.service, region, own_region(), is_form=is_form, is_query=claim.is_query)


def _check_names(claim: Claim, headers: Mapping[bytes, bytes], *, is_form: bool) -> None:
    names = claim.signed_headers.split(b";")
    left = [name for name in headers if name.startswith(b"x-amz-") and name not in names]
    if b"host" not in names or left:
        if claim.service == "s3":
            raise AwsError("AccessDenied", _UNSIGNED_HEADERS, status=403)
        raise refusal(Reason.NO_MATCH, claim.service, is_form=is_form, message=f"{_UNSIGNED_HEADERS}.")


def _is_form(headers: Mapping[bytes, bytes]) -> bool:
    return headers.get(b"content-type", b"").startswith(FORM)


def _service_meant(scope: Scope, headers: Mapping[bytes, bytes]) -> str:
    """Guess which service an unsigned request is for, to refuse it as that one does."""
    if b"x-amz-target" in headers or scope["path"].startswith("/endpoints/"):
        return "sagemaker"
    if scope["path"].startswith("/2015-03-31/"):
        return "lambda"
    return "sts" if _is_form(headers) and scope["path"] == "/" else "s3"
