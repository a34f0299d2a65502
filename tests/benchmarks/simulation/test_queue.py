"""Tests of the simulation against closed forms, and of the plan's predictions against the simulation. Seeded."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from benchmarks.simulation.queue import Duration, EndpointModel, FunctionModel, Segment, Simulation, simulate, steps
from tasks.scaling.plan import ScalingPlan, ScalingRules
from tasks.scaling.queueing import erlang_b, mean_wait_seconds
from tasks.scaling.target_tracking import TrackingPolicy
from tests.tasks.scaling.deployments import figure, plan

UNLIMITED = 1e9
SLOTS = 4
SERVICE_MS = 150.0
"""An instance with 4 slots serves at most 4 / 0.15 = 26.7 requests/s, and 20 within the SLO."""

# --- queues and leases ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("slots", "rate"), [(1, 12.0), (2, 40.0), (4, 100.0)])
def test_waiting_agrees_with_erlang_c(slots: int, rate: float) -> None:
    seen = simulate([Segment(rate, 60_000 / rate)], endpoint=EndpointModel(slots, Duration(32, 1.0)), seed=3)
    wait_ms = 1000 * mean_wait_seconds(slots, rate, 0.032)
    assert seen.mean_ms() - 32 == pytest.approx(wait_ms, rel=0.12)


def test_constant_service_halves_the_waiting() -> None:
    """By Pollaczek and Khinchine, the wait in M/G/1 is proportional to 1 + variation²."""
    seen = simulate([Segment(20, 4000)], endpoint=EndpointModel(1, Duration(32, 0.0)), seed=1)
    assert seen.mean_ms() - 32 == pytest.approx(500 * mean_wait_seconds(1, 20, 0.032), rel=0.08)


@pytest.mark.parametrize("variation", [0.0, 0.7, 1.5])
@pytest.mark.parametrize(("executions", "provisioned"), [(8, 0), (8, 3), (20, 5)])
def test_throttles_and_spillover_agree_with_erlang_b_whatever_the_durations(
    variation: float, executions: int, provisioned: int
) -> None:
    function = FunctionModel(
        Duration(70, variation), executions, provisioned, cold_start_ms=0.0, rps_per_execution=UNLIMITED
    )
    seen = simulate([Segment(60, 900)], function=function, seed=5)
    assert seen.share(seen.throttled) == pytest.approx(erlang_b(executions, 4.2), abs=0.006)
    if provisioned:
        spilled = seen.share(seen.spilled) + seen.share(seen.throttled)
        assert spilled == pytest.approx(erlang_b(provisioned, 4.2), abs=0.015)


def test_more_than_ten_requests_a_second_spill_over_however_short_they_are() -> None:
    seen = simulate([Segment(40, 500)], function=FunctionModel(Duration(5), 20, 2), seed=1)
    assert seen.share(seen.spilled) == pytest.approx(1 - 20 / 40, abs=0.03)
    assert seen.share(seen.throttled) == 0.0


def test_only_environments_that_are_not_warm_start_cold() -> None:
    function = FunctionModel(Duration(50), 20, cold_start_ms=300, idle_seconds=300)
    busy = simulate([Segment(20, 200)], function=function, seed=1)
    assert 1 <= busy.cold.sum() <= 12
    assert busy.latency_ms[busy.cold].min() == pytest.approx(350)
    idle = simulate([Segment(0.2, 400)], function=function, seed=1, time_scale=600)  # half a second of idling
    assert idle.share(idle.cold) > 0.85


def test_littles_law_holds_between_the_tiers() -> None:
    endpoint = EndpointModel(SLOTS, Duration(SERVICE_MS, 0.4), instances=3, routing="least outstanding")
    seen = simulate([Segment(30, 400)], endpoint=endpoint, function=FunctionModel(Duration(10), 100, 100), seed=2)
    ends = seen.arrived + seen.latency_ms / 1000
    moments = np.linspace(50, 350, 4000)
    in_flight = np.searchsorted(np.sort(seen.arrived), moments) - np.searchsorted(np.sort(ends), moments)
    assert in_flight.mean() == pytest.approx(30 * seen.mean_ms() / 1000, rel=0.05)


def test_every_request_is_answered_failed_or_throttled() -> None:
    endpoint = EndpointModel(1, Duration(200, 1.0), timeout_seconds=2.0)
    seen = simulate([Segment(20, 60)], endpoint=endpoint, function=FunctionModel(Duration(1), 12), seed=2)
    answered = int((~np.isnan(seen.latency_ms)).sum())
    failed = round(seen.failed() * seen.arrived.size)
    assert answered + failed + int(seen.throttled.sum()) == seen.arrived.size
    assert min(answered, failed, int(seen.throttled.sum())) > 0


def test_the_same_seed_gives_the_same_run_and_another_seed_another_run() -> None:
    runs = [simulate([Segment(20, 20)], endpoint=EndpointModel(1, Duration(30, 1.0)), seed=seed) for seed in (1, 1, 2)]
    assert np.array_equal(runs[0].latency_ms, runs[1].latency_ms)
    assert runs[0].arrived.size != runs[2].arrived.size or not np.array_equal(runs[0].arrived, runs[2].arrived)


def test_nothing_to_simulate_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to simulate"):
        simulate([Segment(1, 1)])
    with pytest.raises(ValueError, match="no request arrives"):
        simulate([], endpoint=EndpointModel(1, Duration(1)))


# --- the plan's predictions -------------------------------------------------------------------------------------------

BASE, RAMP, PEAK, SPIKE = 10 * 60.0, 1800.0, 20 * 60.0, 5 * 60.0
RETURN = 60 * 60.0
"""The duration of each stage in AWS seconds."""


def run(made: ScalingPlan, *, seed: int) -> Simulation:
    """Simulate the plan's load profile: baseline, ramp, peak, spike, baseline."""
    traffic, scale = made.traffic, made.measured.time_scale
    ramp = (
        steps(traffic.baseline_rps, traffic.peak_rps, traffic.ramp_seconds / scale, 60) if traffic.ramp_seconds else []
    )
    load = [
        Segment(traffic.baseline_rps, BASE / scale),
        *ramp,
        Segment(traffic.peak_rps, PEAK / scale),
        Segment(traffic.spike_rps, SPIKE / scale),
        Segment(traffic.baseline_rps, RETURN / scale),
    ]
    policy = TrackingPolicy(
        made.value("target_value"),
        made.count("min_instances"),
        made.count("max_instances"),
        made.value("scale_out_cooldown"),
        made.value("scale_in_cooldown"),
    )
    startup = made.measured.instance_startup_seconds.value
    endpoint = EndpointModel(
        SLOTS, Duration(SERVICE_MS, 0.3), made.count("min_instances"), startup, policy, routing="least outstanding"
    )
    return simulate(load, endpoint=endpoint, time_scale=scale, seed=seed)


def reached(seen: Simulation, count: int, after: float) -> float:
    """Return the wall seconds from `after` until `count` instances serve; NaN if they never do."""
    if seen.instances_at(after) >= count:
        return 0.0
    return next((each.completed - after for each in seen.activities if each.after >= count), math.nan)


PLANS: dict[str, dict[str, Any]] = {
    "as stated": {},
    "ten times the load": {
        "measures": {"time_scale": 10.0},
        "baseline_rps": 50.0,
        "peak_rps": 400.0,
        "spike_rps": 600.0,
    },
    "a fast ramp": {"ramp_seconds": 600.0},
    "twenty times faster": {
        "measures": {"time_scale": 20.0},
        "baseline_rps": 50.0,
        "peak_rps": 300.0,
        "spike_rps": 500.0,
    },
    "slow to start": {"measures": {"instance_startup_seconds": figure(400)}},
}


@pytest.mark.parametrize("changes", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_instances_and_times_are_as_predicted(changes: dict[str, Any], seed: int) -> None:
    made = plan(**changes)
    assert made.is_feasible
    scale, ramp = made.measured.time_scale, made.traffic.ramp_seconds
    seen, expected = run(made, seed=seed), {name: each for name, (_, each) in made.predictions.items()}
    rise, fall = BASE, BASE + ramp + PEAK + SPIKE
    observed = {
        "instances_at_baseline": seen.instances_at(rise / scale),
        "instances_at_peak": seen.instances_at((rise + ramp + PEAK) / scale),
        "instances_at_spike": seen.instances_at(fall / scale),
        "seconds_to_peak_instances": scale * reached(seen, round(expected["instances_at_peak"].low), rise / scale),
        "endpoint_p95_at_peak": seen.percentile_ms(95, (rise + ramp) / scale, (rise + ramp + PEAK) / scale),
        "errors_at_peak": seen.failed((rise + ramp) / scale, (rise + ramp + PEAK) / scale),
    }
    missed = {name: value for name, value in observed.items() if not expected[name].holds(value)}
    assert missed == {}


@pytest.mark.parametrize("seed", [1, 2])
def test_the_slo_is_met_during_ramp_and_spike(seed: int) -> None:
    made = plan(ramp_seconds=600.0)
    seen = run(made, seed=seed)
    assert seen.percentile_ms(95, BASE, BASE + 600) <= made.traffic.slo_p95_ms
    assert seen.percentile_ms(95, BASE + 600 + PEAK, BASE + 600 + PEAK + SPIKE) <= made.traffic.slo_p95_ms


def test_a_ramp_that_is_not_absorbed_breaks_the_slo_as_the_warning_says() -> None:
    made = plan(ramp_seconds=0.0, rules=ScalingRules(absorbs_ramp=False))
    seen = run(made, seed=1)
    lag = made.predictions["lag_total"][1]
    first = seen.activities[0].completed - BASE
    assert lag.holds(first)
    assert seen.percentile_ms(95, BASE, BASE + first) > made.traffic.slo_p95_ms


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_way_back_takes_as_long_as_predicted(seed: int) -> None:
    made = plan()
    seen = run(made, seed=seed)
    fall = BASE + made.traffic.ramp_seconds + PEAK + SPIKE
    back = next(each.completed - fall for each in seen.activities if each.after == 1 and each.completed > fall)
    assert made.predictions["seconds_to_baseline_instances"][1].holds(back)


@pytest.mark.parametrize(
    ("name", "value", "broken"),
    [
        ("target_value", 6000.0, "instances_at_peak"),
        ("scale_in_cooldown", 3600.0, "seconds_to_baseline_instances"),
        ("max_instances", 2.0, "instances_at_peak"),
    ],
)
def test_a_wrong_number_breaks_its_own_prediction(name: str, value: float, broken: str) -> None:
    made = plan().with_value(name, value, "bad on purpose")
    seen = run(made, seed=1)
    peak_ends = BASE + made.traffic.ramp_seconds + PEAK
    fall = peak_ends + SPIKE
    back = next((each.completed - fall for each in seen.activities if each.after == 1 and each.completed > fall), 1e9)
    observed = {"instances_at_peak": seen.instances_at(peak_ends), "seconds_to_baseline_instances": back}
    assert not made.predictions[broken][1].holds(observed[broken])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"baseline_rps": 15.0},
        {"measures": {"cold_start_ms": figure(2000)}},
        {"peak_rps": 100.0, "spike_rps": 190.0},
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_spillover_throttles_and_concurrency_are_as_predicted(changes: dict[str, Any], seed: int) -> None:
    made = plan(**changes)
    expected = {name: each for name, (_, each) in made.predictions.items()}
    function = FunctionModel(
        Duration(50, 0.5), made.count("reserved_concurrency"), made.count("provisioned_concurrency")
    )
    for stage, rate in (("baseline", made.traffic.baseline_rps), ("peak", made.traffic.peak_rps)):
        seen = simulate([Segment(rate, 3000 / rate)], function=function, seed=seed)
        assert expected[f"spillover_at_{stage}"].holds(seen.share(seen.spilled), samples=seen.arrived.size)
    spike = made.traffic.spike_rps
    seen = simulate([Segment(spike, 6000 / spike)], function=function, seed=seed)
    assert expected["throttled_at_spike"].holds(seen.share(seen.throttled), samples=seen.arrived.size)
    assert expected["concurrency_at_spike"].holds(spike * seen.mean_ms() / 1000)


def test_too_little_reserved_breaks_its_own_prediction() -> None:
    made = plan().with_value("reserved_concurrency", 3, "bad on purpose")
    function = FunctionModel(Duration(50, 0.5), made.count("reserved_concurrency"), 1)
    seen = simulate([Segment(60, 60)], function=function, seed=1)
    assert not made.predictions["throttled_at_spike"][1].holds(seen.share(seen.throttled), samples=seen.arrived.size)
