"""Tests of the waits: they have a deadline, log their state, and repeat calls while a new role propagates."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import pairwise

import pytest
from botocore.exceptions import ClientError

from tasks.run.errors import WaitTimedOut, aws_boundary
from tasks.run.settings import EMBEDDED_AWS, REAL_AWS
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
    assert wait_for(EMBEDDED_AWS, "x", lambda: next(answers), deadline_seconds=9, waiting=ticking(1)) == "it"


def test_a_wait_that_outlasts_its_deadline_names_what_it_waited_for_and_its_last_state() -> None:
    with pytest.raises(WaitTimedOut, match="endpoint e") as caught:
        wait_for(EMBEDDED_AWS, "endpoint e", lambda: (None, "Creating"), deadline_seconds=20, waiting=ticking(5))
    assert "still Creating after 20 s" in caught.value.why


def test_a_long_wait_says_its_state_more_often_than_every_10_seconds() -> None:
    said: list[str] = []
    with pytest.raises(WaitTimedOut):
        wait_for(EMBEDDED_AWS, "e", lambda: (None, "busy"), deadline_seconds=60, waiting=ticking(1, said.append))
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
    assert (
        retry_until_role_propagates(EMBEDDED_AWS, "f", role_known_after(3, code, message), waiting=ticking(1)) == "made"
    )


def test_a_role_that_never_becomes_known_is_told_in_aws_words() -> None:
    refused = role_known_after(1000, "ValidationException", LISTED)
    with pytest.raises(WaitTimedOut) as caught:
        retry_until_role_propagates(EMBEDDED_AWS, "job", refused, waiting=ticking(5))
    assert LISTED in caught.value.why


def test_another_refusal_is_not_waited_for() -> None:
    scripted = Scripted(
        **{"lambda": {"create_function": refuses("CreateFunction", "ValidationException", "Too large")}}
    )
    with pytest.raises(ClientError, match="Too large"):
        retry_until_role_propagates(EMBEDDED_AWS, "f", scripted.client("lambda").create_function, waiting=ticking(1))
    assert scripted.calls == ["create_function"]


def test_on_aws_a_wait_looks_every_5_to_15_seconds_at_random_and_is_never_silent_for_10() -> None:
    slept: list[float] = []
    said_at: list[float] = [0.0]
    waiting = Waiting(
        lambda _: said_at.append(sum(slept)), clock=lambda: sum(slept), sleep=lambda seconds: slept.append(seconds)
    )
    looked: list[float] = []

    def probe() -> tuple[None, str]:
        looked.append(sum(slept))
        return None, "Creating"

    with pytest.raises(WaitTimedOut):
        wait_for(REAL_AWS, "endpoint e", probe, deadline_seconds=600, poll_seconds=0.2, waiting=waiting)
    pauses = [after - before for before, after in pairwise(looked)][:-1]
    assert all(5.0 <= pause <= 15.0 for pause in pauses)
    assert len({round(pause, 6) for pause in pauses}) > len(pauses) / 2
    assert looked[-1] == pytest.approx(600)
    assert max(after - before for before, after in pairwise(said_at)) < 10.0


def test_the_embedded_aws_is_looked_at_as_often_as_a_wait_says() -> None:
    slept: list[float] = []
    answers = iter([(None, "Creating"), ("it", "InService")])
    waiting = Waiting(lambda _: None, clock=lambda: 0.0, sleep=slept.append)
    wait_for(EMBEDDED_AWS, "e", lambda: next(answers), deadline_seconds=9, poll_seconds=0.2, waiting=waiting)
    assert slept == [0.2]


@pytest.mark.parametrize("code", ["ThrottlingException", "Throttling", "RequestLimitExceeded"])
@pytest.mark.parametrize("is_translated", [False, True])
def test_a_look_that_aws_throttles_is_no_look(code: str, is_translated: bool) -> None:
    answers = iter([refuses("DescribeEndpoint", code, "Rate exceeded"), lambda: ("it", "InService")])

    def probe() -> tuple[str, str]:
        with aws_boundary("endpoint e") if is_translated else nullcontext():
            found: tuple[str, str] = next(answers)()
            return found

    assert wait_for(EMBEDDED_AWS, "endpoint e", probe, deadline_seconds=9, waiting=ticking(1)) == "it"


def test_a_wait_that_is_throttled_to_its_end_says_so() -> None:
    throttled = refuses("DescribeEndpoint", "ThrottlingException", "Rate exceeded")
    with pytest.raises(WaitTimedOut, match=r"still unknown \(AWS throttles: ThrottlingException\)"):
        wait_for(EMBEDDED_AWS, "endpoint e", throttled, deadline_seconds=9, waiting=ticking(1))


def test_a_quota_is_not_waited_for() -> None:
    refused = refuses("CreateEndpoint", "ResourceLimitExceeded", "is 0 Instances")
    with pytest.raises(ClientError, match="is 0 Instances"):
        wait_for(EMBEDDED_AWS, "endpoint e", refused, deadline_seconds=9, waiting=ticking(1))
