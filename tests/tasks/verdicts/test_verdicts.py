"""Tests the verdicts against the simulation: a good plan passes, and each fault of a bad plan fails its own verdict."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.load.profile import profile_for
from tasks.scaling.plan import ScalingPlan, ScalingRules, plan_scaling
from tasks.scaling.traffic import Traffic
from tasks.verdicts.observed_values import ObservedValue, join_values, observe_values
from tasks.verdicts.profile_observation import MetricPoint, ProfileObservation, RequestCounts
from tasks.verdicts.recommendation import recommend
from tasks.verdicts.verdicts import (
    Verdict,
    failed,
    first_throttled,
    inconclusive,
    judge,
    judge_prediction,
    verdict_counts,
    verdict_table,
)
from tests.tasks.scaling.deployments import PRICES, figure, measured
from tests.tasks.verdicts.simulated_profile import seen_by_simulation

SCALE = 20.0


def a_plan(*, ramp_seconds: float = 0.0, safety: float = 0.3, **changes: float) -> ScalingPlan:
    """10 → 55 → 66 requests/s against instances of 100/s, a function of 48 ms: 1 to 3 instances."""
    traffic = Traffic(10.0, 55.0, 66.0, ramp_seconds, 250.0, 0.01, 0.01, 2000.0)
    found = measured(
        max_rps_per_instance=figure(80),
        service_p50_ms=figure(40),
        service_p95_ms=figure(45),
        function_mean_ms=figure(49),
        function_p50_ms=figure(48),
        function_p95_ms=figure(70),
        cold_start_ms=figure(60, 12),
        time_scale=SCALE,
    )
    return plan_scaling(replace(traffic, **changes), found, PRICES, rules=ScalingRules(safety_factor=safety))


def verdicts_of(plan: ScalingPlan, *, as_planned: ScalingPlan | None = None) -> dict[str, Verdict]:
    """Run a plan's profile in the simulation and judge it."""
    profile = profile_for(as_planned or plan)
    observation = seen_by_simulation(plan, profile)
    found = judge(plan, observe_values(plan, profile, observation), [observation], tests_function=True)
    return {verdict.name: verdict for verdict in found}


def lost(verdicts: dict[str, Verdict]) -> set[str]:
    return {verdict.name for verdict in failed(list(verdicts.values()))}


@pytest.fixture(scope="module")
def good() -> ScalingPlan:
    return a_plan()


def test_a_derived_plan_passes_every_verdict(good: ScalingPlan) -> None:
    verdicts = verdicts_of(good)
    assert lost(verdicts) == set(), verdict_table(list(verdicts.values()))
    assert set(good.predictions) < set(verdicts), "every prediction has a verdict of its own"
    assert verdicts["instances_at_peak"].observed == 3


def test_a_target_ten_times_too_high_is_caught_by_the_instances_at_peak(good: ScalingPlan) -> None:
    verdicts = verdicts_of(good.with_value("target_value", 10 * good.value("target_value"), "a test"))
    peak = verdicts["instances_at_peak"]
    assert (peak.state, peak.observed, peak.choice) == ("FAIL", 1, "target_value")
    assert peak.recommended == good.value("target_value")
    assert (verdicts["lag_total"].state, verdicts["lag_total"].observed) == ("FAIL", None)
    assert "never exceeded the target" in verdicts["lag_total"].why
    assert "throttled_at_spike" not in lost(verdicts)


def test_a_reservation_that_is_too_low_is_caught_by_the_throttles_at_the_spike(good: ScalingPlan) -> None:
    plan = good.with_value("reserved_concurrency", 3, "a test").with_value("provisioned_concurrency", 2, "a test")
    verdicts = verdicts_of(plan)
    throttled = verdicts["throttled_at_spike"]
    assert (throttled.state, throttled.choice) == ("FAIL", "reserved_concurrency")
    assert throttled.observed is not None and throttled.observed > 0.1 and throttled.margin is not None
    assert throttled.margin < -0.1 and throttled.recommended == good.value("reserved_concurrency")
    assert verdicts["throttles_in_scale_out"].state == "FAIL"
    assert "instances_at_peak" not in lost(verdicts) or verdicts["instances_at_peak"].observed != 1


def test_a_cooldown_that_is_too_long_is_caught_by_the_time_to_the_peaks_instances() -> None:
    ramped = a_plan(ramp_seconds=1800.0)
    assert "seconds_to_peak_instances" not in lost(verdicts_of(ramped))
    verdicts = verdicts_of(ramped.with_value("scale_out_cooldown", 3600, "a test"), as_planned=ramped)
    late = verdicts["seconds_to_peak_instances"]
    assert not late.passed and late.choice == "scale_out_cooldown"
    assert late.recommended == ramped.value("scale_out_cooldown")


def test_what_did_not_come_about_has_failed(good: ScalingPlan) -> None:
    choice, predicted = good.predictions["lag_total"]
    verdict = judge_prediction(choice, predicted, ObservedValue(None, "nothing was seen"))
    assert (verdict.passed, verdict.state, verdict.why) == (False, "FAIL", "nothing was seen")
    assert "**FAIL**" in verdict_table([verdict])


@pytest.mark.parametrize("value", [None, 0.0, 240.0, 9999.0])
def test_a_disturbed_stage_neither_passes_nor_fails_and_recommends_nothing(
    good: ScalingPlan, value: float | None
) -> None:
    choice, predicted = good.predictions["function_p95_at_peak"]
    verdict = judge_prediction(choice, predicted, ObservedValue(value, "seen", 500, disturbed="peak: the disk stalled"))
    assert (verdict.state, verdict.why, verdict.recommended) == ("INCONCLUSIVE", "peak: the disk stalled", None)


def test_a_share_of_so_few_requests_that_chance_decides_is_inconclusive(good: ScalingPlan) -> None:
    choice, predicted = good.predictions["spillover_at_baseline"]
    few, enough = (judge_prediction(choice, predicted, ObservedValue(predicted.value, "counted", n)) for n in (11, 200))
    assert (few.state, enough.state) == ("INCONCLUSIVE", "PASS")
    assert few.why.startswith("n = 11 is too few: the sampling error alone is ±")


def test_what_this_machine_times_may_miss_its_range_by_the_noise_of_the_machine(good: ScalingPlan) -> None:
    choice, predicted = good.predictions["lag_decision"]
    late = ObservedValue(predicted.high + 5.0, "seen")
    assert judge_prediction(choice, predicted, late).state == "FAIL"
    noisy = judge_prediction(choice, replace(predicted, noise=6.0), late)
    assert noisy.state == "PASS" and noisy.margin == pytest.approx(1.0) and "6 s of this machine" in noisy.range


def marked(good: ScalingPlan, *stages: str) -> ProfileObservation:
    observation = seen_by_simulation(good, profile_for(good))
    reasons = dict.fromkeys(stages, "other programs took 90% of the processors")
    return replace(observation, disturbed=reasons, disturbed_by_others=reasons)


def test_only_what_rests_on_a_disturbed_stage_is_inconclusive(good: ScalingPlan) -> None:
    observation = marked(good, "baseline")
    found = judge(good, observe_values(good, profile_for(good), observation), [observation], tests_function=True)
    states = {verdict.name: verdict.state for verdict in found}
    open_ = {name for name, state in states.items() if state == "INCONCLUSIVE"}
    assert open_ == {"instances_at_baseline", "spillover_at_baseline", "monthly_cost"}
    assert set(states.values()) == {"PASS", "INCONCLUSIVE"}


def test_all_that_comes_after_a_disturbed_rise_rests_on_it(good: ScalingPlan) -> None:
    observation = marked(good, "ramp")
    found = judge(good, observe_values(good, profile_for(good), observation), [observation], tests_function=True)
    passed = {verdict.name for verdict in found if verdict.passed}
    exact = {"run_invalid", "requests_lost", "requests_in_cloudwatch"}
    assert passed == {"instances_at_baseline", "spillover_at_baseline", *exact}
    assert failed(found) == ()


def test_a_plan_that_jams_the_machine_by_its_own_load_is_not_excused_by_that(good: ScalingPlan) -> None:
    bad = good.with_value("target_value", 10 * good.value("target_value"), "a test")
    jammed = dict.fromkeys(("ramp", "peak", "spike", "return"), "waiting for a processor 100% (bound 57%)")
    observation = replace(seen_by_simulation(bad, profile_for(bad)), disturbed=jammed)
    verdicts = {
        each.name: each
        for each in judge(bad, observe_values(bad, profile_for(bad), observation), [observation], tests_function=True)
    }
    assert verdicts["instances_at_peak"].state == "FAIL" and verdicts["lag_total"].state == "INCONCLUSIVE"


def test_what_did_not_come_about_undisturbed_is_not_made_good_by_another_run() -> None:
    missed, late = ObservedValue(None, "no scale-out was decided"), ObservedValue(120.0, "seen in another run")
    assert join_values([{"lag": missed}, {"lag": late}])["lag"] == missed
    unsure = ObservedValue(None, "no scale-out was decided", disturbed="the disk stalled")
    assert join_values([{"lag": unsure}, {"lag": late}])["lag"] == late


def test_a_part_that_is_run_again_undisturbed_settles_what_was_open(good: ScalingPlan) -> None:
    profile, observation = profile_for(good), marked(good, "ramp")
    again = seen_by_simulation(good, profile.until("return"))
    several = join_values([observe_values(good, profile, observation), observe_values(good, profile, again)])
    found = judge(good, several, [observation, again], tests_function=True)
    assert {verdict.state for verdict in found} == {"PASS"}, verdict_table(found)
    assert len(found) == len({verdict.name for verdict in found})


def test_a_request_that_one_run_lost_is_not_made_good_by_another(good: ScalingPlan) -> None:
    observation = seen_by_simulation(good, profile_for(good))
    losing = replace(observation, counts=replace(observation.counts, answered=observation.counts.answered - 1))
    for runs in ([losing, observation], [observation, losing]):
        verdicts = judge(good, observe_values(good, profile_for(good), observation), runs, tests_function=True)
        assert [verdict.name for verdict in failed(verdicts)] == ["requests_lost"]


def test_the_tally_names_what_failed_and_what_is_open(good: ScalingPlan) -> None:
    passed = list(verdicts_of(good).values())
    assert verdict_counts(passed) == f"all {len(passed)} verdicts passed"
    mixed = [replace(passed[0], state="FAIL"), replace(passed[1], state="INCONCLUSIVE"), *passed[2:]]
    assert verdict_counts(mixed) == f"{len(passed) - 2} of {len(passed)} verdicts passed, 1 failed, 1 inconclusive"


@pytest.mark.parametrize(("value", "passed"), [(0.0, True), (0.01, True), (0.2, False)])
def test_a_share_may_miss_its_range_by_its_sampling_error_only(good: ScalingPlan, value: float, passed: bool) -> None:
    choice, predicted = good.predictions["throttled_at_spike"]
    assert judge_prediction(choice, predicted, ObservedValue(value, "counted", samples=1000)).passed is passed


def test_a_bound_holds_an_upper_limit_and_breaks_none(good: ScalingPlan) -> None:
    choice, predicted = good.predictions["endpoint_p95_at_peak"]
    assert judge_prediction(choice, predicted, ObservedValue(249.0, "at most", 500, is_upper_bound=True)).passed
    choice, predicted = good.predictions["lag_total"]
    at_most = ObservedValue(predicted.value, "at most", is_upper_bound=True)
    assert not judge_prediction(choice, predicted, at_most).passed, "the true value may lie below the lower limit"


def test_a_p95_above_the_slo_through_the_function_says_nothing_of_the_endpoint(good: ScalingPlan) -> None:
    profile = profile_for(good)
    observation = seen_by_simulation(good, profile)
    slow = tuple(replace(each, p95_ms=300.0) if each.name == "peak" else each for each in observation.stages)
    found = observe_values(good, profile, replace(observation, stages=slow))
    assert found["function_p95_at_peak"].value == 300.0
    assert found["endpoint_p95_at_peak"].value is None and "test it directly" in found["endpoint_p95_at_peak"].how


def test_a_run_directly_at_the_endpoint_is_preferred_to_a_bound() -> None:
    bound, exact = ObservedValue(80.0, "at most", 200, is_upper_bound=True), ObservedValue(45.0, "directly", 200)
    assert join_values([{"p95": bound}, {"p95": exact}])["p95"] == exact
    assert join_values([{"p95": bound}, {"p95": ObservedValue(None, "too few", lacks_samples=True)}])["p95"] == bound


def test_a_profile_directly_at_the_endpoint_is_not_held_against_the_function(good: ScalingPlan) -> None:
    profile = profile_for(good)
    observation = replace(seen_by_simulation(good, profile), through="endpoint")
    verdicts = judge(good, observe_values(good, profile, observation), [observation], tests_function=False)
    assert {verdict.choice for verdict in verdicts}.isdisjoint({"reserved_concurrency", "function_memory"})
    assert failed(verdicts) == ()


def with_counts(good: ScalingPlan, counts: RequestCounts) -> dict[str, Verdict]:
    profile = profile_for(good)
    observation = replace(seen_by_simulation(good, profile), counts=counts)
    found = judge(good, observe_values(good, profile, observation), [observation], tests_function=True)
    return {verdict.name: verdict for verdict in found}


@pytest.mark.parametrize(
    ("counts", "caught"),
    [
        (RequestCounts(100, 90, 10, 5, 0, 105.0), set[str]()),
        (RequestCounts(100, 90, 9, 5, 0, 105.0), {"requests_lost"}),
        (RequestCounts(100, 90, 10, 5, 0, 104.0), {"requests_in_cloudwatch"}),
        (RequestCounts(100, 90, 10, 5, 0, 106.0), {"requests_in_cloudwatch"}),
        (RequestCounts(100, 90, 10, 5, 2, 103.0), set[str]()),
        (RequestCounts(100, 90, 10, 5, 0, None), {"requests_in_cloudwatch"}),
    ],
)
def test_every_request_is_accounted_for_exactly(good: ScalingPlan, counts: RequestCounts, caught: set[str]) -> None:
    assert lost(with_counts(good, counts)) == caught


def test_a_void_run_says_nothing_but_that_its_requests_are_accounted_for(good: ScalingPlan) -> None:
    profile = profile_for(good)
    observation = replace(seen_by_simulation(good, profile), is_valid=False, why_invalid="the processor was 95 % busy")
    verdicts = judge(good, observe_values(good, profile, observation), [observation], tests_function=True)
    assert failed(verdicts) == ()
    assert {verdict.name for verdict in verdicts if verdict.passed} == {"requests_lost", "requests_in_cloudwatch"}
    assert {verdict.why for verdict in inconclusive(verdicts)} == {"the processor was 95 % busy"}


def test_a_run_whose_target_went_away_fails(good: ScalingPlan) -> None:
    profile = profile_for(good)
    observation = replace(seen_by_simulation(good, profile), is_valid=False, why_failed="the target went away")
    verdicts = judge(good, observe_values(good, profile, observation), [observation], tests_function=True)
    assert [(verdict.name, verdict.why) for verdict in failed(verdicts)] == [("run_invalid", "the target went away")]


def test_the_cost_is_that_of_the_instances_that_were_observed(good: ScalingPlan) -> None:
    assert good.monthly_cost_usd is not None
    as_planned = verdicts_of(good)["monthly_cost"]
    assert as_planned.observed == pytest.approx(good.monthly_cost_usd, rel=0.01)
    dear = a_plan(monthly_budget_usd=10.0)
    assert verdicts_of(dear)["monthly_cost"].state == "FAIL"


def test_the_tier_that_refused_first_is_named(good: ScalingPlan) -> None:
    observation = seen_by_simulation(good, profile_for(good))
    begin = next(each.begin for each in observation.stages if each.name == "spike")
    refusing = {
        "throttles": (MetricPoint(begin, begin + 3, 4.0),),
        "endpoint_5xx": (MetricPoint(begin + 3, begin + 6, 9.0),),
    }

    def named(observation: ProfileObservation) -> str:
        return first_throttled(observation)

    assert named(replace(observation, series={})) == "no tier throttled or failed"
    assert named(replace(observation, series=refusing)).startswith("the function throttled (429) first")
    assert "(spike)" in named(replace(observation, series=refusing))


@pytest.mark.parametrize(
    ("name", "observed", "recommended"),
    [
        ("instances_at_peak", 1.0, 8.0),  # a third of the instances: a third of the target of 24
        ("instances_at_baseline", 2.0, 2.0),
        ("function_p95_at_peak", 300.0, 512.0),
        ("lag_startup", 500.0, 600.0),
        ("lag_metric", 500.0, None),
        ("seconds_to_baseline_instances", 9999.0, None),
    ],
)
def test_a_failing_verdict_recommends_what_was_seen(
    good: ScalingPlan, name: str, observed: float, recommended: float | None
) -> None:
    choice, predicted = good.predictions[name]
    scaled = None if recommended is None else recommended
    if name == "instances_at_peak":
        scaled = round(good.value("target_value") / 3, 3)
    assert recommend(choice, predicted, observed) == scaled
