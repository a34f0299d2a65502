"""Tests that REPORT lines of Lambda's log are parsed exactly and that other lines are ignored."""

from __future__ import annotations

import pytest

from tasks.run.waiting import Waiting
from tasks.serving.reports import InvocationReport, cold_starts, parse_report, percentile, read_reports
from tests.scripted import Scripted

WARM = (
    "REPORT RequestId: 1-2\tDuration: 48.25 ms\tBilled Duration: 49 ms\tMemory Size: 256 MB\tMax Memory Used: 40 MB\t"
)
COLD = WARM + "Init Duration: 61.50 ms\t"


def test_a_report_line_is_read() -> None:
    assert parse_report(WARM) == InvocationReport(48.25, None, 256, 40)
    assert parse_report(COLD) == InvocationReport(48.25, 61.5, 256, 40)


@pytest.mark.parametrize("line", ["START RequestId: 1", "END RequestId: 1", f"printed: {WARM}", "REPORT RequestId: 1"])
def test_other_lines_are_none(line: str) -> None:
    assert parse_report(line) is None


def lines_of(*pages: list[str]) -> Scripted:
    answers = iter(pages)
    last = list(pages[-1])
    return Scripted(
        logs={"filter_log_events": lambda **_: {"events": [{"message": line} for line in next(answers, last)]}}
    )


def test_reports_are_waited_for_until_all_have_come() -> None:
    slept: list[float] = []
    waiting = Waiting(lambda _: None, clock=lambda: sum(slept), sleep=slept.append)
    found = read_reports(lines_of([WARM], [WARM, COLD]).aws, "f", since=0.0, expected=2, waiting=waiting)
    assert len(found) == 2 and slept == [0.5]


def test_reports_that_never_come_are_not_waited_for_forever() -> None:
    slept: list[float] = []
    waiting = Waiting(lambda _: None, clock=lambda: sum(slept), sleep=slept.append)
    found = read_reports(lines_of([WARM]).aws, "f", since=0.0, expected=9, waiting=waiting)
    assert len(found) == 1 and 3.0 < sum(slept) < 5.0


def test_only_cold_starts_have_an_init() -> None:
    assert cold_starts(lines_of([WARM, COLD]).aws, "f", since=0.0) == [InvocationReport(48.25, 61.5, 256, 40)]


def test_a_percentile_is_a_value_that_was_seen() -> None:
    assert (percentile(range(1, 101), 0.95), percentile([7.0], 0.5)) == (95, 7.0)
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)
