"""Tests of the waits: they have a deadline, log their state, and repeat calls while a new role propagates."""

from collections.abc import Callable, Iterator

import pytest
from botocore.exceptions import ClientError

from tasks.run.errors import WaitTimedOut
from tasks.run.waiting import Say, Waiting, retry_until_role_propagates, wait_for
from tests.scripted import Scripted, refuses


def ticking(step: float, say: Say = lambda _: None) -> Waiting:
    """Return a `Waiting` that takes no time, and whose clock advances by `step` seconds at each reading."""
    now = [0.0]

    def clock() -> float:
        now[0] += step
        return now[0]

    return Waiting(say, clock=clock, sleep=lambda _: None)


def test_a_wait_ends_when_the_thing_is_there() -> None:
    answers = iter([(None, "Creating"), (None, "Creating"), ("it", "InService")])
    assert wait_for("x", lambda: next(answers), deadline_seconds=9, waiting=ticking(1)) == "it"


def test_a_wait_that_outlasts_its_deadline_names_what_it_waited_for_and_its_last_state() -> None:
    with pytest.raises(WaitTimedOut, match="endpoint e") as caught:
        wait_for("endpoint e", lambda: (None, "Creating"), deadline_seconds=20, waiting=ticking(5))
    assert "still Creating after 20 s" in caught.value.why


def test_a_long_wait_says_its_state_more_often_than_every_10_seconds() -> None:
    said: list[str] = []
    with pytest.raises(WaitTimedOut):
        wait_for("e", lambda: (None, "busy"), deadline_seconds=60, waiting=ticking(1, said.append))
    assert len(said) >= 6


ASSUMED = "The role defined for the function cannot be assumed by Lambda."
LISTED = 'No S3 objects found under S3 URL "s3://b/x". Please ensure that the role "r" has "s3:ListBucket" permissions.'


def role_known_after(refusals: int, code: str, message: str) -> Callable[[], str]:
    left: Iterator[int] = iter(range(refusals))
    refuse = refuses("Create", code, message)

    def call() -> str:
        return str(refuse()) if next(left, None) is not None else "made"

    return call


@pytest.mark.parametrize(
    ("code", "message"), [("InvalidParameterValueException", ASSUMED), ("ValidationException", LISTED)]
)
def test_a_role_that_is_not_known_everywhere_yet_is_waited_for(code: str, message: str) -> None:
    assert retry_until_role_propagates("f", role_known_after(3, code, message), waiting=ticking(1)) == "made"


def test_a_role_that_never_becomes_known_is_told_in_aws_words() -> None:
    refused = role_known_after(1000, "ValidationException", LISTED)
    with pytest.raises(WaitTimedOut) as caught:
        retry_until_role_propagates("job", refused, waiting=ticking(5))
    assert LISTED in caught.value.why


def test_another_refusal_is_not_waited_for() -> None:
    scripted = Scripted(
        **{"lambda": {"create_function": refuses("CreateFunction", "ValidationException", "Too large")}}
    )
    with pytest.raises(ClientError, match="Too large"):
        retry_until_role_propagates("f", scripted.client("lambda").create_function, waiting=ticking(1))
    assert scripted.calls == ["create_function"]
