"""Tests a plan's numbers against values worked by hand, and the warnings when a limit or the budget is exceeded."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.run.errors import SettingsRefused
from tasks.scaling.choice import CHOICES, Prediction
from tasks.scaling.plan import Limits, ScalingRules
from tasks.scaling.prices import SECONDS_A_MONTH, list_prices
from tasks.scaling.queueing import erlang_b
from tasks.scaling.traffic import MemoryPoint
from tests.tasks.scaling.deployments import figure, plan

# --- the endpoint -----------------------------------------------------------------------------------------------------


def test_the_target_is_awss_formula() -> None:
    choice = plan().choice("target_value")
    assert choice.value == 20 * 0.5 * 60
    assert {each.name: each.source for each in choice.inputs} == {
        "MAX_RPS": "measured",
        "start safety": "AWS document",
        "peak": "chosen",
        "spike": "chosen",
        "minute": "AWS document",
        "time scale": "chosen",
    }


def test_an_emulated_minute_is_shorter_and_so_is_the_target() -> None:
    scaled = plan(measures={"time_scale": 60.0})
    assert scaled.value("target_value") == 20 * 0.5 * 60 / 60
    assert "Time scale 60" in scaled.markdown()


def test_a_spike_of_more_than_twice_the_peak_lowers_the_safety_factor() -> None:
    assert plan(spike_rps=160.0).value("target_value") == pytest.approx(20 * 0.25 * 60)


def test_peak_at_the_target_and_spike_at_max_rps_make_the_maximum() -> None:
    assert plan().count("max_instances") == 4  # 40 / 10
    rules = ScalingRules(safety_factor=0.8, bears_spike=False)
    assert plan(rules=rules, spike_rps=100.0).count("max_instances") == 5  # 100 / 20 > 40 / 16


def test_a_slow_ramp_is_borne_by_what_the_baseline_needs() -> None:
    assert plan().count("min_instances") == 1
    assert plan(baseline_rps=25.0).count("min_instances") == 3


def test_a_fast_ramp_needs_more_from_the_start() -> None:
    # 35 rps in 600 s; the metric 120 s, the decision 180 s, the start 180.5 s at most; 20 − 10 rps to spare
    assert plan(ramp_seconds=600.0).count("min_instances") == min(2, math.ceil(35 / 600 * 480.5 / 10))


def test_a_step_needs_the_peak_at_once_unless_it_is_not_absorbed() -> None:
    assert plan(ramp_seconds=0.0).count("min_instances") == 2  # 40 / 20
    borne = plan(ramp_seconds=0.0, rules=ScalingRules(absorbs_ramp=False))
    assert borne.count("min_instances") == 1
    assert not borne.is_feasible
    assert "set absorbs_ramp, or fewest_instances to 2" in borne.warnings[0]


def test_cooldowns_follow_the_start_up_time_in_whole_minutes() -> None:
    assert plan().count("scale_out_cooldown") == 180  # 120 + 60
    assert plan().count("scale_in_cooldown") == 420  # 120 + 180 + 120
    slow = {"instance_startup_seconds": figure(301)}
    assert plan(measures=slow).count("scale_out_cooldown") == 420


def test_the_lag_is_the_sum_of_its_three_stages() -> None:
    stages = plan().predictions
    parts = [stages[f"lag_{name}"][1] for name in ("metric", "decision", "startup")]
    total = stages["lag_total"][1]
    assert total.value == pytest.approx(sum(part.value for part in parts))
    assert (total.low, total.high) == (60 + 120 + 80, 120 + 180 + 180.5)


def test_a_plan_that_adds_no_instance_for_the_peak_predicts_no_lag_of_one() -> None:
    alone = plan(peak_rps=6.0, spike_rps=7.0)
    assert alone.count("max_instances") == 1
    assert not [name for name in alone.predictions if name.startswith("lag_")]
    assert [alone.predictions[f"seconds_to_{name}_instances"][1].high for name in ("peak", "baseline")] == [0.0, 0.0]


@pytest.mark.parametrize(("peak", "low"), [(14.0, 0.0), (19.0, 14 * 60.0)])
def test_a_fleet_that_is_below_the_threshold_at_the_spike_may_shrink_as_soon_as_the_load_falls(
    peak: float, low: float
) -> None:
    """Two instances with a target of 10 a second each: 7 are under 90 % of it, 9.5 are not."""
    back = plan(peak_rps=peak, spike_rps=peak).predictions["seconds_to_baseline_instances"][1]
    assert (back.low, back.high >= 17 * 60.0) == (low, True)


def test_a_step_that_exceeds_the_target_early_in_a_minute_counts_in_that_minute() -> None:
    step = plan(ramp_seconds=0.0, rules=ScalingRules(absorbs_ramp=False)).predictions["lag_metric"][1]
    share = (10 - 5) / 35
    by_chance = 4 * math.sqrt(10) / 35 / 60**0.5  # 4 sigmas of the 600 requests that are the target, in minutes
    assert [step.low, step.high] == pytest.approx([60 * (share - by_chance), 60 * (1 + share + by_chance)], abs=0.1)


# --- the function -----------------------------------------------------------------------------------------------------


def test_reserved_is_the_largest_of_three_needs() -> None:
    reserved = plan(slo_p95_ms=100.0).count("reserved_concurrency")
    by_formula, by_rate = math.ceil(60 * 0.05 * 1.1), 7
    assert reserved >= max(by_formula, by_rate)
    assert erlang_b(reserved, 60 * 0.1) <= 0.01 < erlang_b(reserved - 1, 60 * 0.1)


def test_reserved_bears_the_slowest_pace_that_the_slo_allows() -> None:
    reserved = plan(slo_p95_ms=500.0).count("reserved_concurrency")
    assert erlang_b(reserved, 60 * 0.5) <= 0.01 < erlang_b(reserved - 1, 60 * 0.5)


def test_an_account_that_can_reserve_less_than_is_needed_reserves_nothing_and_says_so() -> None:
    short = plan(slo_p95_ms=500.0, limits=Limits(lambda_concurrency=120))
    assert short.count("reserved_concurrency") == 0
    assert short.is_feasible, "the unreserved executions are enough"
    (said,) = [text for text in short.warnings if "no reservation" in text]
    assert "needs 42 executions and the account can reserve 20 of 120" in said
    assert "request a concurrency quota of 142" in said


@pytest.mark.parametrize(("quota", "minimum"), [(1000, 100), (100, 100), (50, 50), (10, 10)])
def test_what_stays_unreserved_is_never_more_than_the_accounts_quota(quota: int, minimum: int) -> None:
    assert Limits(lambda_concurrency=quota).reservable == quota - minimum


def test_a_new_accounts_executions_are_all_shared_and_the_plan_counts_with_them() -> None:
    new = plan(limits=Limits(lambda_concurrency=10), baseline_rps=0.5, peak_rps=2.0, spike_rps=4.0)
    assert (new.count("reserved_concurrency"), new.count("provisioned_concurrency")) == (0, 0)
    assert new.is_feasible
    assert new.predictions["throttled_at_spike"][1].value == pytest.approx(erlang_b(10, 4 * 0.05))
    busy = plan(limits=Limits(lambda_concurrency=10))
    assert not busy.is_feasible
    assert any("executions and the account has 10; request a concurrency quota of" in text for text in busy.warnings)


def test_short_requests_need_an_execution_for_each_ten_a_second() -> None:
    short = {name: figure(5) for name in ("function_mean_ms", "function_p50_ms", "function_p95_ms")}
    assert plan(measures=short, slo_p95_ms=41.0).count("reserved_concurrency") == 7  # 60 × 1.1 / 10
    assert plan(measures=short, baseline_rps=30.0).count("provisioned_concurrency") == 4  # 30 × 1.1 / 10


def test_cold_starts_within_the_slo_leave_only_the_baseline_provisioned() -> None:
    choice = plan(baseline_rps=15.0).choice("provisioned_concurrency")
    assert choice.value == 2  # 15 × 1.1 / 10, above 15 × 0.05 × 1.1
    assert choice.predicted.name == "spillover_at_baseline"
    assert choice.predicted.value == pytest.approx(erlang_b(2, 15 * 0.05))
    assert "0 would keep the SLO" in choice.reason


def test_cold_starts_that_break_the_slo_are_kept_to_the_spillover_share_at_peak() -> None:
    choice = plan(measures={"cold_start_ms": figure(2000)}).choice("provisioned_concurrency")
    assert erlang_b(round(choice.value), 40 * 0.05) <= 0.05
    assert choice.predicted.name == "spillover_at_peak"


def test_the_cheapest_memory_that_keeps_the_slo_is_chosen() -> None:
    points = (
        MemoryPoint(128, figure(120), figure(600), figure(90)),  # cheap, too slow
        MemoryPoint(256, figure(50), figure(100), figure(240)),  # no memory left
        MemoryPoint(512, figure(26), figure(60), figure(240)),
        MemoryPoint(1024, figure(20), figure(40), figure(240)),
    )
    choice = plan(measures={"memory_points": points}).choice("function_memory")
    assert choice.value == 512
    assert choice.predicted.value == 60
    assert "of the 4 measured sizes" in choice.reason


def test_one_measured_memory_is_kept_and_said_to_be_the_only_one() -> None:
    assert "it is the only measured size" in plan().choice("function_memory").reason


# --- cost and feasibility ---------------------------------------------------------------------------------------------


def test_the_cost_is_that_of_instances_invocations_and_provisioned_environments() -> None:
    made = plan()
    rps, gb = 5 * 0.75 + 40 * 0.25, 256 / 1024
    spilled = max(1 - 10 / rps, erlang_b(1, rps * 0.05))
    price = spilled * 0.0000166667 + (1 - spilled) * 0.0000097222
    instances = 730 * 0.10 * (1 * 0.75 + 4 * 0.25)
    invocations = rps * SECONDS_A_MONTH * (0.2e-6 + 0.05 * gb * price)
    provisioned = 1 * gb * SECONDS_A_MONTH * 0.0000041667
    assert made.monthly_cost_usd == pytest.approx(instances + invocations + provisioned)
    assert made.within_budget


def test_over_budget_says_by_how_much_and_what_to_change() -> None:
    made = plan(monthly_budget_usd=100.0)
    assert made.within_budget is False
    over = next(text for text in made.warnings if text.startswith("the plan is over the budget of 100.00 USD by "))
    assert "for instances" in over and "lower peak_rps or peak_share" in over


def test_an_unknown_price_leaves_the_cost_unknown() -> None:
    made = plan(prices=list_prices("ml.unheard.of", "us-east-1"))
    assert (made.monthly_cost_usd, made.within_budget) == (None, None)
    assert "price unknown" in made.markdown()


@pytest.mark.parametrize(
    ("changes", "limits", "said"),
    [
        ({"slo_p95_ms": 30.0}, None, "no number of instances keeps the SLO"),
        ({"slo_p95_ms": 80.0}, None, "no measured memory size keeps the SLO"),
        ({"peak_rps": 4000.0, "spike_rps": 12_000.0}, None, "request a concurrency quota of"),
        ({}, Limits(instances=2), "the account's quota of ml.m5.large for endpoint usage is 2; request 4"),
    ],
)
def test_what_cannot_be_kept_is_said_with_what_to_change(
    changes: dict[str, Any], limits: Limits | None, said: str
) -> None:
    made = plan(limits=limits, **changes)
    assert not made.is_feasible
    assert any(said in text for text in made.warnings)


def test_the_accounts_limits_cut_what_is_configured() -> None:
    made = plan(limits=Limits(lambda_concurrency=101, instances=2), baseline_rps=30.0)
    assert made.count("max_instances") == 2
    assert made.count("reserved_concurrency") == 0
    assert made.count("provisioned_concurrency") == 1
    assert any("can be provisioned, so more requests meet a cold start" in text for text in made.warnings)


def test_a_time_scale_at_which_minutes_hold_too_few_requests_is_cautioned() -> None:
    made = plan(measures={"time_scale": 60.0})
    assert any("a time scale of at most 10" in text for text in made.warnings)
    assert made.is_feasible


# --- the plan as data -------------------------------------------------------------------------------------------------


def test_every_choice_has_formula_inputs_prediction_and_reason() -> None:
    made = plan()
    assert tuple(choice.name for choice in made.choices) == CHOICES
    for choice in made.choices:
        assert choice.formula and choice.reason and choice.inputs
        assert all(each.observed_by and each.low <= each.high for each in choice.predictions)
    assert len(made.predictions) == sum(len(choice.predictions) for choice in made.choices)


def test_the_table_has_a_row_for_each_choice() -> None:
    rows = [line for line in plan().markdown().splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == ["choice", *CHOICES]


def test_a_number_set_by_hand_keeps_the_predictions_and_says_what_the_formula_gave() -> None:
    bad = plan().with_value("target_value", 6000.0, "ten times too high, to see it caught")
    assert bad.choice("target_value").predictions == plan().choice("target_value").predictions
    assert bad.choice("target_value").inputs[0].value == 600
    assert "the formula gives 600" in bad.warnings[-1]
    with pytest.raises(KeyError, match="no_such_choice"):
        plan().with_value("no_such_choice", 1.0, "")
    with pytest.raises(SettingsRefused):
        plan().with_value("target_value", math.nan, "")


def test_a_prediction_holds_within_its_range_and_a_share_within_its_sampling_error() -> None:
    share = Prediction("s", "s", 0.1, "share", 0.08, 0.12, "peak", "counting")
    assert share.holds(0.08) and not share.holds(0.13)
    assert share.holds(0.13, samples=500) and not share.holds(0.30, samples=500)
    none = Prediction("n", "n", 0.0, "share", 0.0, 0.0, "peak", "counting")
    assert none.holds(0.0, samples=1000) and not none.holds(0.01, samples=1000)
    count = Prediction("c", "c", 4, "instances", 3, 5, "peak", "describing")
    assert count.holds(5, samples=10) and not count.holds(6, samples=10)
    assert (count.margin(5), count.margin(7)) == (0, -2)


@pytest.mark.parametrize("rules", [{"safety_factor": 1.0}, {"spillover_share": 0.0}, {"fewest_instances": 0}])
def test_rules_out_of_bounds_are_refused(rules: dict[str, float]) -> None:
    with pytest.raises(SettingsRefused, match=next(iter(rules))):
        ScalingRules(**rules)  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(
    rates=st.lists(st.floats(0.01, 20_000), min_size=3, max_size=3).map(sorted),
    ramp=st.floats(0, 7200),
    max_rps=st.floats(0.5, 500),
    startup=st.floats(1, 900),
    scale=st.floats(1, 120),
)
@example(rates=[0.5, 1.0, 1.0], ramp=1.1125369292536007e-308, max_rps=1.0, startup=1.0, scale=1.0)  # all but a step
def test_any_traffic_gets_a_plan_that_hangs_together(
    rates: list[float], ramp: float, max_rps: float, startup: float, scale: float
) -> None:
    measures = {
        "max_rps_per_instance": figure(max_rps),
        "instance_startup_seconds": figure(startup),
        "time_scale": scale,
    }
    baseline, peak, spike = rates
    made = plan(measures=measures, baseline_rps=baseline, peak_rps=peak, spike_rps=spike, ramp_seconds=ramp)
    assert 1 <= made.count("min_instances") <= made.count("max_instances")
    assert made.count("provisioned_concurrency") <= (made.count("reserved_concurrency") or Limits().reservable) <= 900
    assert made.count("max_instances") * max_rps >= spike * (1 - 1e-6)
    assert made.value("target_value") <= max_rps * 60 / scale
    assert all(each.low <= each.value <= each.high for _, each in made.predictions.values()) or not made.is_feasible
    assert made.monthly_cost_usd is not None and made.monthly_cost_usd > 0


# --- a machine that all instances share -------------------------------------------------------------------------------


def test_no_more_instances_are_planned_than_the_shared_machine_feeds() -> None:
    alone = plan()
    assert alone.count("max_instances") == 4, "40 at 10, half of MAX_RPS"
    shared = plan(limits=Limits(machine_rps=30.0))
    assert shared.count("max_instances") == 3
    assert not shared.is_feasible
    (said,) = [text for text in shared.warnings if "this machine is the bottleneck" in text]
    assert "all instances together carry 30 requests/s here, enough for 3 of the 4" in said
    assert "lower spike_rps to 30" in said
    inputs = {each.name: each.value for each in shared.choice("max_instances").inputs}
    assert inputs["this machine"] == 30.0 and "⌊this machine / safe rps⌋" in shared.choice("max_instances").formula


def test_a_machine_that_carries_more_than_the_traffic_changes_nothing() -> None:
    alone, shared = plan(), plan(limits=Limits(machine_rps=500.0))
    assert [choice.value for choice in alone.choices] == [choice.value for choice in shared.choices]
    assert alone.warnings == shared.warnings and shared.is_feasible


def test_a_machine_that_hardly_carries_anything_still_has_one_instance() -> None:
    assert plan(limits=Limits(machine_rps=0.5)).count("max_instances") == 1


def test_the_smaller_of_quota_and_machine_binds() -> None:
    assert plan(limits=Limits(instances=2, machine_rps=30.0)).count("max_instances") == 2
    assert plan(limits=Limits(instances=5, machine_rps=29.0)).count("max_instances") == 2
