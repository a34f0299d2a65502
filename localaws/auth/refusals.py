"""AWS's answers to a request whose signature does not hold: code, message and status of each kind of service."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum

from localaws.errors import AwsError

SKEW_SECONDS = 15 * 60
_QUERY = frozenset({"iam", "sts"})
_REST = frozenset({"lambda"})  # answers 403 where the other JSON services answer 400

_NO_MATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
_S3_NO_MATCH = (
    "The request signature we calculated does not match the signature you provided. Check your key and signing method."
)
_INVALID = "The security token included in the request is invalid."
_EXPIRED = "The security token included in the request is expired"
_MISSING = "Request is missing Authentication Token"
_UNREADABLE = "Authorization header requires 'Credential', 'Signature' and 'SignedHeaders', of AWS4-HMAC-SHA256."
_EC2 = ("AuthFailure", "AWS was not able to validate the provided access credentials", 401)


class Reason(Enum):
    """Why a request is refused."""

    MALFORMED = "its signature cannot be read"
    MISSING = "it has no signature"
    UNKNOWN_KEY = "its key was not issued here, is inactive or deleted"
    WRONG_SESSION = "its session token is not the key's"
    ENDED_SESSION = "its session is over"
    NO_MATCH = "its signature is not that of the request and the key's secret"


_S3 = {
    Reason.MALFORMED: ("AuthorizationHeaderMalformed", "The authorization header is malformed.", 400),
    Reason.MISSING: ("AccessDenied", "Access Denied", 403),
    Reason.UNKNOWN_KEY: (
        "InvalidAccessKeyId",
        "The AWS Access Key Id you provided does not exist in our records.",
        403,
    ),
    Reason.WRONG_SESSION: ("InvalidToken", "The provided token is malformed or otherwise invalid.", 400),
    Reason.ENDED_SESSION: ("ExpiredToken", "The provided token has expired.", 400),
    Reason.NO_MATCH: ("SignatureDoesNotMatch", _S3_NO_MATCH, 403),
}
_OF_EC2 = {
    **dict.fromkeys(Reason, _EC2),
    Reason.MISSING: ("MissingParameter", "The request must contain the parameter AWSAccessKeyId", 400),
    Reason.ENDED_SESSION: ("RequestExpired", "Request has expired.", 400),
}
_OF_QUERY = {
    Reason.MALFORMED: ("IncompleteSignature", _UNREADABLE, 400),
    Reason.MISSING: ("MissingAuthenticationToken", _MISSING, 403),
    Reason.UNKNOWN_KEY: ("InvalidClientTokenId", _INVALID, 403),
    Reason.WRONG_SESSION: ("InvalidClientTokenId", _INVALID, 403),
    Reason.ENDED_SESSION: ("ExpiredToken", _EXPIRED, 403),
    Reason.NO_MATCH: ("SignatureDoesNotMatch", _NO_MATCH, 403),
}
_OF_JSON = {
    Reason.MALFORMED: ("IncompleteSignatureException", _UNREADABLE, 400),
    Reason.MISSING: ("MissingAuthenticationTokenException", _MISSING, 400),
    Reason.UNKNOWN_KEY: ("UnrecognizedClientException", _INVALID, 400),
    Reason.WRONG_SESSION: ("UnrecognizedClientException", _INVALID, 400),
    Reason.ENDED_SESSION: ("ExpiredTokenException", _EXPIRED, 400),
    Reason.NO_MATCH: ("InvalidSignatureException", _NO_MATCH, 400),
}


def refusal(
    reason: Reason,
    service: str,
    *,
    is_form: bool,
    message: str | None = None,
    details: Mapping[str, str] | None = None,
) -> AwsError:
    """Return a service's answer; `is_form`: the request was form-encoded; `message`: instead of the usual one.

    `details`: what S3 tells besides; the other services do not.
    """
    code, usual, status = _answers_of(service, is_form=is_form)[reason]
    return AwsError(code, message or usual, status=403 if service in _REST else status, details=details)


def what_was_signed(access_key_id: str, signature: bytes, text: bytes, request: bytes) -> dict[str, str]:
    """Return what S3 tells of a signature that does not match: the string to sign and, of version 4, the request."""
    told = {"AWSAccessKeyId": access_key_id, "SignatureProvided": signature.decode("latin1")}
    for name, content in (("StringToSign", text), ("CanonicalRequest", request)):
        if content:
            told |= {name: content.decode("latin1"), f"{name}Bytes": content.hex(" ")}
    return told


def skewed(service: str, stamp: datetime, now: datetime, *, is_form: bool) -> AwsError:
    """Return a service's answer to a request that was signed more than 15 minutes ago, or that far ahead."""
    if service == "s3":
        text = "The difference between the request time and the current time is too large."
        told = {"RequestTime": _shown(stamp), "ServerTime": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
        told |= {"MaxAllowedSkewMilliseconds": str(SKEW_SECONDS * 1000)}
        return AwsError("RequestTimeTooSkewed", text, status=403, details=told)
    if service == "ec2":
        return AwsError("RequestExpired", "Request has expired.", status=400)
    edge = datetime.fromtimestamp(now.timestamp() - SKEW_SECONDS, UTC)
    text = f"Signature expired: {_shown(stamp)} is now earlier than {_shown(edge)} ({_shown(now)} - 15 min.)"
    if stamp > now:
        edge = datetime.fromtimestamp(now.timestamp() + SKEW_SECONDS, UTC)
        text = (
            f"Signature not yet current: {_shown(stamp)} is still later than {_shown(edge)} ({_shown(now)} + 15 min.)"
        )
    return refusal(Reason.NO_MATCH, service, is_form=is_form, message=text)


def wrong_region(service: str, region: str, expected: str, *, is_form: bool, is_query: bool) -> AwsError:
    """Return a service's answer to a signature whose scope names a region that does not exist, or not in the partition.

    From S3's, clients learn which region is `expected`, and sign again.
    """
    if service != "s3":
        text = f"Credential should be scoped to a valid region, not '{region}'."
        return refusal(Reason.NO_MATCH, service, is_form=is_form, message=text)
    text = f"the region '{region}' is wrong; expecting '{expected}'"
    if is_query:
        text, code = f"Error parsing the X-Amz-Credential parameter; {text}", "AuthorizationQueryParametersError"
    else:
        text, code = f"The authorization header is malformed; {text}", "AuthorizationHeaderMalformed"
    return AwsError(code, text, details={"Region": expected})


def _answers_of(service: str, *, is_form: bool) -> dict[Reason, tuple[str, str, int]]:
    if service == "s3":
        return _S3
    if service == "ec2":
        return _OF_EC2
    return _OF_QUERY if service in _QUERY or is_form else _OF_JSON


def _shown(moment: datetime) -> str:
    return moment.strftime("%Y%m%dT%H%M%SZ")
