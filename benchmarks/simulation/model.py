"""What a simulation is made of and what it gives back: load, an endpoint's and a function's model, the result.

Data only; `benchmarks.simulation.queue` runs it. Times are wall seconds unless they are said to be AWS's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tasks.scaling.rules import RPS_PER_ENVIRONMENT
from tasks.scaling.target_tracking import TrackingPolicy

Floats = NDArray[np.float64]
Routing = Literal["random", "least outstanding"]


@dataclass(frozen=True)
class Segment:
    """A stretch of load with one rate."""

    rate_per_second: float
    seconds: float


@dataclass(frozen=True)
class Duration:
    """A random time of mean `mean_ms`: gamma with this coefficient of variation; 0 is constant, 1 exponential."""

    mean_ms: float
    variation: float = 0.0

    def draw(self, random: np.random.Generator, count: int) -> list[float]:
        """Return `count` samples in seconds."""
        mean = self.mean_ms / 1000
        if self.variation == 0.0 or mean == 0.0:
            return [mean] * count
        shape = self.variation**-2
        samples: list[float] = random.gamma(shape, mean / shape, count).tolist()
        return samples


@dataclass(frozen=True)
class EndpointModel:
    """An endpoint of `instances` with `slots` each; `startup_seconds` are AWS's. Without a policy it does not scale.

    A request that waited `timeout_seconds` fails. `counts` says when the metric counts a request.
    """

    slots: int
    service: Duration
    instances: int = 1
    startup_seconds: float = 120.0
    policy: TrackingPolicy | None = None
    routing: Routing = "random"
    timeout_seconds: float = 60.0
    counts: Literal["arrivals", "answers"] = "answers"


@dataclass(frozen=True)
class FunctionModel:
    """A function: its own time before it calls the endpoint, and its concurrency.

    `executions` is the reservation, or what the account has left without one; `provisioned` lie within it.
    """

    own: Duration
    executions: int
    provisioned: int = 0
    cold_start_ms: float = 300.0
    idle_seconds: float = 300.0
    rps_per_execution: float = RPS_PER_ENVIRONMENT


@dataclass(frozen=True)
class Activity:
    """A change of the fleet: decided and completed at wall seconds from the start, from and to how many instances."""

    decided: float
    completed: float
    before: int
    after: int


@dataclass(frozen=True)
class Simulation:
    """What happened; times in wall seconds from the start.

    Per request, in order of arrival: `arrived`, `latency_ms` (NaN when it failed or was throttled), and whether it was
    `throttled`, `spilled` (not in a provisioned environment) or `cold`. Per minute of AWS's: its end, the instances in
    service, what waited, and the metric.
    """

    arrived: Floats
    latency_ms: Floats
    throttled: NDArray[np.bool_]
    spilled: NDArray[np.bool_]
    cold: NDArray[np.bool_]
    minute_ends: Floats
    instances: NDArray[np.int64]
    waiting: NDArray[np.int64]
    per_instance: Floats
    activities: tuple[Activity, ...]

    def within(self, begin: float, end: float) -> NDArray[np.bool_]:
        """Return which requests arrived in [begin, end)."""
        mask: NDArray[np.bool_] = (self.arrived >= begin) & (self.arrived < end)
        return mask

    def share(self, what: NDArray[np.bool_], begin: float = 0.0, end: float = math.inf) -> float:
        """Return the share of the requests of a time that were `throttled`, `spilled` or `cold`; 0.0 of none."""
        chosen = what[self.within(begin, end)]
        return float(chosen.mean()) if chosen.size else 0.0

    def percentile_ms(self, percent: float, begin: float = 0.0, end: float = math.inf) -> float:
        """Return a percentile of the answered requests' latencies; NaN of none."""
        answered = self.latency_ms[self.within(begin, end)]
        answered = answered[~np.isnan(answered)]
        return float(np.percentile(answered, percent)) if answered.size else math.nan

    def mean_ms(self, begin: float = 0.0, end: float = math.inf) -> float:
        """Return the mean latency of the answered requests; NaN of none."""
        answered = self.latency_ms[self.within(begin, end)]
        answered = answered[~np.isnan(answered)]
        return float(answered.mean()) if answered.size else math.nan

    def failed(self, begin: float = 0.0, end: float = math.inf) -> float:
        """Return the share of requests that got no answer although they were not throttled."""
        return self.share(np.isnan(self.latency_ms) & ~self.throttled, begin, end)

    def instances_at(self, moment: float) -> int:
        """Return how many instances served at a time."""
        count = int(self.activities[0].before if self.activities else self.instances[0])
        for activity in self.activities:
            if activity.completed <= moment:
                count = activity.after
        return count
