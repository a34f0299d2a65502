"""Find the limits that bind when the load of a measured deployment grows to 1,000,000 requests per second.

Quotas are computed by formula, and growth is simulated. Quotas are AWS's defaults unless `Limits` sets others.
SageMaker's quota of InvokeEndpoint calls is not included, because it differs by account (see Service Quotas). The
function's duration is assumed to stay as measured while the endpoint is overloaded. In reality it grows, so that more
requests are throttled and fewer are lost. Pure functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.simulation.fleet import FleetModel, LeaseFleet, simulate_fleet
from tasks.scaling.endpoint_sizing import EndpointSizing
from tasks.scaling.function_sizing import FunctionSizing
from tasks.scaling.prices import Prices
from tasks.scaling.queueing import concurrency, round_up
from tasks.scaling.rules import (
    LAMBDA_QUOTAS,
    NEW_ENVIRONMENTS_PER_SECOND,
    RPS_PER_ENVIRONMENT,
    SCALING_RATE,
    Limits,
    ScalingRules,
)
from tasks.scaling.target_tracking import TrackingPolicy
from tasks.scaling.traffic import Measured, Traffic

DECADES = (100.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0)
JUMP = 10.0
_MINUTES = 240
_GROWTH = (
    f"Lambda starts at most {NEW_ENVIRONMENTS_PER_SECOND:.0f} environments a second for one function ({SCALING_RATE}); "
    "an overloaded fleet's metric counts what it answers, so that one scale-out multiplies it by 1 / safety at most."
)
_INSTANCE_QUOTA = "Service Quotas, '<type> for endpoint usage'"


@dataclass(frozen=True)
class Bound:
    """A limit and the rate (requests/s) at which it binds, which is infinite when it never does."""

    name: str
    binds_at_rps: float
    formula: str
    source: str
    remedy: str


@dataclass(frozen=True)
class ScaleRow:
    """The resources that a rate needs, and the requests that a tenfold jump to it costs while the fleet grows.

    `first` are the limits that bind at or below the rate, the lowest first. The shares are of the requests from the
    jump until nothing more is lost, for a deployment with raised quotas, so that only growth binds.
    """

    rps: float
    instances: int
    executions: int
    monthly_cost_usd: float | None
    first: tuple[Bound, ...]
    minutes_to_keep_up: int
    throttled_share: float
    lost_share: float


def bounds(measured: Measured, prices: Prices, traffic: Traffic, *, limits: Limits | None = None) -> tuple[Bound, ...]:
    """Return every limit of a deployment, sorted by the rate at which it binds."""
    limits = limits or Limits()
    endpoint = EndpointSizing(traffic, measured, ScalingRules())
    seconds = measured.function_mean_ms.value / 1000
    found = [
        Bound(
            "Lambda's concurrent executions",
            limits.reservable / seconds,
            f"(account's quota − reserved by others − 100) / mean duration = {limits.reservable} / {seconds:g} s",
            limits.source,
            "request a higher quota, shorten the function, or call the endpoint directly",
        ),
        Bound(
            "Lambda's requests a second",
            float(limits.reservable * RPS_PER_ENVIRONMENT),
            f"10 × executions = 10 × {limits.reservable}",
            LAMBDA_QUOTAS,
            "the same quota: each execution allows ten requests a second",
        ),
        Bound(
            "the monthly budget",
            _affordable_rps(endpoint, prices, traffic.monthly_budget_usd),
            "budget / (cost of an instance / safe rps + cost of an invocation)",
            prices.source,
            "a larger budget, or an instance type that costs less for each request",
        ),
    ]
    if limits.instances is not None:
        rps = limits.instances * endpoint.safe_rps
        formula = f"quota × safe rps = {limits.instances} × {endpoint.safe_rps:g}"
        found.append(
            Bound("the endpoint's instances", rps, formula, _INSTANCE_QUOTA, "request more, or a larger instance type")
        )
    return tuple(sorted(found, key=lambda bound: bound.binds_at_rps))


def study(
    measured: Measured,
    prices: Prices,
    traffic: Traffic,
    *,
    limits: Limits | None = None,
    rates: Sequence[float] = DECADES,
    seed: int = 0,
) -> tuple[ScaleRow, ...]:
    """Return a row for each rate: what it needs, which limits bind, and which requests a tenfold jump to it costs."""
    all_bounds = bounds(measured, prices, traffic, limits=limits)
    return tuple(_row(measured, prices, traffic, all_bounds, rate, seed) for rate in rates)


def study_markdown(rows: Sequence[ScaleRow], measured: Measured) -> str:
    """Return the study as a Markdown table."""
    carries = measured.max_rps_per_instance
    lines = [
        f"One {measured.instance_type} carries {carries.value:g} requests/s within the SLO (n={carries.n}); the "
        f"function takes {measured.function_mean_ms.value:g} ms; an instance starts in "
        f"{measured.instance_startup_seconds.value:g} s. A jump is from a tenth of the rate to the rate. "
        f"{_GROWTH}",
        "",
        "| requests/s | instances | executions | USD per month | binding limits (at requests/s) | "
        "jump absorbed after | throttled until then | lost until then |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cost = "unknown" if row.monthly_cost_usd is None else f"{row.monthly_cost_usd:,.0f}"
        binding = ", ".join(f"{bound.name} ({bound.binds_at_rps:,.0f})" for bound in row.first) or "nothing"
        lines.append(
            f"| {row.rps:,.0f} | {row.instances:,} | {row.executions:,} | {cost} | {binding} | "
            f"{row.minutes_to_keep_up} min | {row.throttled_share:.1%} | {row.lost_share:.1%} |"
        )
    return "\n".join(lines) + "\n"


def _row(
    measured: Measured, prices: Prices, traffic: Traffic, all_bounds: Sequence[Bound], rps: float, seed: int
) -> ScaleRow:
    endpoint = EndpointSizing(traffic, measured, ScalingRules())
    seconds = measured.function_mean_ms.value / 1000
    instances = round_up(rps / endpoint.safe_rps)
    executions = max(
        round_up(concurrency(rps, seconds) * (1 + endpoint.rules.headroom)), round_up(rps / RPS_PER_ENVIRONMENT)
    )
    before = max(1, round_up(rps / JUMP / endpoint.safe_rps))
    policy = TrackingPolicy(
        target=endpoint.safe_rps * 60,
        minimum=1,
        maximum=2 * instances,
        scale_out_cooldown=endpoint.scale_out_cooldown,
        scale_in_cooldown=endpoint.scale_in_cooldown,
    )
    fleet = FleetModel(endpoint.max_rps, measured.instance_startup_seconds.value, policy, before)
    ready = max(1, round_up(concurrency(rps / JUMP, seconds)))
    run = simulate_fleet([rps] * _MINUTES, fleet, leases=LeaseFleet(seconds, executions, ready), seed=seed)
    until = max(1, run.minutes_until_kept_up())
    arrived = max(1.0, float(run.arrived[:until].sum()))
    return ScaleRow(
        rps=rps,
        instances=instances,
        executions=executions,
        monthly_cost_usd=_cost(endpoint, prices, rps, instances),
        first=tuple(bound for bound in all_bounds if bound.binds_at_rps <= rps),
        minutes_to_keep_up=run.minutes_until_kept_up(),
        throttled_share=float(run.throttled[:until].sum()) / arrived,
        lost_share=float(run.lost[:until].sum()) / arrived,
    )


def _cost(endpoint: EndpointSizing, prices: Prices, rps: float, instances: float) -> float | None:
    serving = prices.instances(instances)
    function = FunctionSizing(endpoint.traffic, endpoint.measured, endpoint.rules)
    memory = function.memory.memory_mb
    invoked = prices.invocations(rps, function.mean_seconds, memory, spilled=1.0)
    return None if serving is None or invoked is None else serving + invoked


def _affordable_rps(endpoint: EndpointSizing, prices: Prices, budget: float) -> float:
    cost = _cost(endpoint, prices, 1.0, 1.0 / endpoint.safe_rps)
    return math.inf if not cost else budget / cost
