"""Recognise that AWS refused a request because of this machine's clock, and measure the difference.

A signature holds for some minutes around AWS's own time. Each service says in words of its own that it does not hold
any more; some only say that it is wrong. The Date header of the answer is AWS's time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

ALLOWED_SECONDS = 300.0
"""The difference that AWS allows; S3 allows 900 s. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html"""

_ABOUT_TIME = {"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"}
_ABOUT_CREDENTIALS = {"SignatureDoesNotMatch", "InvalidSignatureException", "AuthFailure", "AccessDenied", "403"}
_WORDS = ("signature expired", "signature not yet current", "request has expired", "request time")


def names_the_time(answer: Mapping[str, Any]) -> bool:
    """Tell whether an error answer says that the time of the request is the cause, or the measured difference does."""
    error = answer.get("Error", {})
    code, message = str(error.get("Code", "")), str(error.get("Message", "")).lower()
    if code in _ABOUT_TIME:
        return True
    if code not in _ABOUT_CREDENTIALS:
        return False
    ahead = seconds_ahead(answer)
    is_far = ahead is not None and abs(ahead) > ALLOWED_SECONDS
    return is_far or any(words in message for words in _WORDS)


def seconds_ahead(answer: Mapping[str, Any], now: datetime | None = None) -> float | None:
    """Return by how many seconds this machine's clock is ahead of AWS's (negative: behind), None if AWS told no time.

    The header has whole seconds, and the answer took some time to arrive, so small differences mean nothing.
    """
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    try:
        theirs = parsedate_to_datetime(headers["date"])
        theirs = theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC)  # "-0000" is UTC, of an unknown place
        return ((now or datetime.now(UTC)) - theirs).total_seconds()
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


def skew_in_words(ahead: float | None) -> str:
    """Return what is known about the difference of the clocks, as a clause."""
    if ahead is None:
        return "this machine's clock differs from AWS's; the answer does not tell by how much"
    if abs(ahead) <= ALLOWED_SECONDS:
        return "the request arrived too late for its signature, although the clocks agree now"
    minutes, seconds = divmod(round(abs(ahead)), 60)
    return f"this machine's clock is {minutes:,} min {seconds} s {'ahead of' if ahead > 0 else 'behind'} AWS's"
