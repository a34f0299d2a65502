"""Tests that the picture of a profile shows the observation and nothing else, and that no label covers another."""

import dataclasses
import re
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.load.profile import profile_for
from tasks.scaling.choice import ScalingPlan
from tasks.verdicts.observed_values import ObservedValue
from tasks.verdicts.picture import draw_profile
from tasks.verdicts.picture_labels import GAP_POINTS, PlacedLabel, place_beside, place_centred, row_count, width_points
from tasks.verdicts.profile_observation import DisturbedInterval, ProfileObservation
from tasks.verdicts.verdicts import Verdict, judge_prediction
from tests.hostile import BIDI, CORPUS, harmful_in
from tests.tasks.scaling.deployments import plan as scaling_plan
from tests.tasks.verdicts.simulated_profile import seen_by_simulation

AXIS, SIZE = 700.0, 9.0


@pytest.fixture(scope="module")
def plan() -> ScalingPlan:
    return scaling_plan(measures={"time_scale": 60.0})


@pytest.fixture(scope="module")
def observation(plan: ScalingPlan) -> ProfileObservation:
    return seen_by_simulation(plan, profile_for(plan))


def verdicts(plan: ScalingPlan) -> list[Verdict]:
    """Return a passed, a failed and an inconclusive verdict, the last one with too few requests."""
    choice, predicted = plan.predictions["throttled_at_spike"]
    values = (ObservedValue(0.0, "counted", 500), ObservedValue(0.4, "counted", 500), ObservedValue(0.0, "counted", 3))
    return [judge_prediction(choice, predicted, value) for value in values]


def written(
    plan: ScalingPlan, observation: ProfileObservation, folder: Path, disturbed: tuple[DisturbedInterval, ...] = ()
) -> str:
    """Draw the picture and return its SVG, in which a comment holds every text."""
    path = draw_profile(plan, observation, verdicts(plan), folder, disturbed)
    assert path.stat().st_size > 20_000
    return path.with_suffix(".svg").read_text()


def texts_of(svg: str) -> list[str]:
    """Return what is written in a picture. Its random ids are left out: one of them may contain "p99"."""
    return re.findall(r"<!-- (.*?) -->", svg, re.DOTALL)


def test_a_percentile_that_no_stretch_allows_is_not_named(
    plan: ScalingPlan, observation: ProfileObservation, tmp_path: Path
) -> None:
    few = [dataclasses.replace(each, p99_ms=None, p95_ms=80.0, p50_ms=50.0) for each in observation.stages]
    svg = written(plan, dataclasses.replace(observation, stages=tuple(few), intervals=tuple(few)), tmp_path)
    texts = texts_of(svg)
    assert {"p50", "p95 of a stage"} <= set(texts) and not any("p99" in text for text in texts)


@pytest.mark.parametrize(("ramp_seconds", "name", "other"), [(0.0, "step", "ramp"), (300.0, "ramp", "step")])
def test_a_rise_that_takes_no_time_is_called_a_step(
    plan: ScalingPlan, observation: ProfileObservation, tmp_path: Path, ramp_seconds: float, name: str, other: str
) -> None:
    traffic = dataclasses.replace(plan.traffic, ramp_seconds=ramp_seconds)
    text = written(dataclasses.replace(plan, traffic=traffic), observation, tmp_path)
    assert f"<!-- {name} -->" in text and f"<!-- {other} -->" not in text


def test_a_minute_of_awss_is_told_with_two_digits(
    plan: ScalingPlan, observation: ProfileObservation, tmp_path: Path
) -> None:
    text = written(plan, dataclasses.replace(observation, time_scale=90.0), tmp_path)
    assert "one lasts 0.67 s (time scale 90)" in text
    measured = dataclasses.replace(plan.measured, time_scale=90.0)
    assert "lasts 0.67 s here" in dataclasses.replace(plan, measured=measured).markdown()


def test_disturbed_stretches_have_one_entry_in_the_legend(
    plan: ScalingPlan, observation: ProfileObservation, tmp_path: Path
) -> None:
    stalls = (DisturbedInterval(1.0, 2.0, "the machine stalled"), DisturbedInterval(5.0, 6.0, "the machine stalled"))
    assert written(plan, observation, tmp_path, stalls).count("<!-- disturbed -->") == 1
    assert "disturbed" not in written(plan, observation, tmp_path)


def test_a_profile_straight_at_the_endpoint_names_no_function(
    plan: ScalingPlan, observation: ProfileObservation, tmp_path: Path
) -> None:
    text = written(plan, dataclasses.replace(observation, through="endpoint"), tmp_path)
    assert "CloudWatch counted none" in text and "Lambda" not in text and "reserved" not in text


def test_the_title_counts_verdicts_and_requests_by_what_became_of_them(
    plan: ScalingPlan, observation: ProfileObservation, tmp_path: Path
) -> None:
    counts = dataclasses.replace(observation.counts, sent=1608, answered=1102, failed=506)
    text = written(plan, dataclasses.replace(observation, counts=counts), tmp_path)
    assert "1 of 3 verdicts passed, 1 failed, 1 inconclusive" in text
    assert "1,608 sent = 1,102 answered + 506 failed" in text


def overlapping(labels: list[PlacedLabel]) -> list[tuple[PlacedLabel, PlacedLabel]]:
    ends = {label: label.left + width_points(label.text, SIZE) for label in labels}
    return [
        (a, b)
        for a, b in combinations(labels, 2)
        if a.row == b.row and a.left < ends[b] + GAP_POINTS / 2 and b.left < ends[a] + GAP_POINTS / 2
    ]


@given(st.lists(st.floats(0.0, AXIS), min_size=4, max_size=4))
def test_stage_names_never_cover_each_other(bounds: list[float]) -> None:
    edges = [0.0, *sorted(bounds), AXIS]
    names = ("baseline", "ramp", "peak", "spike", "return")
    placed = place_centred(list(zip(names, edges, edges[1:], strict=False)), axis_points=AXIS, size=SIZE)
    assert len(placed) == 5 and row_count(placed) <= 5 and overlapping(placed) == []
    assert all(0 <= label.left <= AXIS - width_points(label.text, SIZE) for label in placed)


@given(st.lists(st.floats(0.0, AXIS), max_size=12))
def test_activities_never_cover_each_other(moments: list[float]) -> None:
    placed = place_beside([(f"→ {number}", at) for number, at in enumerate(moments)], axis_points=AXIS, size=SIZE)
    assert len(placed) == len(moments) and overlapping(placed) == []
    assert all(label.left + width_points(label.text, SIZE) <= AXIS for label in placed)


def test_wide_stages_take_one_row() -> None:
    placed = place_centred(
        [("baseline", 0, 200), ("peak", 200, 400), ("return", 400, 700)], axis_points=AXIS, size=SIZE
    )
    assert row_count(placed) == 1


def test_the_texts_of_a_picture_are_drawn_as_they_are(
    plan: ScalingPlan, observation: ProfileObservation, tmp_path: Path
) -> None:
    activities = [dataclasses.replace(observation.activities[0], description=text) for text in CORPUS]
    target = f"$\\frac{{1}}{{$ </text><script>{BIDI}\x1b[2J$$--><!--"
    seen = dataclasses.replace(observation, target=target, activities=tuple(activities))
    svg = written(plan, seen, tmp_path)
    ElementTree.fromstring(svg)
    assert harmful_in(svg) == set() and "<script" not in svg and "$\\frac{1}{$ " in svg
