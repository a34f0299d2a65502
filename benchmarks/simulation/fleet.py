"""Simulate a fleet minute by minute instead of request by request, for rates that have too many requests for that.

Each AWS minute has a Poisson number of arrivals (drawn from a normal distribution when it is large). The fleet answers
what it can; the rest waits, and is lost after waiting for a minute. Target tracking (`tasks.scaling.target_tracking`)
and Lambda's scaling rate decide the capacity of the next minute. A simulated minute takes the same time at any rate.
Not modelled: latency within a minute, random routing, failures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.scaling.queueing import round_up
from tasks.scaling.rules import NEW_ENVIRONMENTS_PER_SECOND, PERIOD_SECONDS
from tasks.scaling.target_tracking import TargetTracking, TrackingPolicy

_NORMAL_FROM = 1e6


@dataclass(frozen=True)
class FleetModel:
    """An endpoint: the capacity of an instance, its start-up time in AWS seconds, the policy and the first count."""

    max_rps: float
    startup_seconds: float
    policy: TrackingPolicy
    instances: int


@dataclass(frozen=True)
class LeaseFleet:
    """A function: its mean duration, its maximum of concurrent executions, and the executions ready at the start."""

    mean_seconds: float
    executions: int
    ready: int
    new_per_second: float = NEW_ENVIRONMENTS_PER_SECOND


@dataclass(frozen=True)
class FleetRun:
    """Counts per minute: requests that arrived, were throttled, answered or lost; instances; executions.

    A request is lost when it has waited for a minute. One that still waits at the end is neither answered nor lost.
    """

    arrived: NDArray[np.float64]
    throttled: NDArray[np.float64]
    answered: NDArray[np.float64]
    lost: NDArray[np.float64]
    instances: NDArray[np.int64]
    executions: NDArray[np.int64]

    @property
    def throttled_share(self) -> float:
        """The share of all requests that were throttled because no execution was available."""
        return float(self.throttled.sum() / max(1.0, self.arrived.sum()))

    @property
    def lost_share(self) -> float:
        """The share of all requests that were lost because they waited for a minute."""
        return float(self.lost.sum() / max(1.0, self.arrived.sum()))

    def minutes_until_kept_up(self) -> int:
        """Return the minutes after which nothing more was throttled or lost, at most the length of the run."""
        short = np.flatnonzero(self.throttled + self.lost > 0)
        return int(short[-1]) + 1 if short.size else 0


def simulate_fleet(
    rates: Sequence[float], fleet: FleetModel, *, leases: LeaseFleet | None = None, seed: int = 0
) -> FleetRun:
    """Simulate a load, given as one rate (requests/s) for each AWS minute.

    Raises:
        ValueError: there are no rates.
    """
    if not rates:
        raise ValueError("rates=[]: there is nothing to simulate")
    random = np.random.default_rng(seed)
    state = _Fleet(fleet, leases)
    rows = [state.minute(_count(random, rate * PERIOD_SECONDS)) for rate in rates]
    table = np.asarray(rows, dtype=np.float64)
    arrived, throttled, answered, lost = (table[:, column] for column in range(4))
    return FleetRun(arrived, throttled, answered, lost, table[:, 4].astype(np.int64), table[:, 5].astype(np.int64))


class _Fleet:
    def __init__(self, fleet: FleetModel, leases: LeaseFleet | None) -> None:
        self._fleet, self._leases = fleet, leases
        self._serving, self._ready_at = fleet.instances, 0.0
        self._executions = leases.ready if leases else 0
        self._tracking = TargetTracking(fleet.policy, fleet.instances)
        self._waiting, self._at = 0.0, 0.0

    def minute(self, arrived: float) -> tuple[float, float, float, float, int, int]:
        """Simulate one minute; return requests arrived, throttled, answered, lost, then instances and executions."""
        admitted = self._admit(arrived)
        capacity = self._capacity()
        answered = min(self._waiting + admitted, capacity)
        # First come, first served: what waited before the minute and still waits has waited for the whole minute.
        lost = max(0.0, self._waiting - answered)
        self._waiting = self._waiting + admitted - answered - lost
        self._at += PERIOD_SECONDS
        row = (arrived, arrived - admitted, answered, lost, self._serving, self._executions)
        self._scale(answered)
        return row

    def _admit(self, arrived: float) -> float:
        """Return the requests for which there is an execution, including those that can start within the minute."""
        if self._leases is None:
            return arrived
        needed = round_up(arrived / PERIOD_SECONDS * self._leases.mean_seconds)
        most = min(self._leases.executions, self._executions + int(self._leases.new_per_second * PERIOD_SECONDS))
        mean = min(needed, (self._executions + most) / 2 if needed > self._executions else needed)
        self._executions = max(self._executions, min(needed, most))
        return min(arrived, mean / self._leases.mean_seconds * PERIOD_SECONDS) if mean < needed else arrived

    def _capacity(self) -> float:
        """Return the requests that the fleet can answer in the minute; an instance counts from when it is ready."""
        growing = self._tracking.desired - self._serving
        capacity = self._serving * self._fleet.max_rps * PERIOD_SECONDS
        if growing > 0 and self._ready_at < self._at + PERIOD_SECONDS:
            capacity += growing * self._fleet.max_rps * (self._at + PERIOD_SECONDS - max(self._at, self._ready_at))
        return capacity

    def _scale(self, answered: float) -> None:
        if self._tracking.desired != self._serving and self._ready_at <= self._at:
            self._serving = self._tracking.desired
            self._tracking.completed(self._ready_at, grew=True)
        before = self._tracking.desired
        desired = self._tracking.observe(self._at, answered / self._serving, serving=self._serving)
        if desired > before:
            self._ready_at = self._at + self._fleet.startup_seconds
        elif desired < before:
            self._serving = desired
            self._tracking.completed(self._at, grew=False)


def _count(random: np.random.Generator, mean: float) -> float:
    if mean < _NORMAL_FROM:
        return float(random.poisson(mean))
    return max(0.0, float(random.normal(mean, mean**0.5)))
