"""Derive every scaling and concurrency number of a deployment from its traffic statement and what was measured.

`plan_scaling` is pure: it calls nothing and decides nothing that is not in its arguments. What a plan cannot keep, or
costs too much, is said in its warnings with what to change; it is never hidden by a smaller number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from tasks.scaling.choice import Choice, Input, Prediction, ScalingPlan
from tasks.scaling.endpoint import endpoint_choices
from tasks.scaling.function import FunctionSizing, function_choices
from tasks.scaling.prices import Prices, list_prices
from tasks.scaling.rules import NEW_ENVIRONMENTS_PER_SECOND, PERIOD_SECONDS, SCALING_RATE, Limits, ScalingRules
from tasks.scaling.sizing import EndpointSizing
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

FEWEST_PER_MINUTE = 30.0
"""Below so many requests in a minute of AWS's, one minute's count says little: its spread is above 18 %."""


def plan_scaling(
    traffic: Traffic,
    measured: Measured,
    prices: Prices,
    *,
    rules: ScalingRules | None = None,
    limits: Limits | None = None,
) -> ScalingPlan:
    """Return the plan: eight choices, each with formula, inputs, predictions and monthly cost."""
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
        warnings=(*broken, *over, *_cautions(endpoint, function, prices)),
        is_feasible=not broken,
        prices=prices.source,
    )


def _total(choices: Sequence[Choice]) -> float | None:
    costs = [choice.monthly_cost_usd for choice in choices]
    return None if any(cost is None for cost in costs) else sum(cost for cost in costs if cost is not None)


def _unserved(endpoint: EndpointSizing, limits: Limits) -> Iterator[str]:
    """Say why the endpoint could not serve the traffic, whatever is configured."""
    traffic, measured = endpoint.traffic, endpoint.measured
    if measured.service_p95_ms.value > traffic.slo_p95_ms:
        yield (
            f"no number of instances keeps the SLO: an idle {measured.instance_type} has a p95 of "
            f"{measured.service_p95_ms.value:g} ms, the SLO is {traffic.slo_p95_ms:g} ms; take a faster instance type "
            "or a smaller model, or raise slo_p95_ms"
        )
    yield from _machine_binds(endpoint, limits)
    if limits.instances is not None and endpoint.maximum > limits.instances:
        yield (
            f"{endpoint.maximum} instances are needed, the account's quota of {measured.instance_type} for endpoint "
            f"usage is {limits.instances}; request {endpoint.maximum}, or lower spike_rps to "
            f"{limits.instances * endpoint.max_rps:.4g} and peak_rps to {limits.instances * endpoint.safe_rps:.4g}"
        )


def _machine_binds(endpoint: EndpointSizing, limits: Limits) -> Iterator[str]:
    """Say where the machine that all instances of the embedded AWS share binds, and not the instance."""
    if limits.machine_rps is None:
        return
    traffic, machine_rps = endpoint.traffic, limits.machine_rps
    most = endpoint.most_instances(replace(limits, instances=None))
    said = f"this machine binds, not the instance: all instances together carry {machine_rps:.4g} requests/s here"
    remedy = f"lower spike_rps to {min(traffic.spike_rps, machine_rps):.3g}"
    if most is not None and endpoint.maximum > most:
        yield (
            f"{said}, which feeds {most} of the {endpoint.maximum} that the traffic needs; {remedy} and peak_rps to "
            f"{min(traffic.peak_rps, most * endpoint.safe_rps):.3g}, or take a machine with more processors"
        )
    elif machine_rps < traffic.spike_rps:
        yield f"{said}, the spike has {traffic.spike_rps:g}; {remedy}, or take a machine with more processors"


def _unkept(endpoint: EndpointSizing, function: FunctionSizing, limits: Limits) -> Iterator[str]:
    """Say which promises the function breaks, and where rules give up what was stated."""
    traffic = endpoint.traffic
    if function.memory.p95_ms.value > traffic.slo_p95_ms:
        yield (
            f"no measured memory size keeps the SLO through the function: the fastest, {function.memory.memory_mb} MB, "
            f"has a p95 of {function.memory.p95_ms.value:g} ms; measure larger sizes, or raise slo_p95_ms above that"
        )
    if function.reserved > limits.reservable:
        wanted = function.reserved + limits.lambda_concurrency - limits.reservable
        yield (
            f"{function.reserved} executions are needed at the spike, the account can reserve {limits.reservable}; "
            f"request a concurrency quota of {wanted}, shorten the function, or lower spike_rps"
        )
    if not endpoint.rules.absorbs_ramp and endpoint.ramp_instances > endpoint.minimum:
        yield (
            f"until the first added instance serves, {endpoint.lag.value:.0f} s after the rise, {endpoint.minimum} "
            f"instances carry {endpoint.minimum * endpoint.max_rps:.4g} requests/s within the SLO: it breaks for that "
            f"long; set absorbs_ramp, or fewest_instances to {endpoint.ramp_instances}"
        )
    carried = endpoint.for_rate(traffic.peak_rps) * endpoint.max_rps
    if carried < traffic.spike_rps:
        yield (
            f"a spike of {traffic.spike_rps:g} requests/s meets instances that carry {carried:.4g} within the SLO, and "
            f"{endpoint.lag.value:.0f} s pass before more serve; set bears_spike, or safety_factor to "
            f"{traffic.peak_rps / traffic.spike_rps:.2f}"
        )


def _over_budget(endpoint: EndpointSizing, choices: Sequence[Choice], cost: float) -> str:
    budget = endpoint.traffic.monthly_budget_usd
    by_name = {choice.name: choice.monthly_cost_usd or 0.0 for choice in choices}
    instances = by_name["min_instances"] + by_name["target_value"]
    dearest, price = max((("instances", instances), *by_name.items()), key=lambda item: item[1])
    saved = cost - by_name["provisioned_concurrency"]
    options = [f"allow {cost:,.2f} USD a month (of it {price:,.2f} for {dearest.replace('_', ' ')})"]
    if saved <= budget:
        options.append("set provisioned_concurrency to 0 and bear cold starts")
    if instances > budget:
        options.append("take a cheaper instance type per request, or a longer ramp_seconds, which needs a smaller min")
    options.append("lower peak_rps or peak_share")
    return f"over the budget of {budget:,.2f} USD by {cost - budget:,.2f}: " + "; or ".join(options)


def _cautions(endpoint: EndpointSizing, function: FunctionSizing, prices: Prices) -> Iterator[str]:
    traffic, measured = endpoint.traffic, endpoint.measured
    if prices.instance_usd_per_hour is None:
        yield f"the price of {measured.instance_type} is unknown, so the cost is: give Prices(instance_usd_per_hour=…)"
    a_minute = traffic.baseline_rps * PERIOD_SECONDS / measured.time_scale
    if a_minute < FEWEST_PER_MINUTE:
        scale = max(1.0, traffic.baseline_rps * PERIOD_SECONDS / FEWEST_PER_MINUTE)
        yield (
            f"a minute of AWS's holds {a_minute:.3g} requests at the baseline, ±{a_minute**-0.5:.0%} by chance, so "
            f"instance counts scatter; a time scale of at most {scale:.3g} has {FEWEST_PER_MINUTE:g} in a minute"
        )
    if measured.disturbed:
        yield f"measured beside other programs: {measured.disturbed}; measure again on a quieter machine"
    if endpoint.minimum == 1:
        yield "one instance has no other to take over: AWS advises two for availability; set fewest_instances to 2"
    burst = (traffic.spike_rps - traffic.peak_rps) * function.mean_seconds
    if burst > 10 * NEW_ENVIRONMENTS_PER_SECOND:
        yield (
            f"a spike asks for {burst:.0f} new environments at once, Lambda starts {NEW_ENVIRONMENTS_PER_SECOND:.0f} a "
            f"second ({SCALING_RATE}); provision for the spike by a scheduled action"
        )
