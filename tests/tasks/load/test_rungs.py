"""Tests the ladder's decisions against targets with a known capacity."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.load.ladder import rung_from_report
from tasks.load.rungs import SAMPLES, Ladder, LadderRules, Rung, Slo, climb
from tasks.run.errors import SettingsRefused
from tasks.run.records import LoadReport

RULES = LadderRules(first_rps=8.0, factor=1.6, precision=0.12)


def rung(number: int, rps: float, seconds: float, verdict: str, *, why: str = "", sent: float = 1.0) -> Rung:
    n = round(rps * seconds)
    return Rung(number, rps, seconds, verdict, why, n, n, 0, sent * rps, 10.0, 20.0, 12.0, 1.0, 0.2, "f")  # type: ignore[arg-type]


def ladder_of(capacity: float, rules: LadderRules = RULES, *, voids_at: float = 1e9, times: int = 99) -> Ladder:
    """Climb a ladder on a target that keeps the SLO up to `capacity`; runs are void from the rate `voids_at` on."""
    voided: list[float] = []

    def measure(number: int, rps: float, seconds: float) -> Rung:
        if rps >= voids_at and len(voided) < times:
            voided.append(rps)
            return rung(number, rps, seconds, "void", why="the generator's processor was 99% busy")
        return rung(number, rps, seconds, "kept" if rps <= capacity else "broke")

    return climb(measure, rules, target="t", slo=Slo(100, 0.01))


@given(st.floats(0.5, 5000.0))
def test_max_rps_is_found_within_the_precision_whatever_the_capacity(capacity: float) -> None:
    ladder = ladder_of(capacity, LadderRules(most_rungs=40))
    assert ladder.best is not None
    assert ladder.best.rps <= capacity <= ladder.best.rps * 1.12 * 1.0001
    assert "kept the SLO" in ladder.stopped and "broke it" in ladder.stopped


def test_rates_rise_by_a_factor_and_are_then_halved_in_the_gap() -> None:
    assert [round(each.rps, 1) for each in ladder_of(30.0).rungs] == [8.0, 12.8, 20.5, 32.8, 25.9, 29.1, 30.9]


def test_a_first_rate_that_is_too_high_is_gone_down_from() -> None:
    ladder = ladder_of(3.0)
    assert [round(each.rps, 2) for each in ladder.rungs[:3]] == [8.0, 5.0, 3.12]
    assert ladder.best is not None and 2.6 < ladder.best.rps <= 3.0


def test_a_target_that_keeps_no_rate_has_no_max_rps() -> None:
    ladder = ladder_of(0.0)
    assert ladder.best is None and ladder.stopped.startswith("not even")


def test_a_void_rung_is_repeated_once_and_then_counts() -> None:
    ladder = ladder_of(30.0, voids_at=12.0, times=1)
    assert [(each.rps, each.verdict) for each in ladder.rungs[:3]] == [(8.0, "kept"), (12.8, "void"), (12.8, "kept")]
    assert ladder.best is not None and ladder.best.rps > 26


def test_a_generator_that_stays_saturated_ends_the_ladder_with_the_reason() -> None:
    ladder = ladder_of(1000.0, voids_at=20.0)
    assert ladder.best is not None and ladder.best.rps == 12.8
    assert ladder.stopped == "the run at 20.48/s was void twice: the generator's processor was 99% busy"


def test_a_rate_that_broke_below_one_that_was_kept_is_believed() -> None:
    verdicts = iter(["kept", "kept", "broke", "broke", "kept", "kept", "kept", "broke"])
    ladder = climb(
        lambda number, rps, seconds: rung(number, rps, seconds, next(verdicts, "broke")),
        RULES,
        target="t",
        slo=Slo(100, 0.01),
    )
    lowest_broken = min(each.rps for each in ladder.rungs if each.verdict == "broke")
    assert ladder.best is not None and ladder.best.rps < lowest_broken


def test_chance_does_not_raise_max_rps_above_what_was_asked_for() -> None:
    assert rung(1, 100.0, 3.0, "kept", sent=1.1).sustained_rps == 100.0
    assert rung(1, 100.0, 3.0, "kept", sent=0.9).sustained_rps == pytest.approx(90.0)


def test_a_rung_lasts_until_p95_may_be_told() -> None:
    assert RULES.seconds(10.0) == SAMPLES / 10
    assert RULES.seconds(10_000.0) == RULES.least_seconds


def test_rules_out_of_bounds_are_refused() -> None:
    with pytest.raises(SettingsRefused, match=r"factor 1\.05 to 10"):
        LadderRules(factor=1.0)


def report(**changes: object) -> LoadReport:
    fields = {
        "target": "t",
        "kind": "endpoint",
        "intended_rps": 50.0,
        "achieved_rps": 50.0,
        "seconds": 4.0,
        "requests": 200,
        "answered": 200,
        "failures": 0,
        "p50_ms": 10.0,
        "p90_ms": 20.0,
        "p95_ms": 25.0,
        "p99_ms": None,
        "max_ms": 40.0,
        "is_valid": True,
        "why_invalid": None,
        "files": {"json": "f"},
        "concurrency": 0.6,
    }
    return LoadReport(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "verdict", "why"),
    [
        ({}, "kept", "p95 25 ms ≤ 30 ms (n = 200)"),
        ({"p95_ms": 31.0}, "broke", "p95 31 ms > 30 ms (n = 200)"),
        ({"failures": 3, "answered": 197}, "broke", "1.50% of 200 requests failed and 1.00% may"),
        ({"failures": 200, "answered": 0, "p95_ms": None}, "broke", "100.00% of 200 requests failed and 1.00% may"),
        ({"p95_ms": None, "answered": 100}, "void", "100 answers are too few for p95"),
        ({"is_valid": False, "why_invalid": "late", "p95_ms": 99.0}, "void", "late"),
    ],
)
def test_the_generator_is_judged_before_the_target(changes: dict[str, object], verdict: str, why: str) -> None:
    found = rung_from_report(1, 50.0, 4.0, report(**changes), Slo(30.0, 0.01))
    assert (found.verdict, found.why) == (verdict, why)


def test_the_mean_is_littles_law_backwards() -> None:
    assert rung_from_report(1, 50.0, 4.0, report(), Slo(30.0, 0.01)).mean_ms == pytest.approx(12.0)


def beside_others(capacity: float, *, until: int) -> Ladder:
    """Climb a ladder whose first `until` rungs are disturbed by other programs."""

    def measure(number: int, rps: float, seconds: float) -> Rung:
        made = rung(number, rps, seconds, "kept" if rps <= capacity else "broke")
        return replace(made, disturbed="other programs took 80%") if number <= until else made

    return climb(measure, RULES, target="t", slo=Slo(100, 0.01))


def test_a_rung_that_broke_beside_other_programs_is_run_again_and_then_believed() -> None:
    ladder = beside_others(10.0, until=2)
    assert [each.verdict for each in ladder.rungs[:3]] == ["kept", "void", "broke"]
    assert ladder.rungs[1].rps == ladder.rungs[2].rps and "other programs took 80%" in ladder.rungs[1].why
    assert ladder.best is not None and ladder.best.rps <= 10.0 <= ladder.best.rps * 1.13


def test_a_ladder_beside_programs_that_stay_ends_with_what_was_kept() -> None:
    ladder = beside_others(10.0, until=99)
    assert [each.verdict for each in ladder.rungs] == ["kept", "void", "void"]
    assert ladder.best is not None and ladder.best.rps == 8.0 and "void twice" in ladder.stopped
