"""Derives every scaling and concurrency number of a deployment from its traffic statement and its measurements.

`plan_scaling` is pure: the plan depends on its arguments only. When the plan misses a limit of the statement or exceeds
the budget, a warning says so and says what to change; the numbers are never lowered to hide it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tasks.scaling.choice import Choice, Input, Prediction, ScalingPlan
from tasks.scaling.endpoint import endpoint_choices
from tasks.scaling.endpoint_sizing import EndpointSizing
from tasks.scaling.function import function_choices
from tasks.scaling.function_sizing import FunctionSizing
from tasks.scaling.prices import Prices, list_prices
from tasks.scaling.rules import (
    NEW_ENVIRONMENTS_PER_SECOND,
    PERIOD_SECONDS,
    SCALING_RATE,
    UNRESERVED_MINIMUM,
    Limits,
    ScalingRules,
)
from tasks.scaling.traffic import Measured, Traffic

__all__ = [
    "Choice",
    "Input",
    "Limits",
    "Prediction",
    "Prices",
    "ScalingPlan",
    "ScalingRules",
    "list_prices",
    "plan_scaling",
]

MIN_REQUESTS_PER_MINUTE = 30.0
"""With fewer requests in a minute of AWS time, the relative spread of one minute's count is above 18 % (Poisson)."""


def plan_scaling(
    traffic: Traffic,
    measured: Measured,
    prices: Prices,
    *,
    rules: ScalingRules | None = None,
    limits: Limits | None = None,
) -> ScalingPlan:
    """Return the scaling plan: eight choices, each with formula, inputs, predictions and monthly cost."""
    rules, limits = rules or ScalingRules(), limits or Limits()
    endpoint, function = EndpointSizing(traffic, measured, rules), FunctionSizing(traffic, measured, rules)
    choices = (*endpoint_choices(endpoint, prices, limits), *function_choices(function, prices, limits))
    cost = _total(choices)
    broken = (*_unserved(endpoint, limits), *_unkept(endpoint, function, limits))
    within = None if cost is None else cost <= traffic.monthly_budget_usd
    over = [] if cost is None or within else [_over_budget(endpoint, choices, cost)]
    return ScalingPlan(
        choices=choices,
        traffic=traffic,
        measured=measured,
        monthly_cost_usd=cost,
        within_budget=within,
        warnings=(*broken, *over, *_cautions(endpoint, function, prices), *_unreserved(function, limits)),
        is_feasible=not broken,
        prices=prices.source,
    )


def _total(choices: Sequence[Choice]) -> float | None:
    costs = [choice.monthly_cost_usd for choice in choices]
    return None if any(cost is None for cost in costs) else sum(cost for cost in costs if cost is not None)


def _unserved(endpoint: EndpointSizing, limits: Limits) -> Iterator[str]:
    """Yield why the endpoint cannot serve the traffic with any configuration."""
    traffic, measured = endpoint.traffic, endpoint.measured
    if measured.service_p95_ms.value > traffic.slo_p95_ms:
        yield (
            f"no number of instances keeps the SLO: an idle {measured.instance_type} has a p95 of "
            f"{measured.service_p95_ms.value:g} ms and the SLO is {traffic.slo_p95_ms:g} ms; use a faster instance "
            "type or a smaller model, or raise slo_p95_ms"
        )
    yield from _machine_binds(endpoint, limits)
    if limits.instances is not None and endpoint.maximum > limits.instances:
        yield (
            f"the traffic needs {endpoint.maximum} instances and the account's quota of {measured.instance_type} for "
            f"endpoint usage is {limits.instances}; request {endpoint.maximum}, or lower spike_rps to "
            f"{limits.instances * endpoint.max_rps:.4g} and peak_rps to {limits.instances * endpoint.safe_rps:.4g}"
        )


def _machine_binds(endpoint: EndpointSizing, limits: Limits) -> Iterator[str]:
    """Yield a warning where the machine that all instances of the embedded AWS share is the bottleneck."""
    if limits.machine_rps is None:
        return
    traffic, machine_rps = endpoint.traffic, limits.machine_rps
    most = endpoint.most_instances(replace(limits, instances=None))
    said = f"this machine is the bottleneck: all instances together carry {machine_rps:.4g} requests/s here"
    remedy = f"lower spike_rps to {min(traffic.spike_rps, machine_rps):.3g}"
    if most is not None and endpoint.maximum > most:
        yield (
            f"{said}, enough for {most} of the {endpoint.maximum} instances that the traffic needs; {remedy} and "
            f"peak_rps to {min(traffic.peak_rps, most * endpoint.safe_rps):.3g}, or use a machine with more processors"
        )
    elif machine_rps < traffic.spike_rps:
        yield f"{said} and the spike has {traffic.spike_rps:g}; {remedy}, or use a machine with more processors"


def _unkept(endpoint: EndpointSizing, function: FunctionSizing, limits: Limits) -> Iterator[str]:
    """Yield which limits of the statement the function breaks, and which ones the scaling rules give up."""
    traffic = endpoint.traffic
    if function.memory.p95_ms.value > traffic.slo_p95_ms:
        yield (
            f"no measured memory size keeps the SLO through the function: the fastest, {function.memory.memory_mb} MB, "
            f"has a p95 of {function.memory.p95_ms.value:g} ms; measure larger sizes, or raise slo_p95_ms above it"
        )
    if function.reserved > limits.unreserved:
        yield (
            f"the spike needs {function.reserved} executions and the account has {limits.unreserved}; request a "
            f"concurrency quota of {_quota_for(function, limits)}, make the function faster, or lower spike_rps"
        )
    if not endpoint.rules.absorbs_ramp and endpoint.ramp_instances > endpoint.minimum:
        yield (
            f"the first added instance serves {endpoint.lag.value:.0f} s after the rise; until then "
            f"{endpoint.minimum} instances carry {endpoint.minimum * endpoint.max_rps:.4g} requests/s within the SLO, "
            f"which breaks beyond that; set absorbs_ramp, or fewest_instances to {endpoint.ramp_instances}"
        )
    carried = endpoint.for_rate(traffic.peak_rps) * endpoint.max_rps
    if carried < traffic.spike_rps:
        yield (
            f"at a spike of {traffic.spike_rps:g} requests/s the instances carry {carried:.4g} within the SLO, and "
            f"{endpoint.lag.value:.0f} s pass until more of them serve; set bears_spike, or safety_factor to "
            f"{traffic.peak_rps / traffic.spike_rps:.2f}"
        )


def _unreserved(function: FunctionSizing, limits: Limits) -> Iterator[str]:
    """Yield what the account's concurrency is too small to reserve or to provision."""
    remedy = f"request a concurrency quota of {_quota_for(function, limits)}"
    if function.wanted > limits.reservable:
        yield (
            f"the function gets no reservation: it needs {function.wanted} executions and the account can reserve "
            f"{limits.reservable} of {limits.lambda_concurrency}; other functions may use up the {limits.unreserved} "
            f"unreserved ones; {remedy}"
        )
    if function.provisioned > limits.reservable:
        yield (
            f"{limits.reservable} of {function.provisioned} executions can be provisioned, so more requests meet a "
            f"cold start; {remedy}"
        )


def _quota_for(function: FunctionSizing, limits: Limits) -> int:
    """Return the account's quota with which everything can be reserved."""
    return max(function.wanted, function.provisioned) + limits.reserved_by_others + UNRESERVED_MINIMUM


def _over_budget(endpoint: EndpointSizing, choices: Sequence[Choice], cost: float) -> str:
    budget = endpoint.traffic.monthly_budget_usd
    by_name = {choice.name: choice.monthly_cost_usd or 0.0 for choice in choices}
    instances = by_name["min_instances"] + by_name["target_value"]
    dearest, price = max((("instances", instances), *by_name.items()), key=lambda item: item[1])
    saved = cost - by_name["provisioned_concurrency"]
    options = [f"allow {cost:,.2f} USD a month ({price:,.2f} of it for {dearest.replace('_', ' ')})"]
    if saved <= budget:
        options.append("set provisioned_concurrency to 0 and accept cold starts")
    if instances > budget:
        options.append(
            "use an instance type that is cheaper per request, or a longer ramp_seconds, which needs a smaller minimum"
        )
    options.append("lower peak_rps or peak_share")
    return f"the plan is over the budget of {budget:,.2f} USD by {cost - budget:,.2f}: " + "; or ".join(options)


def _cautions(endpoint: EndpointSizing, function: FunctionSizing, prices: Prices) -> Iterator[str]:
    traffic, measured = endpoint.traffic, endpoint.measured
    if prices.instance_usd_per_hour is None:
        yield (
            f"the price of {measured.instance_type} is unknown, so the plan's cost is unknown; pass "
            "Prices(instance_usd_per_hour=…)"
        )
    a_minute = traffic.baseline_rps * PERIOD_SECONDS / measured.time_scale
    if a_minute < MIN_REQUESTS_PER_MINUTE:
        scale = max(1.0, traffic.baseline_rps * PERIOD_SECONDS / MIN_REQUESTS_PER_MINUTE)
        yield (
            f"a minute of AWS time holds {a_minute:.3g} requests at the baseline, ±{a_minute**-0.5:.0%} by chance, so "
            f"instance counts vary; a time scale of at most {scale:.3g} gives {MIN_REQUESTS_PER_MINUTE:g} a minute"
        )
    if measured.disturbed:
        yield f"other programs disturbed the measurement: {measured.disturbed}; measure again on a quieter machine"
    if endpoint.minimum == 1:
        yield "no instance takes over when the only one fails; AWS advises two instances: set fewest_instances to 2"
    burst = (traffic.spike_rps - traffic.peak_rps) * function.mean_seconds
    if burst > 10 * NEW_ENVIRONMENTS_PER_SECOND:
        yield (
            f"a spike needs {burst:.0f} new environments at once and Lambda starts {NEW_ENVIRONMENTS_PER_SECOND:.0f} a "
            f"second ({SCALING_RATE}); provision for the spike by a scheduled action"
        )
