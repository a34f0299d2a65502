"""Regular expressions with a deadline, and the requests whose text they meet."""

import time

import pytest

from localaws.timed_regex import SECONDS, BadPattern, TimedRegex, TooSlow

HOURS, TEXT = "(a|aa)+$", "a" * 50 + "!"
"""With Python's own it takes hours to see that the text does not match."""


def test_what_matches_is_found() -> None:
    assert TimedRegex("b+").is_in("abba") and not TimedRegex("B").is_in("abba")
    assert TimedRegex("B", ignores_case=True).is_in("abba")
    assert TimedRegex("a.*", is_java=True).is_all_of("a\nb") and not TimedRegex("a.*").is_all_of("a\nb")
    assert list(TimedRegex("l=([0-9.]+)").first_groups("l=1 l=0.5 l=x")) == ["1", "0.5"]


@pytest.mark.timeout(60)
def test_what_takes_too_long_ends() -> None:
    slow, begun = TimedRegex(HOURS), time.monotonic()
    with pytest.raises(TooSlow):
        slow.is_in(TEXT)
    with pytest.raises(TooSlow):
        slow.is_all_of(TEXT)
    with pytest.raises(TooSlow):
        list(slow.first_groups(TEXT))
    assert time.monotonic() - begun >= 3 * SECONDS


def test_what_is_no_expression_says_why() -> None:
    with pytest.raises(BadPattern, match="missing"):
        TimedRegex("(")
