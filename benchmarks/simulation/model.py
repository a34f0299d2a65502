"""The input and the result of a simulation: the load, the models of an endpoint and a function, and the outcome.

Data only; `benchmarks.simulation.queue` runs the simulation. Times are in wall seconds, except where AWS seconds are
stated.
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
    """A period of load with one rate."""

    rate_per_second: float
    seconds: float


@dataclass(frozen=True)
class Duration:
    """A gamma-distributed time of mean `mean_ms`; a coefficient of variation of 0 is constant, 1 is exponential."""

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
    """An endpoint of `instances` with `slots` each; without a policy it does not scale.

    `startup_seconds` are AWS seconds. A request that has waited for `timeout_seconds` fails. `counts` selects whether
    the metric counts a request when it arrives or when it is answered.
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
    """A function: `own` is its time before it calls the endpoint.

    `executions` is its reserved concurrency or, without a reservation, the account's unreserved concurrency;
    `provisioned` is a part of it.
    """

    own: Duration
    executions: int
    provisioned: int = 0
    cold_start_ms: float = 300.0
    idle_seconds: float = 300.0
    rps_per_execution: float = RPS_PER_ENVIRONMENT


@dataclass(frozen=True)
class Activity:
    """A change of the number of instances, from `before` to `after`; times are in wall seconds from the start."""

    decided: float
    completed: float
    before: int
    after: int


@dataclass(frozen=True)
class Simulation:
    """The result of a simulation; times are in wall seconds from the start.

    For each request, in order of arrival: `arrived`, `latency_ms` (NaN when it failed or was throttled), and whether it
    was `throttled`, `spilled` (run outside the provisioned environments) or `cold`. For each AWS minute: its end, the
    instances in service, the waiting requests, and the metric per instance.
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
        """Return a mask of the requests that arrived in [begin, end)."""
        mask: NDArray[np.bool_] = (self.arrived >= begin) & (self.arrived < end)
        return mask

    def share(self, what: NDArray[np.bool_], begin: float = 0.0, end: float = math.inf) -> float:
        """Return the share of the requests in [begin, end) for which the mask `what` is true; 0.0 if there are none."""
        chosen = what[self.within(begin, end)]
        return float(chosen.mean()) if chosen.size else 0.0

    def percentile_ms(self, percent: float, begin: float = 0.0, end: float = math.inf) -> float:
        """Return a percentile of the answered requests' latencies; NaN if there are none."""
        answered = self.latency_ms[self.within(begin, end)]
        answered = answered[~np.isnan(answered)]
        return float(np.percentile(answered, percent)) if answered.size else math.nan

    def mean_ms(self, begin: float = 0.0, end: float = math.inf) -> float:
        """Return the mean latency of the answered requests; NaN if there are none."""
        answered = self.latency_ms[self.within(begin, end)]
        answered = answered[~np.isnan(answered)]
        return float(answered.mean()) if answered.size else math.nan

    def failed(self, begin: float = 0.0, end: float = math.inf) -> float:
        """Return the share of requests that were not throttled but failed."""
        return self.share(np.isnan(self.latency_ms) & ~self.throttled, begin, end)

    def instances_at(self, moment: float) -> int:
        """Return the number of instances in service at a time."""
        count = int(self.activities[0].before if self.activities else self.instances[0])
        for activity in self.activities:
            if activity.completed <= moment:
                count = activity.after
        return count
