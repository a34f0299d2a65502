"""Builds a traffic statement and measurements with round numbers, which tests change by keyword."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tasks.scaling.plan import Limits, Prices, ScalingPlan, ScalingRules, plan_scaling
from tasks.scaling.traffic import Figure, Measured, Traffic

PRICES = Prices(instance_usd_per_hour=0.10, source="the test's")


def figure(value: float, n: int = 500) -> Figure:
    """Return a measured value of a run file."""
    return Figure(value, n, "runs/r/loadtest/ladder.json")


def traffic(**changes: Any) -> Traffic:
    """Return a statement of 5 → 40 requests/s in half an hour, spikes of 60, p95 ≤ 500 ms."""
    return replace(Traffic(5.0, 40.0, 60.0, 1800.0, 500.0, 0.01, 0.01, 500.0, 0.25), **changes)


def measured(**changes: Any) -> Measured:
    """Return 20 requests/s an instance, started in 120 s, and a function that takes 50 ms (p95 100, cold 300 more)."""
    figures: dict[str, Any] = {
        "max_rps_per_instance": figure(20),
        "service_p50_ms": figure(25),
        "service_p95_ms": figure(40),
        "function_mean_ms": figure(50),
        "function_p50_ms": figure(45),
        "function_p95_ms": figure(100),
        "cold_start_ms": figure(300, 12),
        "instance_startup_seconds": figure(120, 3),
    }
    return replace(Measured(**figures, instance_type="ml.m5.large", function_memory_mb=256), **changes)


def plan(
    *,
    rules: ScalingRules | None = None,
    limits: Limits | None = None,
    prices: Prices = PRICES,
    measures: dict[str, Any] | None = None,
    **changes: Any,
) -> ScalingPlan:
    """Plan the deployment above; further keywords change the traffic statement, `measures` the measurements."""
    return plan_scaling(traffic(**changes), measured(**(measures or {})), prices, rules=rules, limits=limits)
