"""Tests that the profile follows from the plan: its stages, their rates, and durations in AWS time."""

from __future__ import annotations

import pytest

from tasks.load.profile import profile_for
from tasks.load.rungs import SAMPLES
from tests.tasks.scaling.deployments import plan


def test_it_goes_from_the_baseline_over_peak_and_spike_and_back() -> None:
    profile = profile_for(plan(ramp_seconds=0.0))
    rates = [(stage.name, stage.rate_per_second) for stage in profile.stages]
    assert rates == [("baseline", 5.0), ("ramp", 40.0), ("peak", 40.0), ("spike", 60.0), ("return", 5.0)]


def test_stages_last_as_long_as_the_predictions_need_in_whole_seconds() -> None:
    made = plan(ramp_seconds=0.0, measures={"time_scale": 60.0})
    profile, predictions = profile_for(made), made.predictions
    begin, end = profile.span("ramp")
    assert end - begin >= predictions["seconds_to_peak_instances"][1].high / 60
    begin, end = profile.span("return")
    assert end - begin >= predictions["seconds_to_baseline_instances"][1].high / 60
    assert all(stage.seconds == int(stage.seconds) for stage in profile.stages)
    assert profile.span("baseline") == (0.0, 13.0), "64 requests at 5 a second"


def test_peak_and_spike_hold_enough_samples_for_p95() -> None:
    made = plan(ramp_seconds=0.0, measures={"time_scale": 60.0})
    for stage in profile_for(made).stages:
        if stage.name in {"peak", "spike"}:
            assert stage.rate_per_second * stage.seconds >= SAMPLES


def test_a_ramp_rises_in_steps_and_keeps_its_length_and_mean() -> None:
    profile = profile_for(plan(measures={"time_scale": 60.0}))  # 1,800 s of AWS's are 30 s here
    steps = [stage for stage in profile.stages if stage.name == "ramp"][:-1]
    assert sum(stage.seconds for stage in steps) == 30
    assert [stage.rate_per_second for stage in steps] == sorted(stage.rate_per_second for stage in steps)
    assert sum(stage.rate_per_second for stage in steps) / len(steps) == pytest.approx((5 + 40) / 2)


def test_the_moment_at_which_a_rate_is_exceeded_is_told() -> None:
    profile = profile_for(plan(ramp_seconds=0.0, measures={"time_scale": 60.0}))
    assert profile.rises_above(5.0) == 13.0
    assert profile.rises_above(60.0) is None
    with pytest.raises(KeyError):
        profile.span("lunch")


def test_the_part_of_a_profile_up_to_a_stage_is_the_same_traffic() -> None:
    profile = profile_for(plan(measures={"time_scale": 60.0}))
    part = profile.until("spike")
    assert part.stages == profile.stages[:-1] and part.span("spike") == profile.span("spike")
    assert profile.until("return") == profile
    assert [stage.name for stage in profile.until("baseline").stages] == ["baseline"]
    with pytest.raises(KeyError):
        profile.until("lunch")
