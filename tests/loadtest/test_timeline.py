"""Tests of the timeline: seconds are grouped by stage, and into intervals with enough samples."""

import pytest

from loadtest.arrivals import Stage
from loadtest.percentiles import sample_floor
from loadtest.timeline import Second, by_stage, intervals


def second(answered: int, latency_seconds: float = 0.1, *, throttled: int = 0) -> Second:
    made = Second(due=answered + throttled, failed=throttled, throttled=throttled)
    for _ in range(answered):
        made.count_answer(latency_seconds)
    return made


def test_stages_of_one_name_are_reported_as_one() -> None:
    stages = [Stage(10, 1, "baseline"), Stage(20, 1, "ramp"), Stage(40, 1, "ramp"), Stage(40, 2, "peak")]
    seconds = {moment: second(count) for moment, count in enumerate((10, 20, 40, 40, 40))}
    rows = by_stage(seconds, stages)
    assert [(row["name"], row["begin"], row["end"], row["answered"]) for row in rows] == [
        ("baseline", 0, 1, 10),
        ("ramp", 1, 3, 60),
        ("peak", 3, 5, 80),
    ]
    assert rows[1]["asked_rps"] == 30


def test_a_stages_percentile_uses_all_its_samples_and_is_none_below_the_floor() -> None:
    seconds = {0: second(100, 0.1), 1: second(100, 1.0)}
    (whole,) = by_stage(seconds, [Stage(100, 2, "peak")])
    assert whole["p95_ms"] == pytest.approx(1000, rel=0.03)
    assert whole["p50_ms"] == pytest.approx(100, rel=0.03)
    (few,) = by_stage({0: second(sample_floor(95) - 1)}, [Stage(100, 1, "peak")])
    assert few["p95_ms"] is None


def test_throttled_requests_are_counted_and_kept_in_the_row_format() -> None:
    seconds = {0: Second.from_row(second(3, throttled=2).to_row())}
    (row,) = by_stage(seconds, [Stage(5, 1, "spike")])
    assert (row["due"], row["answered"], row["failed"], row["throttled"]) == (5, 3, 2, 2)


def test_a_stage_is_as_late_as_the_latest_start_of_its_requests() -> None:
    early, late = second(3), second(3)
    early.record_lateness(0.002)
    late.record_lateness(0.25)
    late.record_lateness(0.01)
    seconds = {0: early, 1: Second.from_row(late.to_row()), 2: second(1)}
    rows = by_stage(seconds, [Stage(3, 1, "baseline"), Stage(3, 1, "peak"), Stage(1, 1, "return")])
    assert [row["late_ms"] for row in rows] == [2.0, 250.0, 0.0]


def test_an_interval_is_as_short_as_the_floor_of_p95_allows() -> None:
    seconds = {moment: second(70) for moment in range(5)}
    rows = intervals(seconds, longest_seconds=4)
    assert [(row["begin"], row["end"]) for row in rows] == [(0, 2), (2, 4), (4, 5)]
    assert all(row["p95_ms"] is not None for row in rows[:2]) and rows[2]["p95_ms"] is None


def test_a_slow_run_is_cut_at_the_longest_interval() -> None:
    rows = intervals({9: second(1)}, longest_seconds=4)
    assert [(row["begin"], row["end"], row["answered"]) for row in rows] == [(0, 4, 0), (4, 8, 0), (8, 10, 1)]
