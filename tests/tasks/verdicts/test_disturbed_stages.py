"""Tests that the machine's samples alone decide which stages and intervals of a run are marked as disturbed."""

from __future__ import annotations

from dataclasses import replace

from tasks.load.disturbance import Bounds, MachineSample
from tasks.load.profile import profile_for
from tasks.verdicts.disturbed_stages import generator_samples, mark_disturbed
from tasks.verdicts.profile_observation import ProfileObservation
from tests.tasks.scaling.deployments import plan
from tests.tasks.verdicts.simulated_profile import seen_by_simulation

PLAN = plan(ramp_seconds=0.0, measures={"time_scale": 60.0})
BEGAN = 1_000_000.0
QUIET = {"other_cpu": 0.0, "cpu_pressure": 0.2, "watch_late_ms": 2.0}


def observation() -> ProfileObservation:
    return replace(seen_by_simulation(PLAN, profile_for(PLAN)), began=BEGAN)


def looks_over(made: ProfileObservation, **in_peak: float) -> list[MachineSample]:
    """Return a sample every half second, with other values in the peak."""
    peak, end = made.stage("peak"), made.stages[-1].end
    assert peak is not None
    moments = [0.5 * (number + 1) for number in range(int(2 * end))]
    inside = [peak.begin < at - 0.25 < peak.end for at in moments]
    return [
        MachineSample(BEGAN + at, 0.5, {**QUIET, **(in_peak if within else {})})
        for at, within in zip(moments, inside, strict=True)
    ]


def bounds() -> Bounds:
    return Bounds.from_rest([MachineSample(at, 0.5, {**QUIET, "cpu_pressure": 0.01}) for at in (1.0, 1.5, 2.0, 2.5)])


def test_the_stage_in_which_other_programs_ran_is_marked_and_shaded() -> None:
    marked = mark_disturbed(observation(), looks_over(observation(), other_cpu=0.8), bounds())
    assert marked.disturbed == {"peak": "other programs on full processors 80% (bound 20%)"}
    assert marked.disturbed_by_others == marked.disturbed
    peak = marked.stage("peak")
    assert peak is not None
    (stretch,) = marked.stretches
    assert stretch.begin <= peak.begin + 1 and stretch.end >= peak.end - 1


def test_what_our_own_load_may_cause_is_not_laid_at_the_door_of_others() -> None:
    marked = mark_disturbed(observation(), looks_over(observation(), cpu_pressure=0.9), bounds())
    assert set(marked.disturbed) == {"peak"} and marked.disturbed_by_others == {}


def test_a_quiet_run_is_not_marked() -> None:
    marked = mark_disturbed(observation(), looks_over(observation()), bounds())
    assert (marked.disturbed, marked.stretches) == ({}, ())


def test_a_stage_in_which_nobody_watched_says_nothing() -> None:
    marked = mark_disturbed(observation(), [], bounds())
    assert set(marked.disturbed.values()) == {"the machine was not monitored"}
    assert mark_disturbed(observation(), [], Bounds({}, 0.0)).disturbed == {}, "nothing was to be watched"


def test_a_generator_that_stood_still_in_the_peak_disturbs_it() -> None:
    peak = observation().stage("peak")
    assert peak is not None
    rows = [{"second": second, "late_ms": 900.0 if second == int(peak.begin) else 1.0} for second in range(60)]
    marked = mark_disturbed(
        observation(), [*looks_over(observation()), *generator_samples({"timeline": rows}, BEGAN)], bounds()
    )
    assert marked.disturbed == {"peak": "load generator late by 900 ms (bound 100 ms)"}
