"""The function's three numbers: memory, reserved and provisioned concurrency.

Concurrency is rate × mean duration, with the head room that AWS advises; because arrivals are random, Erlang's loss
formula then says which share finds no execution free, and raises the number until that share is small enough. An
execution takes at most ten requests a second, which binds for short durations. Pure functions; all times are real.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from tasks.scaling.choice import Choice, Input, Prediction, Stage
from tasks.scaling.prices import Prices
from tasks.scaling.queueing import concurrency, erlang_b, servers_for, whole
from tasks.scaling.rules import (
    CONCURRENCY,
    LAMBDA_QUOTAS,
    PROVISIONED,
    RESERVED,
    RPS_PER_ENVIRONMENT,
    UNRESERVED_MINIMUM,
    Limits,
    ScalingRules,
)
from tasks.scaling.traffic import Figure, Measured, MemoryPoint, Traffic

_MANY = 100_000.0


@dataclass(frozen=True)
class FunctionSizing:
    """What the function needs by arithmetic, before the account's limits."""

    traffic: Traffic
    measured: Measured
    rules: ScalingRules

    @cached_property
    def memory(self) -> MemoryPoint:
        """The size with the fewest GB-seconds a request that keeps the SLO and has memory left; else the fastest."""
        measured = self.measured
        in_place = MemoryPoint(measured.function_memory_mb, measured.function_mean_ms, measured.function_p95_ms)
        others = [point for point in measured.memory_points if point.memory_mb != in_place.memory_mb]
        same = [point for point in measured.memory_points if point.memory_mb == in_place.memory_mb]
        points = [*(same or [in_place]), *others]
        fit = [point for point in points if self._fits(point)]
        if not fit:
            return min(points, key=lambda point: point.p95_ms.value)
        return min(fit, key=lambda point: (point.memory_mb * point.mean_ms.value, point.memory_mb))

    @property
    def mean_seconds(self) -> float:
        """The function's mean duration."""
        return self.memory.mean_ms.value / 1000

    @property
    def p95_seconds(self) -> float:
        """The function's 95th percentile, used as a mean that is worse than measured."""
        return self.memory.p95_ms.value / 1000

    @property
    def cold_start_breaks_slo(self) -> bool:
        """Tell whether a request that meets a cold start is later than the SLO allows."""
        return self.measured.cold_start_ms.value + self.memory.p95_ms.value > self.traffic.slo_p95_ms

    @property
    def warm_rps(self) -> float:
        """The rate that provisioned environments are sized for."""
        return self.traffic.peak_rps if self.cold_start_breaks_slo else self.traffic.baseline_rps

    @cached_property
    def provisioned(self) -> int:
        """How many environments are kept ready."""
        wanted = [self.by_aws_formula(self.warm_rps), self.by_rate(self.warm_rps)]
        if self.cold_start_breaks_slo:
            offered = concurrency(self.warm_rps, self.mean_seconds)
            wanted.append(_servers_for(offered, self.rules.spillover_share))
        return max(wanted)

    @cached_property
    def reserved(self) -> int:
        """How many executions the function needs at the spike, and may have."""
        spike = self.traffic.spike_rps
        by_loss = _servers_for(concurrency(spike, self.p95_seconds), self.traffic.max_throttle_rate)
        warm = min(spike * (1 - erlang_b(self.provisioned, concurrency(spike, self.mean_seconds))), self._warm_limit)
        by_rate = self.provisioned + self.by_rate(spike - warm)
        return max(by_loss, self.by_aws_formula(spike), by_rate)

    @cached_property
    def at_slo_pace(self) -> int:
        """How many executions the spike takes at the slowest pace that the SLO allows.

        The endpoint comes near to it while it scales out; beyond that, throttling is no longer the first thing to fail.
        """
        offered = concurrency(self.traffic.spike_rps, self.traffic.slo_p95_ms / 1000)
        return _servers_for(offered, self.traffic.max_throttle_rate)

    def by_aws_formula(self, rps: float) -> int:
        """Return rate × mean duration with head room, rounded up."""
        return max(1, whole(concurrency(rps, self.mean_seconds) * (1 + self.rules.headroom)))

    def by_rate(self, rps: float) -> int:
        """Return the executions that a rate needs, however short the requests are."""
        return whole(rps * (1 + self.rules.headroom) / RPS_PER_ENVIRONMENT)

    def spilled(self, provisioned: int, rps: float, seconds: float) -> float:
        """Return the share of requests that no provisioned environment takes: all are busy, or have had their ten."""
        if provisioned == 0:
            return 1.0
        too_often = max(0.0, 1.0 - provisioned * RPS_PER_ENVIRONMENT / rps)
        return max(too_often, erlang_b(provisioned, concurrency(rps, seconds)))

    def throttled(self, reserved: int, seconds: float, *, rps: float) -> float:
        """Return the share of requests that finds no execution free."""
        return max(max(0.0, 1.0 - reserved * RPS_PER_ENVIRONMENT / rps), erlang_b(reserved, concurrency(rps, seconds)))

    @property
    def _warm_limit(self) -> float:
        return float(self.provisioned * RPS_PER_ENVIRONMENT)

    def _fits(self, point: MemoryPoint) -> bool:
        has_memory = point.used_mb is None or point.used_mb.value <= self.rules.memory_use * point.memory_mb
        return has_memory and point.p95_ms.value <= self.traffic.slo_p95_ms


def _servers_for(offered: float, most_blocked: float) -> int:
    """Return Erlang's answer; beyond 100,000 in flight, five standard deviations more than those instead of a loop."""
    if offered > _MANY:
        return whole(offered + 5 * math.sqrt(offered))
    return servers_for(offered, most_blocked)


def function_choices(sizing: FunctionSizing, prices: Prices, limits: Limits) -> tuple[Choice, ...]:
    """Return the three choices; reserved is cut to what the account can spare, provisioned to reserved."""
    reserved = min(max(sizing.reserved, sizing.at_slo_pace), limits.reservable)
    provisioned = min(sizing.provisioned, reserved)
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
        f"the fewest GB-seconds a request ({gb_seconds:.4g}) of {others} sizes tried that keep the SLO"
        if others > 1
        else "the only size that was measured; another one may be cheaper: measure it"
    )
    return Choice(
        name="function_memory",
        value=point.memory_mb,
        unit="MB",
        formula="argmin over measured sizes of memory × mean duration, with p95 ≤ SLO and memory left",
        inputs=(
            _measured("mean", point.mean_ms, "ms"),
            _measured("p95", point.p95_ms, "ms"),
            _chosen("SLO", traffic.slo_p95_ms, "ms", "traffic statement"),
            _derived("mean rate", traffic.mean_rps, "requests/s", "baseline and peak by their shares of the month"),
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
    loss = sizing.throttled(reserved, sizing.mean_seconds, rps=spike)
    return Choice(
        name="reserved_concurrency",
        value=reserved,
        unit="executions",
        formula="max(⌈spike × mean × (1 + head room)⌉, fewest with ErlangB(n, spike × max(p95, SLO)) "
        "≤ throttle rate, provisioned + ⌈what spills over at the spike × (1 + head room) / 10⌉), at most what the "
        "account can spare",
        inputs=(
            _chosen("spike", spike, "requests/s", "traffic statement"),
            _measured("mean", sizing.memory.mean_ms, "ms"),
            _measured("p95", sizing.memory.p95_ms, "ms"),
            _chosen("SLO", traffic.slo_p95_ms, "ms", "traffic statement"),
            _chosen("throttle rate", traffic.max_throttle_rate, "share", "traffic statement"),
            _document(
                "head room", sizing.rules.headroom, "share", f"10 %: {PROVISIONED}; rate × duration: {CONCURRENCY}"
            ),
            _document("requests/s an execution", RPS_PER_ENVIRONMENT, "requests/s", LAMBDA_QUOTAS),
            _document("account's concurrency", limits.lambda_concurrency, "executions", limits.source),
            _document("unreserved at least", UNRESERVED_MINIMUM, "executions", RESERVED),
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
        reason=f"the spike needs {sizing.reserved} at the measured pace, {sizing.at_slo_pace} at the slowest that the "
        "SLO allows and the endpoint comes near to while it scales out; reserving costs nothing, and is a ceiling that "
        "keeps the function from taking the whole account",
    )


def _provisioned(sizing: FunctionSizing, prices: Prices, provisioned: int) -> Choice:
    rate = sizing.warm_rps
    parts = ["⌈rate × mean × (1 + head room)⌉", "⌈rate × (1 + head room) / 10⌉"]
    if sizing.cold_start_breaks_slo:
        parts.append("fewest with ErlangB(n, rate × mean) ≤ spillover share")
    stages: tuple[Stage, ...] = ("peak", "baseline") if sizing.cold_start_breaks_slo else ("baseline", "peak")
    first, second = (_spillover(sizing, stage, provisioned) for stage in stages)
    return Choice(
        name="provisioned_concurrency",
        value=provisioned,
        unit="executions",
        formula=f"max({', '.join(parts)}), at most reserved",
        inputs=(
            _chosen("rate", rate, "requests/s", f"the traffic statement's {stages[0]}"),
            _measured("mean", sizing.memory.mean_ms, "ms"),
            _document("head room", sizing.rules.headroom, "share", f"10 %: {PROVISIONED}"),
            _document("requests/s an execution", RPS_PER_ENVIRONMENT, "requests/s", LAMBDA_QUOTAS),
            _measured("cold start p95", sizing.measured.cold_start_ms, "ms"),
            _measured("p95", sizing.memory.p95_ms, "ms"),
            _chosen("SLO", sizing.traffic.slo_p95_ms, "ms", "traffic statement"),
            _chosen("spillover share", sizing.rules.spillover_share, "share", "ScalingRules.spillover_share"),
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
        return f"cold start + p95 = {late:.0f} ms > {slo:g} ms: at peak at most {sizing.rules.spillover_share:.0%} may"
    return f"cold start + p95 = {late:.0f} ms ≤ {slo:g} ms: 0 would keep the SLO; this keeps the baseline's tail warm"


def _spillover(sizing: FunctionSizing, stage: Stage, provisioned: int) -> Prediction:
    rps = sizing.traffic.peak_rps if stage == "peak" else sizing.traffic.baseline_rps
    typical = sizing.measured.function_p50_ms.value / 1000
    share = sizing.spilled(provisioned, rps, sizing.mean_seconds)
    low = sizing.spilled(provisioned, rps, min(typical, sizing.mean_seconds))
    busy = sizing.spilled(provisioned, rps, max(sizing.mean_seconds, sizing.p95_seconds))
    too_often = max(0.0, 1.0 - provisioned * RPS_PER_ENVIRONMENT / (rps * (1 + sizing.rules.headroom)))
    high = busy + (1.0 - busy) * too_often  # a request may fail either test
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


def _measured(name: str, figure: Figure, unit: str) -> Input:
    return Input(name, figure.value, unit, "measured", f"n={figure.n}, {figure.source}")


def _chosen(name: str, value: float, unit: str, detail: str) -> Input:
    return Input(name, value, unit, "chosen", detail)


def _document(name: str, value: float, unit: str, detail: str) -> Input:
    return Input(name, value, unit, "AWS document", detail)


def _derived(name: str, value: float, unit: str, detail: str) -> Input:
    return Input(name, value, unit, "derived", detail)
