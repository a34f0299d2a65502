"""Tests of the verdict: a run is valid only if the generator was not the bottleneck, and merging loses nothing."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.outcomes import OK, Outcome
from loadtest.percentiles import PERCENTILES, value_ms
from loadtest.tally import Tally, merged
from loadtest.verdict import Verdict, judge

THROTTLED = Outcome("throttled", "429 ThrottlingException")
GONE = Outcome("connection", "ConnectionRefusedError")
requests = st.lists(
    st.tuples(st.floats(0, 20), st.floats(0, 0.5), st.floats(0, 5), st.sampled_from([OK, THROTTLED, GONE])), max_size=60
)


def counted(rows: list[tuple[float, float, float, Outcome]]) -> Tally:
    tally = Tally()
    for intended, lag, service, outcome in rows:
        tally.count_due(intended)
        tally.count_sent(intended, intended + lag)
        tally.count_result(intended, intended + lag, intended + lag + service, outcome)
    return tally


def steady(count: int = 1000, lag: float = 0.0001, service: float = 0.005) -> Tally:
    return counted([(10 * i / count, lag, service, OK) for i in range(count)])


def test_a_run_whose_generator_keeps_up_is_valid() -> None:
    verdict = judge(steady(), 10)
    assert (verdict.void, verdict.failed) == ((), ())


def test_less_than_99_percent_of_the_intended_rate_voids_a_run() -> None:
    tally = steady()
    for _ in range(11):
        tally.count_due(9.9)
    (reason,) = judge(tally, 10).void
    assert reason == "the generator achieved 100.0/s of 101.1/s intended (98.9%, under 99 %)"


def test_sending_everything_but_too_late_voids_a_run() -> None:
    late = counted([(10 * i / 1000, 0.2 * 10 * i / 1000, 0.005, OK) for i in range(1000)])
    reasons = judge(late, 10).void
    assert any("achieved 83.6/s of 100.0/s" in reason for reason in reasons)
    assert any("requests started late" in reason for reason in reasons)


def test_a_generator_that_begins_late_or_is_missing_voids_a_run() -> None:
    late = replace(steady(), late_start_seconds=1.25)
    assert judge(late, 10).void == ("a generator began 1.2 s after the agreed moment",)
    assert judge(merged([steady(), replace(steady(), late_start_seconds=0.4)]), 10).void == ()
    assert judge(Tally(), 10, 2, missing="1 of 2 is missing") == Verdict(("1 of 2 is missing",), ())


def test_a_busy_processor_and_a_lack_of_connections_void_a_run() -> None:
    tally = replace(steady(), busiest_cpu=0.97, pool_exhausted=3)
    reasons = judge(tally, 10, processes=2).void
    assert "3 requests waited for a free connection: increase max_connections" in reasons
    assert "the generator's processor was 97% busy (more than 90 %): use more than 2 processes" in reasons


def test_lateness_counts_only_when_it_is_a_large_part_of_the_latency() -> None:
    assert judge(steady(lag=0.030, service=0.005), 10).void
    assert not judge(steady(lag=0.030, service=0.500), 10).void
    assert not judge(steady(lag=0.020, service=0.005), 10).void


def test_no_request_and_no_success_are_failures_without_a_division_by_zero() -> None:
    assert judge(Tally(), 10).failed == ("no request was sent",)
    only_failures = counted([(i / 10, 0.0, 0.001, THROTTLED) for i in range(20)])
    assert judge(only_failures, 2).failed == ("none of 20 requests succeeded: 20 x 429 ThrottlingException",)


def test_a_target_that_goes_away_has_failed_and_one_that_comes_back_has_not() -> None:
    rows = [(i / 100, 0.0, 0.001, OK if i < 500 else GONE) for i in range(1000)]
    assert judge(counted(rows), 10).failed == ("the target went away: the last 500 requests found no connection",)
    assert judge(counted([*rows, (9.999, 0.0, 0.001, OK)]), 10).failed == ()


def test_percentiles_of_merged_histograms_are_those_of_all_samples_and_not_a_mean_of_percentiles() -> None:
    fast, slow = steady(900, lag=0.0), steady(100, lag=0.0, service=1.0)
    whole = merged(Tally.from_message(tally.to_message()) for tally in (fast, slow))
    assert value_ms(whole.latency, 50) == pytest.approx(5, rel=0.001)
    assert value_ms(whole.latency, 99) == pytest.approx(1000, rel=0.001)
    assert value_ms(fast.latency, 99) == pytest.approx(5, rel=0.001), "so a mean of both p99 would be 500 ms"


def test_counts_that_contradict_each_other_are_an_error() -> None:
    tally = steady()
    tally.sent += 1
    with pytest.raises(ValueError, match="the counts contradict each other: due 1000, sent 1001, answered 1000"):
        judge(tally, 10)


@settings(max_examples=25, deadline=None)
@given(requests, requests)
def test_merged_tallies_equal_the_tally_of_one_generator(
    first: list[tuple[float, float, float, Outcome]], second: list[tuple[float, float, float, Outcome]]
) -> None:
    by_wire = [Tally.from_message(json.loads(json.dumps(counted(rows).to_message()))) for rows in (first, second)]
    apart, together = merged(by_wire), counted([*first, *second])
    for name in ("due", "sent", "answered", "failed", "failures", "kinds", "seconds", "max_latency_seconds"):
        assert getattr(apart, name) == getattr(together, name), name
    assert apart.sent == apart.answered + apart.failed
    for histogram in ("latency", "service", "lag"):
        ours, theirs = getattr(apart, histogram), getattr(together, histogram)
        assert ours.total_count == theirs.total_count
        assert [value_ms(ours, p) for p in PERCENTILES] == [value_ms(theirs, p) for p in PERCENTILES]
