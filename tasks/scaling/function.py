"""Chooses the function's three numbers: memory, reserved concurrency and provisioned concurrency.

`tasks.scaling.function_sizing` computes the values; this module adds formula, inputs with their sources, predictions
and cost. It holds pure functions; all times are real.
"""

from __future__ import annotations

from tasks.scaling.choice import Choice, Input, Prediction, Stage
from tasks.scaling.function_sizing import FunctionSizing
from tasks.scaling.prices import Prices
from tasks.scaling.queueing import concurrency
from tasks.scaling.rules import (
    CONCURRENCY,
    LAMBDA_QUOTAS,
    PROVISIONED,
    RESERVED,
    RPS_PER_ENVIRONMENT,
    Limits,
    unreserved_minimum,
)


def function_choices(sizing: FunctionSizing, prices: Prices, limits: Limits) -> tuple[Choice, ...]:
    """Return the three choices.

    Nothing is reserved where the account cannot reserve what is needed: a smaller reservation would only throttle the
    function earlier. What is provisioned is a part of the reservation, else of what the account could reserve.
    """
    reserved = sizing.wanted if sizing.wanted <= limits.reservable else 0
    provisioned = min(sizing.provisioned, reserved or limits.reservable)
    return (
        _memory(sizing, prices, provisioned),
        _reserved(sizing, limits, reserved),
        _provisioned(sizing, prices, provisioned),
    )


def _memory(sizing: FunctionSizing, prices: Prices, provisioned: int) -> Choice:
    point, traffic = sizing.memory, sizing.traffic
    others = max(1, len(sizing.measured.memory_points))
    spilled = sizing.spilled(provisioned, traffic.mean_rps, sizing.mean_seconds)
    gb_seconds = point.memory_mb / 1024 * sizing.mean_seconds
    why = (
        f"it keeps the SLO with the fewest GB-seconds a request ({gb_seconds:.4g}) of the {others} measured sizes"
        if others > 1
        else "it is the only measured size; another one may be cheaper: measure it"
    )
    return Choice(
        name="function_memory",
        value=point.memory_mb,
        unit="MB",
        formula="argmin over measured sizes of memory × mean duration, with p95 ≤ SLO and memory left",
        inputs=(
            Input.measured("mean", point.mean_ms, "ms"),
            Input.measured("p95", point.p95_ms, "ms"),
            Input.chosen("SLO", traffic.slo_p95_ms, "ms", "traffic statement"),
            Input.derived(
                "mean rate", traffic.mean_rps, "requests/s", "baseline and peak by their shares of the month"
            ),
        ),
        predicted=Prediction(
            "function_p95_at_peak",
            "p95 through the function at peak",
            point.p95_ms.value,
            "ms",
            0.0,
            traffic.slo_p95_ms,
            "peak",
            "LoadReport.p95_ms of the peak's stage, through the alias",
            noise=sizing.measured.noise_ms,
        ),
        monthly_cost_usd=prices.invocations(traffic.mean_rps, sizing.mean_seconds, point.memory_mb, spilled=spilled),
        reason=why,
    )


def _reserved(sizing: FunctionSizing, limits: Limits, reserved: int) -> Choice:
    traffic, spike = sizing.traffic, sizing.traffic.spike_rps
    loss = sizing.throttled(reserved or limits.unreserved, sizing.mean_seconds, rps=spike)
    return Choice(
        name="reserved_concurrency",
        value=reserved,
        unit="executions",
        formula="max(⌈spike × mean × (1 + headroom)⌉, fewest with ErlangB(n, spike × max(p95, SLO)) "
        "≤ throttle rate, provisioned + ⌈what spills over at the spike × (1 + headroom) / 10⌉); 0, which is no "
        "reservation, where that is more than the account can reserve",
        inputs=(
            Input.chosen("spike", spike, "requests/s", "traffic statement"),
            Input.measured("mean", sizing.memory.mean_ms, "ms"),
            Input.measured("p95", sizing.memory.p95_ms, "ms"),
            Input.chosen("SLO", traffic.slo_p95_ms, "ms", "traffic statement"),
            Input.chosen("throttle rate", traffic.max_throttle_rate, "share", "traffic statement"),
            Input.documented(
                "headroom", sizing.rules.headroom, "share", f"10 %: {PROVISIONED}; rate × duration: {CONCURRENCY}"
            ),
            Input.documented("requests/s an execution", RPS_PER_ENVIRONMENT, "requests/s", LAMBDA_QUOTAS),
            Input.documented("account's concurrency", limits.lambda_concurrency, "executions", limits.source),
            Input.documented(
                "unreserved at least", unreserved_minimum(limits.lambda_concurrency), "executions", RESERVED
            ),
        ),
        predicted=Prediction(
            "throttled_at_spike",
            "invocations throttled at the spike",
            loss,
            "share",
            0.0,
            traffic.max_throttle_rate,
            "spike",
            "AWS/Lambda Throttles / (Invocations + Throttles) of the function, sums over the spike",
        ),
        also=(_in_flight(sizing, "peak", traffic.peak_rps), _in_flight(sizing, "spike", spike)),
        monthly_cost_usd=0.0,
        reason=_why_reserved(sizing, limits, reserved),
    )


def _why_reserved(sizing: FunctionSizing, limits: Limits, reserved: int) -> str:
    needs = (
        f"the spike needs {sizing.reserved} executions at the measured duration and {sizing.at_slo_pace} when requests "
        "last as long as the SLO allows, as they nearly do while the endpoint scales out"
    )
    if reserved == 0:
        return (
            f"{needs}; the account can reserve {limits.reservable}, so nothing is reserved and the function shares the "
            f"{limits.unreserved} unreserved executions with the account's other functions"
        )
    return f"{needs}; a reservation costs nothing and keeps the function from using the whole account's concurrency"


def _provisioned(sizing: FunctionSizing, prices: Prices, provisioned: int) -> Choice:
    rate = sizing.warm_rps
    parts = ["⌈rate × mean × (1 + headroom)⌉", "⌈rate × (1 + headroom) / 10⌉"]
    if sizing.cold_start_breaks_slo:
        parts.append("fewest with ErlangB(n, rate × mean) ≤ spillover share")
    stages: tuple[Stage, ...] = ("peak", "baseline") if sizing.cold_start_breaks_slo else ("baseline", "peak")
    first, second = (_spillover(sizing, stage, provisioned) for stage in stages)
    return Choice(
        name="provisioned_concurrency",
        value=provisioned,
        unit="executions",
        formula=f"max({', '.join(parts)}), at most reserved, or what the account can reserve",
        inputs=(
            Input.chosen("rate", rate, "requests/s", f"the traffic statement's {stages[0]}"),
            Input.measured("mean", sizing.memory.mean_ms, "ms"),
            Input.documented("headroom", sizing.rules.headroom, "share", f"10 %: {PROVISIONED}"),
            Input.documented("requests/s an execution", RPS_PER_ENVIRONMENT, "requests/s", LAMBDA_QUOTAS),
            Input.measured("cold start p95", sizing.measured.cold_start_ms, "ms"),
            Input.measured("p95", sizing.memory.p95_ms, "ms"),
            Input.chosen("SLO", sizing.traffic.slo_p95_ms, "ms", "traffic statement"),
            Input.chosen("spillover share", sizing.rules.spillover_share, "share", "ScalingRules.spillover_share"),
        ),
        predicted=first,
        also=(second,),
        monthly_cost_usd=prices.provisioned(provisioned, sizing.memory.memory_mb),
        reason=_why_provisioned(sizing),
    )


def _why_provisioned(sizing: FunctionSizing) -> str:
    late = sizing.measured.cold_start_ms.value + sizing.memory.p95_ms.value
    slo = sizing.traffic.slo_p95_ms
    if sizing.cold_start_breaks_slo:
        share = sizing.rules.spillover_share
        return (
            f"cold start + p95 = {late:.0f} ms > {slo:g} ms: at most {share:.0%} of the peak's requests may spill over"
        )
    return f"cold start + p95 = {late:.0f} ms ≤ {slo:g} ms: 0 would keep the SLO; this avoids cold starts at baseline"


def _spillover(sizing: FunctionSizing, stage: Stage, provisioned: int) -> Prediction:
    rps = sizing.traffic.peak_rps if stage == "peak" else sizing.traffic.baseline_rps
    typical = sizing.measured.function_p50_ms.value / 1000
    share = sizing.spilled(provisioned, rps, sizing.mean_seconds)
    low = sizing.spilled(provisioned, rps, min(typical, sizing.mean_seconds))
    busy = sizing.spilled(provisioned, rps, max(sizing.mean_seconds, sizing.p95_seconds))
    too_often = max(0.0, 1.0 - provisioned * RPS_PER_ENVIRONMENT / (rps * (1 + sizing.rules.headroom)))
    high = busy + (1.0 - busy) * too_often  # either limit may make a request spill over
    return Prediction(
        f"spillover_at_{stage}",
        f"invocations outside provisioned environments, {stage}",
        share,
        "share",
        low,
        high,
        stage,
        "AWS/Lambda ProvisionedConcurrencySpilloverInvocations / Invocations of the alias, sums over the stage",
    )


def _in_flight(sizing: FunctionSizing, stage: Stage, rps: float) -> Prediction:
    typical = min(sizing.measured.function_p50_ms.value / 1000, sizing.mean_seconds)
    return Prediction(
        f"concurrency_at_{stage}",
        f"executions in flight on average, {stage}",
        concurrency(rps, sizing.mean_seconds),
        "executions",
        concurrency(rps, typical),
        concurrency(rps, max(sizing.p95_seconds, sizing.mean_seconds)),
        stage,
        "achieved rate × mean AWS/Lambda Duration of the stage",
    )
