"""Judges when a request was signed, by the real clock: the emulated one may run faster than the client's."""

import functools
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from localaws.auth.claims import Claim
from localaws.auth.refusals import SKEW_SECONDS, Reason, refusal, skewed
from localaws.errors import AwsError

LONGEST_SECONDS = 7 * 24 * 3600
_STAMP = re.compile(rb"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z")


@functools.lru_cache(maxsize=256)
def moment_of(stamp: bytes) -> datetime | None:
    """Return when a request says to have been signed (ISO 8601 or an HTTP date), None if it does not say."""
    try:
        if found := _STAMP.fullmatch(stamp):
            return datetime(*(int(part) for part in found.groups()), tzinfo=UTC)  # type: ignore[misc, arg-type]
        return parsedate_to_datetime(stamp.decode("latin1")).astimezone(UTC)
    except (ValueError, OverflowError):  # the latter: it is the year 10000 in UTC, or a huge number
        return None


def check(claim: Claim, now: float, *, is_form: bool) -> None:
    """Refuse a request that was signed too long ago, for a time to come, or with the key of another day.

    Raises:
        AwsError: the service's answer to it.
    """
    if claim.version == 2 and claim.is_query:
        _check_end(claim, _number(claim, is_form), now, is_form=is_form)
        return
    moment = moment_of(claim.stamp)
    if moment is None:
        raise refusal(Reason.MALFORMED, claim.service, is_form=is_form)
    if claim.version == 4 and claim.date != moment.strftime("%Y%m%d").encode():
        raise _other_day(claim, moment, is_form=is_form)  # else who has a day's signing key could sign for ever
    signed = moment.timestamp()
    is_early = signed > now + SKEW_SECONDS
    if claim.is_query:
        seconds = _number(claim, is_form)
        if not 1 <= seconds <= LONGEST_SECONDS:
            raise _bad_expiry(claim, is_form)
        if is_early and claim.service == "s3":
            raise AwsError("AccessDenied", "Request is not yet valid", status=403)
        _check_end(claim, signed + seconds, now, is_form=is_form)
    if is_early or (not claim.is_query and signed < now - SKEW_SECONDS):
        raise skewed(claim.service, moment, datetime.fromtimestamp(now, UTC), is_form=is_form)


def _check_end(claim: Claim, end: float, now: float, *, is_form: bool) -> None:
    if now <= end:
        return
    if claim.service == "s3":
        named = {"X-Amz-Expires": claim.expires.decode("latin1")} if claim.version == 4 else {}
        told = named | {"Expires": _iso(end), "ServerTime": _iso(now)}
        raise AwsError("AccessDenied", "Request has expired", status=403, details=told)
    shown = datetime.fromtimestamp(end, UTC).strftime("%Y%m%dT%H%M%SZ")
    message = f"Signature expired: it was valid until {shown}."
    raise refusal(Reason.NO_MATCH, claim.service, is_form=is_form, message=message)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _other_day(claim: Claim, moment: datetime, *, is_form: bool) -> AwsError:
    scope, day = claim.date.decode("latin1"), moment.strftime("%Y%m%d")
    if claim.service != "s3":
        message = f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{scope}'"
        return refusal(Reason.NO_MATCH, claim.service, is_form=is_form, message=f"{message} != '{day}'.")
    code = "AuthorizationQueryParametersError" if claim.is_query else "AuthorizationHeaderMalformed"
    text = f'Invalid credential date "{scope}". This date is not the same as X-Amz-Date: "{day}".'
    return AwsError(code, text, status=400)


def _number(claim: Claim, is_form: bool) -> int:
    if not claim.expires.isdigit() or len(claim.expires) > 12:
        raise _bad_expiry(claim, is_form)
    return int(claim.expires)


def _bad_expiry(claim: Claim, is_form: bool) -> AwsError:
    if claim.service != "s3":
        return refusal(Reason.MALFORMED, claim.service, is_form=is_form)
    text = f"X-Amz-Expires must be a number from 1 to {LONGEST_SECONDS} (seconds)"
    return AwsError("AuthorizationQueryParametersError", text, status=400)
