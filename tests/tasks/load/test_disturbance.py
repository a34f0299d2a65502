"""Tests what counts as disturbed: bounds follow from the machine at rest, and the worst two seconds are judged."""

from __future__ import annotations

import pytest

from tasks.load.disturbance import (
    BY_NAME,
    EXTERNAL_SIGNALS,
    SIGNALS,
    Bounds,
    MachineSample,
    distinct_reasons,
    samples_between,
    worst_values,
)

QUIET = {"other_cpu": 0.0, "cpu_pressure": 0.02, "io_pressure": 0.0, "steal": 0.0, "watch_late_ms": 1.0}


def samples(seconds: float, begin: float = 0.0, **values: float) -> list[MachineSample]:
    """Return samples of half a second over an interval, quiet except for `values`."""
    count = round(seconds / 0.5)
    return [MachineSample(begin + 0.5 * (number + 1), 0.5, {**QUIET, **values}) for number in range(count)]


@pytest.fixture
def bounds() -> Bounds:
    return Bounds.from_rest(samples(2.0))


def test_a_quiet_stretch_is_not_disturbed_and_a_load_of_our_own_fits_in(bounds: Bounds) -> None:
    assert bounds.exceeded(samples(10.0)) == ()
    assert bounds.exceeded(samples(10.0, cpu_pressure=0.5, watch_late_ms=40.0)) == ()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("other_cpu", 0.67, "other programs on full processors 67% (bound 20%)"),
        ("cpu_pressure", 0.9, "waiting for a processor 90% (bound 57%)"),
        ("io_pressure", 0.5, "waiting for a disk 50% (bound 20%)"),
        ("steal", 0.2, "stolen by the hypervisor 20% (bound 5%)"),
        ("watch_late_ms", 300.0, "kennel late by 300 ms (bound 101 ms)"),
    ],
)
def test_each_signal_above_its_bound_is_a_reason_with_both_numbers(
    bounds: Bounds, name: str, value: float, said: str
) -> None:
    assert bounds.exceeded(samples(4.0, **{name: value})) == (said,)


def test_a_stall_of_two_seconds_is_not_hidden_by_a_long_stage(bounds: Bounds) -> None:
    stage = [*samples(20.0), *samples(2.0, 20.0, io_pressure=0.8), *samples(20.0, 22.0)]
    assert len(bounds.exceeded(stage)) == 1
    short = [*samples(20.0), *samples(0.5, 20.0, io_pressure=0.6), *samples(20.0, 20.5)]
    assert bounds.exceeded(short) == (), "half a second at 60% is 15% of two seconds"


def test_a_single_late_moment_disturbs(bounds: Bounds) -> None:
    assert bounds.exceeded([*samples(5.0), *samples(0.5, 5.0, watch_late_ms=101.5), *samples(5.0, 5.5)])


def test_a_machine_that_is_busy_at_rest_is_never_called_quiet() -> None:
    busy = samples(2.0, other_cpu=0.66, cpu_pressure=1.0)
    bounds = Bounds.from_rest(busy)
    assert len(bounds.exceeded(busy)) == 2, "there is a limit beyond which no floor excuses"


def test_what_shows_only_under_load_is_judged_by_its_allowance(bounds: Bounds) -> None:
    assert "generator_late_ms" not in bounds.floor and bounds.limits["generator_late_ms"] == 100.0
    assert bounds.exceeded(samples(3.0, generator_late_ms=900.0)) == ("load generator late by 900 ms (bound 100 ms)",)
    assert bounds.exceeded(samples(3.0, generator_late_ms=90.0)) == ()


def test_a_reason_is_given_once_whatever_stages_it_was_met_in() -> None:
    reasons = ("ramp: waiting for a disk 40% (bound 20%); kennel late by 300 ms (bound 101 ms)", "too few answers")
    again = ("peak: waiting for a disk 35% (bound 20%)", "too few answers")
    said = "waiting for a disk 40% (bound 20%); kennel late by 300 ms (bound 101 ms); too few answers"
    assert distinct_reasons((*reasons, *again)) == said


def test_only_what_others_do_is_asked_for_where_our_own_load_is_meant_to_be_too_much(bounds: Bounds) -> None:
    jammed = samples(3.0, cpu_pressure=1.0, watch_late_ms=400.0)
    assert bounds.exceeded(jammed) and not bounds.exceeded(jammed, EXTERNAL_SIGNALS)
    assert bounds.exceeded(samples(3.0, other_cpu=0.9), EXTERNAL_SIGNALS)


def test_looks_belong_to_the_stretch_that_holds_their_middle() -> None:
    assert [sample.at for sample in samples_between(samples(4.0), 1.0, 2.0)] == [1.5, 2.0]


def test_the_text_names_floor_and_bound_of_each_signal(bounds: Bounds) -> None:
    text = bounds.text()
    assert text.startswith("at rest for 2 s: ") and "waiting for a processor 2% (bound 57%)" in text
    assert "kennel late by 1 ms (bound 101 ms)" in text
    assert "load generator late by … (not measured at rest, bound 100 ms)" in text
    assert (bounds.noise_ms, bounds.unnoticed_ms) == (1.0, 101.0)


def test_every_bound_lies_above_its_floor_until_the_limit() -> None:
    for signal in SIGNALS:
        assert signal.bound(0.0) == signal.allowance <= signal.most == signal.bound(1e9)
        assert BY_NAME[signal.name] is signal


def test_worst_of_nothing_is_nothing() -> None:
    assert worst_values([]) == {}
