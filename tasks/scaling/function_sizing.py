"""Computes the memory and the concurrency that a function needs.

Concurrency is rate × mean duration, plus the headroom that AWS advises. Because arrivals are random, Erlang's loss
formula gives the share of requests that find no execution free; the number is raised until that share is small enough.
An execution takes at most ten requests a second, which is the limit for short durations. This module holds pure
functions; all times are real.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from tasks.scaling.queueing import concurrency, erlang_b, round_up, servers_for
from tasks.scaling.rules import RPS_PER_ENVIRONMENT, ScalingRules
from tasks.scaling.traffic import Measured, MemoryPoint, Traffic

_LARGEST_EXACT_CONCURRENCY = 100_000.0


@dataclass(frozen=True)
class FunctionSizing:
    """Computes what the function needs, before the account's limits are applied."""

    traffic: Traffic
    measured: Measured
    rules: ScalingRules

    @cached_property
    def memory(self) -> MemoryPoint:
        """The cheapest size, in GB-seconds a request, that keeps the SLO and has free memory; otherwise the fastest."""
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
        """The function's 95th percentile of duration, used as a pessimistic mean."""
        return self.memory.p95_ms.value / 1000

    @property
    def cold_start_breaks_slo(self) -> bool:
        """Tell whether a request with a cold start takes longer than the SLO allows."""
        return self.measured.cold_start_ms.value + self.memory.p95_ms.value > self.traffic.slo_p95_ms

    @property
    def warm_rps(self) -> float:
        """The rate that provisioned environments are sized for."""
        return self.traffic.peak_rps if self.cold_start_breaks_slo else self.traffic.baseline_rps

    @cached_property
    def provisioned(self) -> int:
        """The provisioned concurrency: how many environments Lambda keeps initialised."""
        wanted = [self.by_aws_formula(self.warm_rps), self.by_rate(self.warm_rps)]
        if self.cold_start_breaks_slo:
            offered = concurrency(self.warm_rps, self.mean_seconds)
            wanted.append(_servers_for(offered, self.rules.spillover_share))
        return max(wanted)

    @cached_property
    def reserved(self) -> int:
        """The reserved concurrency: how many executions the function needs at the spike."""
        spike = self.traffic.spike_rps
        by_loss = _servers_for(concurrency(spike, self.p95_seconds), self.traffic.max_throttle_rate)
        warm = min(spike * (1 - erlang_b(self.provisioned, concurrency(spike, self.mean_seconds))), self._warm_limit)
        by_rate = self.provisioned + self.by_rate(spike - warm)
        return max(by_loss, self.by_aws_formula(spike), by_rate)

    @cached_property
    def at_slo_pace(self) -> int:
        """How many executions the spike takes when every request lasts as long as the SLO allows.

        Latency comes near the SLO while the endpoint scales out. Beyond it the SLO fails before throttling does.
        """
        offered = concurrency(self.traffic.spike_rps, self.traffic.slo_p95_ms / 1000)
        return _servers_for(offered, self.traffic.max_throttle_rate)

    @property
    def wanted(self) -> int:
        """The executions to reserve: what the spike needs, and what it takes while the endpoint scales out."""
        return max(self.reserved, self.at_slo_pace)

    def by_aws_formula(self, rps: float) -> int:
        """Return rate × mean duration plus headroom, rounded up."""
        return max(1, round_up(concurrency(rps, self.mean_seconds) * (1 + self.rules.headroom)))

    def by_rate(self, rps: float) -> int:
        """Return the executions that a rate needs under Lambda's limit of ten requests a second for each."""
        return round_up(rps * (1 + self.rules.headroom) / RPS_PER_ENVIRONMENT)

    def spilled(self, provisioned: int, rps: float, seconds: float) -> float:
        """Return the share of requests that spill over: every provisioned environment is busy or at ten a second.

        Raises:
            ValueError: a number is negative.
        """
        if provisioned == 0:
            return 1.0
        too_often = max(0.0, 1.0 - provisioned * RPS_PER_ENVIRONMENT / rps)
        return max(too_often, erlang_b(provisioned, concurrency(rps, seconds)))

    def throttled(self, reserved: int, seconds: float, *, rps: float) -> float:
        """Return the share of requests that find no execution free.

        Raises:
            ValueError: a number is negative.
        """
        return max(max(0.0, 1.0 - reserved * RPS_PER_ENVIRONMENT / rps), erlang_b(reserved, concurrency(rps, seconds)))

    @property
    def _warm_limit(self) -> float:
        return float(self.provisioned * RPS_PER_ENVIRONMENT)

    def _fits(self, point: MemoryPoint) -> bool:
        has_memory = point.used_mb is None or point.used_mb.value <= self.rules.memory_use * point.memory_mb
        return has_memory and point.p95_ms.value <= self.traffic.slo_p95_ms


def _servers_for(offered: float, most_blocked: float) -> int:
    """Return Erlang's answer; above 100,000 in flight, `offered` plus five standard deviations, which needs no loop."""
    if offered > _LARGEST_EXACT_CONCURRENCY:
        return round_up(offered + 5 * math.sqrt(offered))
    return servers_for(offered, most_blocked)
