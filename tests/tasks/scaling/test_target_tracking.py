"""The model of target tracking: 3 minutes out, 15 in, proportional growth, cooldowns, bounds."""

from __future__ import annotations

import pytest

from tasks.scaling.target_tracking import TargetTracking, TrackingPolicy

POLICY = TrackingPolicy(target=100.0, minimum=1, maximum=10, scale_out_cooldown=180, scale_in_cooldown=300)


def feed(tracking: TargetTracking, sums: list[float], *, serving: int, begin: int = 0) -> list[int]:
    """Return the desired count after each minute."""
    return [tracking.observe(60.0 * (begin + index + 1), value, serving=serving) for index, value in enumerate(sums)]


def test_three_minutes_above_the_target_grow_the_fleet_in_proportion() -> None:
    assert feed(TargetTracking(POLICY, 2), [150, 150, 249], serving=2) == [2, 2, 5]


def test_a_minute_at_the_target_begins_the_count_anew() -> None:
    assert feed(TargetTracking(POLICY, 2), [150, 150, 100, 150, 150], serving=2) == [2] * 5


def test_growth_stops_at_the_maximum() -> None:
    assert feed(TargetTracking(POLICY, 2), [5000] * 3, serving=2)[-1] == 10


def test_nothing_is_decided_while_instances_start() -> None:
    tracking = TargetTracking(POLICY, 1)
    assert feed(tracking, [300] * 3, serving=1)[-1] == 3
    assert feed(tracking, [900] * 5, serving=1, begin=3) == [3] * 5


def test_fifteen_minutes_well_below_the_target_take_one_instance() -> None:
    assert feed(TargetTracking(POLICY, 4), [10] * 15, serving=4) == [4] * 14 + [3]


def test_just_below_the_target_nothing_is_taken() -> None:
    assert feed(TargetTracking(POLICY, 4), [91] * 30, serving=4) == [4] * 30


def test_a_large_fleet_gives_a_tenth_at_a_time_and_keeps_what_the_load_needs() -> None:
    large = TrackingPolicy(100.0, 1, 100)
    assert feed(TargetTracking(large, 50), [10] * 15, serving=50)[-1] == 45
    assert feed(TargetTracking(large, 50), [89] * 15, serving=50)[-1] == 45
    assert feed(TargetTracking(large, 10), [89] * 15, serving=10)[-1] == 9


def test_the_minimum_is_kept() -> None:
    assert feed(TargetTracking(POLICY, 1), [0.0] * 40, serving=1) == [1] * 40


def test_between_two_scale_ins_lies_a_cooldown() -> None:
    tracking = TargetTracking(POLICY, 3)
    assert feed(tracking, [10] * 15, serving=3)[-1] == 2
    tracking.completed(15 * 60, grew=False)
    assert feed(tracking, [10] * 5, serving=2, begin=15) == [2, 2, 2, 2, 1]


@pytest.mark.parametrize(("per_instance", "desired"), [(150.0, 2), (250.0, 3)])
def test_during_a_cooldown_only_a_larger_scale_out_passes(per_instance: float, desired: int) -> None:
    tracking = TargetTracking(POLICY, 1)
    assert feed(tracking, [190] * 3, serving=1)[-1] == 2
    tracking.completed(240, grew=True)
    assert feed(tracking, [per_instance] * 3, serving=2, begin=3)[-1] == desired


def test_after_the_cooldown_the_same_metric_asks_for_more() -> None:
    tracking = TargetTracking(POLICY, 1)
    feed(tracking, [190] * 3, serving=1)
    tracking.completed(240, grew=True)
    assert feed(tracking, [150] * 4, serving=2, begin=3) == [2, 2, 2, 3]
