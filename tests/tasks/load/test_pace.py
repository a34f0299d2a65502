"""Tests that the demo fits the machine: the plan is the same everywhere, with lower rates on a slow or busy machine."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from tasks.load.pace import ENOUGH, REFERENCE_UNITS, STEPS, Pace, demo_share, measure_pace
from tasks.load.profile import profile_for
from tasks.run.machine import usable_processors
from tasks.scaling.plan import ScalingPlan, ScalingRules, plan_scaling
from tasks.scaling.traffic import SAMPLE_TRAFFIC
from tests.polling import wait_until
from tests.tasks.scaling.deployments import PRICES, figure, measured


@pytest.mark.parametrize(
    ("of_reference", "share"), [(4.0, 1.0), (0.96, 1.0), (0.94, 0.7), (0.61, 0.5), (0.41, 0.35), (0.01, 0.25)]
)
def test_the_share_is_the_largest_step_that_the_machine_carries(of_reference: float, share: float) -> None:
    assert demo_share(of_reference * REFERENCE_UNITS) == share


def test_no_machine_gets_a_story_that_it_does_not_carry() -> None:
    for units in range(int(REFERENCE_UNITS / 4), int(2 * REFERENCE_UNITS), 50):
        assert ENOUGH * demo_share(units) * REFERENCE_UNITS <= units
    assert tuple(sorted(STEPS, reverse=True)) == STEPS


def measure_alone_and_beside_programs() -> tuple[Pace, Pace]:
    alone = measure_pace(0.5)
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * usable_processors())]
    try:
        return alone, measure_pace(1.0)
    finally:
        for program in programs:
            program.kill()
            program.wait()


def test_programs_that_compute_beside_it_make_the_machine_slower() -> None:
    """Measured again where other tests computed only during the first of the two measurements."""
    alone, _ = wait_until(
        measure_alone_and_beside_programs,
        "a pace that is lower beside programs that compute",
        60,
        holds=lambda paces: 0 < paces[1].units < 0.75 * paces[0].units,
    )
    assert alone.processors == usable_processors()
    assert f"{alone.units:,.0f} units" in alone.text


def story(pace: float) -> ScalingPlan:
    """Plan the demo for instances that carry 4 requests at once, 40 ms or more each at full pace."""
    found = measured(
        max_rps_per_instance=figure(96 * pace),
        service_p50_ms=figure(42 / pace),
        service_p95_ms=figure(55 / pace),
        function_mean_ms=figure(43 / pace),
        function_p50_ms=figure(42.5 / pace),
        function_p95_ms=figure(48 / pace),
        cold_start_ms=figure(75, 12),
        time_scale=90 * pace,
    )
    traffic = SAMPLE_TRAFFIC.at_pace(pace)
    return plan_scaling(traffic, found, PRICES, rules=ScalingRules(safety_factor=0.25))


def test_the_same_story_is_told_at_every_pace() -> None:
    """Check that instances, target, executions and cooldowns are the same, and that only wall time is longer."""
    whole = story(1.0)
    for pace in STEPS:
        slow = story(pace)
        for name in ("min_instances", "max_instances", "target_value", "reserved_concurrency", "scale_in_cooldown"):
            assert slow.value(name) == pytest.approx(whole.value(name)), (pace, name)
        assert (whole.count("min_instances"), whole.count("max_instances")) == (1, 3)
        ratio = profile_for(slow).seconds / profile_for(whole).seconds
        assert ratio == pytest.approx(1 / pace, rel=0.12)


def test_a_statement_keeps_what_is_no_rate_and_no_latency() -> None:
    half = SAMPLE_TRAFFIC.at_pace(0.5)
    assert (half.baseline_rps, half.peak_rps, half.slo_p95_ms) == (4.0, 30.0, 800.0)
    assert replace(half, baseline_rps=8.0, peak_rps=60.0, spike_rps=64.0, slo_p95_ms=400.0) == SAMPLE_TRAFFIC
