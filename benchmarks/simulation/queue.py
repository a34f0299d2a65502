"""A discrete-event simulation of a function in front of an endpoint: requests, queues, leases and scaling.

Arrivals are Poisson with a rate for each segment. An endpoint's instances each have slots and a queue; they start with
a delay and are drained at the end. Target tracking (`tasks.scaling.target_tracking`) sets their number. A function
leases executions in AWS's order: provisioned ones first, then reserved or unreserved ones, each for ten requests per
second. An execution that is neither provisioned nor warm starts cold. The same arguments and seed give the same result.

Requests run in wall seconds. AWS's clocks (the metric's minute, start-up, cooldowns and idle time) run `time_scale`
times faster. Not modelled: networks, failures of instances, Lambda's scaling rate, autoscaling of provisioned
concurrency.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.simulation.leases import Leases
from benchmarks.simulation.model import Activity, Duration, EndpointModel, Floats, FunctionModel, Segment, Simulation
from tasks.scaling.rules import PERIOD_SECONDS
from tasks.scaling.target_tracking import TargetTracking

__all__ = ["Activity", "Duration", "EndpointModel", "FunctionModel", "Segment", "Simulation", "simulate", "steps"]


def simulate(
    load: Sequence[Segment],
    *,
    endpoint: EndpointModel | None = None,
    function: FunctionModel | None = None,
    time_scale: float = 1.0,
    seed: int = 0,
) -> Simulation:
    """Simulate a load on a function, on an endpoint, or on a function in front of an endpoint.

    Raises:
        ValueError: neither is given, or no request arrives.
    """
    if endpoint is None and function is None:
        raise ValueError("endpoint=None, function=None: there is nothing to simulate")
    random = np.random.default_rng(seed)
    arrived = _arrivals(load, random)
    if arrived.size == 0:
        raise ValueError(f"load={load}: no request arrives")
    return _Run(arrived, sum(each.seconds for each in load), endpoint, function, time_scale, random).run()


def steps(before: float, after: float, seconds: float, count: int = 20) -> list[Segment]:
    """Return `count` segments that form a ramp from one rate to another."""
    rise = (after - before) / count
    return [Segment(before + (index + 0.5) * rise, seconds / count) for index in range(count)]


def _arrivals(load: Sequence[Segment], random: np.random.Generator) -> Floats:
    begin, parts = 0.0, []
    for each in load:
        count = random.poisson(each.rate_per_second * each.seconds)
        parts.append(np.sort(random.uniform(begin, begin + each.seconds, count)))
        begin += each.seconds
    return np.concatenate(parts) if parts else np.empty(0)


@dataclass(eq=False)
class _Instance:
    queue: deque[int] = field(default_factory=deque)
    busy: int = 0

    @property
    def outstanding(self) -> int:
        return self.busy + len(self.queue)


class _Run:
    """One simulation: a heap of events (time, order, action, argument), and the sorted arrivals."""

    def __init__(
        self,
        arrived: Floats,
        seconds: float,
        endpoint: EndpointModel | None,
        function: FunctionModel | None,
        time_scale: float,
        random: np.random.Generator,
    ) -> None:
        count = arrived.size
        self._arrived: list[float] = arrived.tolist()
        self._end = seconds
        self._endpoint, self._function, self._scale = endpoint, function, time_scale
        self._own = function.own.draw(random, count) if function else [0.0] * count
        self._service = endpoint.service.draw(random, count) if endpoint else []
        self._picks: list[float] = random.random(count).tolist()
        self._answered = [math.nan] * count
        self._flags = [[False] * count for _ in range(3)]
        self._pool = [0] * count
        self._queued = [0.0] * count
        self._leases = Leases(function, time_scale) if function else None
        self._serving = [_Instance() for _ in range(endpoint.instances)] if endpoint else []
        policy = endpoint.policy if endpoint else None
        self._tracking = TargetTracking(policy, endpoint.instances) if endpoint and policy else None
        self._counted = 0.0
        self._minutes: list[tuple[float, int, int, float]] = []
        self._activities: list[Activity] = []
        self._heap: list[tuple[float, int, Callable[[float, int], None], int]] = []
        self._order = 0

    def run(self) -> Simulation:
        """Process every event, including those of requests in flight when the load ends."""
        if self._endpoint:
            self._at(PERIOD_SECONDS / self._scale, self._minute, 0)
        for request, moment in enumerate(self._arrived):
            self._until(moment)
            self._arrive(moment, request)
        self._until(math.inf)
        return self._result()

    def _until(self, moment: float) -> None:
        while self._heap and self._heap[0][0] <= moment:
            at, _, act, what = heapq.heappop(self._heap)
            act(at, what)

    def _at(self, moment: float, act: Callable[[float, int], None], what: int) -> None:
        self._order += 1
        heapq.heappush(self._heap, (moment, self._order, act, what))

    # --- the function -------------------------------------------------------------------------------------------------

    def _arrive(self, at: float, request: int) -> None:
        if self._leases is None or self._function is None:
            self._call(at, request)
            return
        pool = self._leases.take(at)
        throttled, spilled, cold = self._flags
        if pool is None:
            throttled[request] = True
            return
        self._pool[request], spilled[request] = pool, pool == 1
        cold[request] = pool == 1 and not self._leases.is_warm(at)
        begin = at + (self._function.cold_start_ms / 1000 if cold[request] else 0.0)
        self._at(begin + self._own[request], self._call, request)

    def _finish(self, at: float, request: int, *, is_answered: bool = True) -> None:
        if is_answered:
            self._answered[request] = at
        if self._leases is not None:
            self._leases.give_back(self._pool[request], at)

    # --- the endpoint -------------------------------------------------------------------------------------------------

    def _call(self, at: float, request: int) -> None:
        if self._endpoint is None:
            self._finish(at, request)
            return
        if self._endpoint.counts == "arrivals":
            self._count()
        instance = self._choose(request)
        if instance.busy < self._endpoint.slots:
            self._serve(at, request, instance)
        else:
            self._queued[request] = at
            instance.queue.append(request)

    def _choose(self, request: int) -> _Instance:
        pick = int(self._picks[request] * len(self._serving))
        if self._endpoint is not None and self._endpoint.routing == "least outstanding":
            return min((*self._serving[pick:], *self._serving[:pick]), key=lambda each: each.outstanding)
        return self._serving[pick]

    def _serve(self, at: float, request: int, instance: _Instance) -> None:
        instance.busy += 1
        self._at(at + self._service[request], lambda moment, what: self._answer(moment, what, instance), request)

    def _answer(self, at: float, request: int, instance: _Instance) -> None:
        if self._endpoint is None:
            return
        instance.busy -= 1
        if self._endpoint.counts == "answers":
            self._count()
        self._finish(at, request)
        while instance.queue and instance.busy < self._endpoint.slots:
            following = instance.queue.popleft()
            if at - self._queued[following] > self._endpoint.timeout_seconds:
                self._finish(at, following, is_answered=False)
            else:
                self._serve(at, following, instance)

    def _count(self) -> None:
        self._counted += 1.0 / len(self._serving)

    # --- AWS's clock --------------------------------------------------------------------------------------------------

    def _minute(self, at: float, _: int) -> None:
        waiting = sum(len(instance.queue) for instance in self._serving)
        self._minutes.append((at, len(self._serving), waiting, self._counted))
        per_instance, self._counted = self._counted, 0.0
        if self._tracking is not None:
            before = self._tracking.desired
            after = self._tracking.observe(at * self._scale, per_instance, serving=len(self._serving))
            if after > before and self._endpoint is not None:
                self._at(at + self._endpoint.startup_seconds / self._scale, self._scaled, after)
                self._activities.append(Activity(at, math.inf, before, after))
            elif after < before:
                self._activities.append(Activity(at, math.inf, before, after))
                self._scaled(at, after)
        following = at + PERIOD_SECONDS / self._scale
        if following <= self._end:
            self._at(following, self._minute, 0)

    def _scaled(self, at: float, count: int) -> None:
        """Set the number of instances; a removed instance finishes its requests."""
        grew = count > len(self._serving)
        while len(self._serving) < count:
            self._serving.append(_Instance())
        del self._serving[count:]
        last = self._activities[-1]
        self._activities[-1] = Activity(last.decided, at, last.before, last.after)
        if self._tracking is not None:
            self._tracking.completed(at * self._scale, grew=grew)

    def _result(self) -> Simulation:
        arrived = np.asarray(self._arrived)
        minutes = np.asarray(self._minutes or np.empty((0, 4)), dtype=np.float64).reshape(-1, 4)
        throttled, spilled, cold = (np.asarray(flags, dtype=np.bool_) for flags in self._flags)
        return Simulation(
            arrived=arrived,
            latency_ms=(np.asarray(self._answered) - arrived) * 1000,
            throttled=throttled,
            spilled=spilled,
            cold=cold,
            minute_ends=minutes[:, 0],
            instances=minutes[:, 1].astype(np.int64),
            waiting=minutes[:, 2].astype(np.int64),
            per_instance=minutes[:, 3],
            activities=tuple(self._activities),
        )
