"""Every service refuses a wrong clock in words of its own; kennel has one message with the measured difference."""

import time
from email.utils import formatdate
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tasks.run.aws import Aws
from tasks.run.clock_skew import seconds_ahead, skew_in_words
from tasks.run.errors import AccessDenied, ClockSkewed, translate
from tasks.run.settings import Settings
from tests.counting_proxy import Fault, counting_proxy

EXPIRED = "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z (20260101T001500Z - 5 min.)"
EARLY = "Signature not yet current: 20260101T003000Z is still later than 20260101T002000Z (20260101T001500Z + 5 min.)"
REFUSALS = {
    "S3": ("RequestTimeTooSkewed", "The difference between the request time and the current time is too large."),
    "EC2": ("RequestExpired", "Request has expired."),
    "EC2 without a reason": ("AuthFailure", "AWS was not able to validate the provided access credentials"),
    "STS": ("SignatureDoesNotMatch", EXPIRED),
    "IAM": ("SignatureDoesNotMatch", EARLY),
    "SageMaker": ("InvalidSignatureException", EXPIRED),
    "a presigned request": ("AccessDenied", "Request has expired"),
}


def refusal(code: str, message: str, *, seconds_ahead: float) -> ClientError:
    """Return an error of a service whose clock this machine's is ahead of."""
    date = formatdate(time.time() - seconds_ahead, usegmt=True)
    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPHeaders": {"date": date}}}
    return ClientError(answer, "Call")


@pytest.mark.parametrize("service", REFUSALS)
@pytest.mark.parametrize("ahead", [1230.0, -1230.0])
def test_each_refusal_is_the_same_error_with_the_measured_difference(service: str, ahead: float) -> None:
    error = translate(refusal(*REFUSALS[service], seconds_ahead=ahead), "step")
    assert isinstance(error, ClockSkewed)
    assert "20 min" in error.what and ("ahead of AWS's" if ahead > 0 else "behind AWS's") in error.what
    assert "timedatectl" in error.next_command


@pytest.mark.parametrize("code", ["SignatureDoesNotMatch", "AuthFailure", "AccessDenied"])
def test_a_refusal_of_the_credentials_alone_is_not_blamed_on_the_clock(code: str) -> None:
    error = translate(refusal(code, "The secret key is wrong.", seconds_ahead=2), "step")
    assert not isinstance(error, ClockSkewed)
    assert isinstance(error, AccessDenied)


def test_an_answer_without_a_date_says_that_the_difference_is_not_known() -> None:
    error = translate(ClientError({"Error": {"Code": "RequestExpired", "Message": ""}}, "Call"), "step")
    assert isinstance(error, ClockSkewed) and "does not tell by how much" in error.what


@pytest.mark.parametrize(
    ("date", "known"),
    [
        ("Sat, 28 Nov 2026 16:00:00 -0000", True),
        ("Sat, 28 Nov 2026 16:00:00 +9999999999999999", False),
        ("Sat, 28 Nov 2026 16:00:00 -9999999", False),
        ("Mon, 01 Jan 0001 00:00:00 +1400", True),
        ("99 Foo", False),
        ("", False),
    ],
)
def test_a_date_of_any_kind_is_read_or_not_known(date: str, known: bool) -> None:
    answer = {"ResponseMetadata": {"HTTPHeaders": {"date": date}}}
    assert (seconds_ahead(answer) is not None) is known


def test_a_clock_that_agrees_now_is_not_called_wrong() -> None:
    assert "although the clocks agree now" in skew_in_words(3.0)


def test_the_first_call_of_a_command_measures_the_difference_from_the_answers_date(tmp_path: Path) -> None:
    body = (
        f"<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>{EXPIRED}</Message></Error></ErrorResponse>"
    )
    date = formatdate(time.time() + 7300, usegmt=True)
    with counting_proxy("http://127.0.0.1:9") as calls:
        calls.faults.append(Fault("GetCallerIdentity", instead=(403, body.encode()), headers=(("Date", date),)))
        aws = Aws(Settings(endpoint_url=calls.url, home=tmp_path, max_attempts=1))
        with pytest.raises(ClockSkewed, match=r"121 min \d+ s behind AWS's"):
            _ = aws.account_id
