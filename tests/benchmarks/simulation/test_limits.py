"""Tests of the limits at a million requests per second, and of the minute-by-minute simulation."""

from __future__ import annotations

import time

import numpy as np
import pytest

from benchmarks.simulation.fleet import FleetModel, LeaseFleet, simulate_fleet
from benchmarks.simulation.limits import bounds, study, study_markdown
from benchmarks.simulation.queue import Duration, EndpointModel, Segment, simulate
from tasks.scaling.plan import Limits
from tasks.scaling.target_tracking import TrackingPolicy
from tests.tasks.scaling.deployments import PRICES, figure, measured, traffic

POLICY = TrackingPolicy(target=600.0, minimum=1, maximum=40, scale_out_cooldown=180, scale_in_cooldown=420)


def test_quotas_bind_in_the_order_of_their_rates() -> None:
    found = bounds(measured(), PRICES, traffic(), limits=Limits(instances=20))
    assert [bound.binds_at_rps for bound in found] == sorted(bound.binds_at_rps for bound in found)
    by_name = {bound.name: bound for bound in found}
    assert by_name["Lambda's concurrent executions"].binds_at_rps == pytest.approx(900 / 0.05)
    assert by_name["Lambda's requests a second"].binds_at_rps == 9000
    assert by_name["the endpoint's instances"].binds_at_rps == 20 * 10
    assert all(bound.formula and bound.source and bound.remedy for bound in found)


def test_short_functions_are_bound_by_requests_a_second_long_ones_by_executions() -> None:
    def first(mean_ms: float) -> str:
        made = measured(function_mean_ms=figure(mean_ms))
        found = bounds(made, PRICES, traffic(monthly_budget_usd=1e9))
        return found[0].name

    assert (first(20), first(500)) == ("Lambda's requests a second", "Lambda's concurrent executions")


def test_the_budget_binds_where_the_cost_reaches_it() -> None:
    made = {bound.name: bound for bound in bounds(measured(), PRICES, traffic(monthly_budget_usd=730.0))}
    # 10 requests/s cost one instance, 73 USD, and 26.28 million invocations of 0.05 s and 256 MB
    ten = 73.0 + 10 * 730 * 3600 * (0.2e-6 + 0.05 * 0.25 * 0.0000166667)
    assert made["the monthly budget"].binds_at_rps == pytest.approx(730.0 / ten * 10)


def test_a_million_requests_a_second_need_ten_thousand_instances_and_time_to_grow() -> None:
    begun = time.process_time()
    rows = study(measured(max_rps_per_instance=figure(200)), PRICES, traffic())
    assert time.process_time() - begun < 5.0
    million = rows[-1]
    assert (million.rps, million.instances, million.executions) == (1e6, 10_000, 100_000)
    assert {bound.name for bound in million.first} >= {"Lambda's concurrent executions", "Lambda's requests a second"}
    assert million.minutes_to_keep_up > 10
    assert million.throttled_share > 0.02 and million.lost_share > 0.1
    assert rows[0].lost_share == 0.0 and rows[0].first == ()
    assert "| 1,000,000 | 10,000 | 100,000 |" in study_markdown(rows, measured(max_rps_per_instance=figure(200)))


def test_every_arrival_is_throttled_answered_lost_or_still_waiting() -> None:
    fleet = FleetModel(20.0, 120.0, POLICY, 1)
    run = simulate_fleet([5.0] * 5 + [300.0] * 20, fleet, leases=LeaseFleet(0.5, 120, 3, new_per_second=0.05), seed=4)
    kept = run.throttled + run.answered + run.lost
    waiting = np.cumsum(run.arrived - kept)
    assert np.all(waiting > -1e-6)
    assert run.throttled.sum() > 0 and run.lost.sum() > 0
    assert run.executions.max() <= 120


def test_both_simulations_give_the_same_instances() -> None:
    """Compare the instances per minute for a step from 5 to 150 requests/s that overloads the growing fleet."""
    before, after = 10, 50
    run = simulate_fleet([5.0] * before + [150.0] * after, FleetModel(20.0, 120.0, POLICY, 1), seed=1)
    endpoint = EndpointModel(
        2, Duration(100.0, 0.0), 1, 120.0, POLICY, routing="least outstanding", timeout_seconds=60.0
    )
    seen = simulate([Segment(5.0, before * 60.0), Segment(150.0, after * 60.0)], endpoint=endpoint, seed=1)
    assert run.instances[-1] == pytest.approx(seen.instances_at((before + after) * 60.0), abs=1)
    for count in (2, 4, 8, 15):
        at = next(each.completed for each in seen.activities if each.after >= count) / 60
        assert int(np.argmax(run.instances >= count)) == pytest.approx(at, abs=4)
    lost = seen.failed(before * 60.0)
    assert float(run.lost.sum() / run.arrived[before:].sum()) == pytest.approx(lost, abs=0.1)


def test_no_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing to simulate"):
        simulate_fleet([], FleetModel(20.0, 120.0, POLICY, 1))
