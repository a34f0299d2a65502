"""Simulates a profile's run with discrete events; returns the `ProfileObservation` that AWS and Locust would give."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.simulation.model import Duration
from benchmarks.simulation.queue import EndpointModel, FunctionModel, Segment, Simulation, simulate
from tasks.load.profile import Profile
from tasks.scaling.choice import ScalingPlan
from tasks.scaling.target_tracking import TrackingPolicy
from tasks.verdicts.profile_observation import (
    InstanceCounts,
    Interval,
    MetricPoint,
    ObservedActivity,
    ProfileObservation,
    RequestCounts,
)

SLOTS, SERVICE_MS, OWN_MS = 4, 40.0, 8.0
LOOK_SECONDS = 0.2


def seen_by_simulation(plan: ScalingPlan, profile: Profile, *, seed: int = 1) -> ProfileObservation:
    """Run the profile through a function and an endpoint that are set as the plan says."""
    policy = TrackingPolicy(
        target=plan.value("target_value"),
        minimum=plan.count("min_instances"),
        maximum=plan.count("max_instances"),
        scale_out_cooldown=plan.value("scale_out_cooldown"),
        scale_in_cooldown=plan.value("scale_in_cooldown"),
    )
    startup = plan.measured.instance_startup_seconds.value
    run = simulate(
        [Segment(stage.rate_per_second, stage.seconds) for stage in profile.stages],
        endpoint=EndpointModel(SLOTS, Duration(SERVICE_MS), policy.minimum, startup, policy, "least outstanding"),
        function=FunctionModel(
            Duration(OWN_MS), plan.count("reserved_concurrency"), plan.count("provisioned_concurrency"), 60.0
        ),
        time_scale=plan.measured.time_scale,
        seed=seed,
    )
    names = dict.fromkeys(stage.name for stage in profile.stages)
    stages = tuple(_stretch(run, name, *profile.span(name)) for name in names)
    due = int(run.arrived.size)
    failed = int(np.isnan(run.latency_ms).sum())
    return ProfileObservation(
        through="function",
        target="simulated:live",
        began=0.0,
        time_scale=plan.measured.time_scale,
        is_valid=True,
        why_invalid="",
        counts=RequestCounts(due, due - failed, failed, 0, 0, float(due)),
        stages=stages,
        intervals=stages,
        seconds=(),
        instances=_looks(run, profile.seconds),
        activities=tuple(_activity(each.decided, each.completed, each.after) for each in run.activities),
        alarms=(),
        series=_series(run, plan.measured.time_scale),
    )


def _stretch(run: Simulation, name: str, begin: float, end: float) -> Interval:
    chosen = run.within(begin, end)
    due, throttled = int(chosen.sum()), int(run.throttled[chosen].sum())
    answered = due - int(np.isnan(run.latency_ms[chosen]).sum())
    told = [run.percentile_ms(percent, begin, end) for percent in (50, 95, 99)]
    p50, p95, p99 = (None if math.isnan(value) else value for value in told)
    return Interval(begin, end, due, answered, due - answered, throttled, p50, p95, p99, name)


def _looks(run: Simulation, seconds: float) -> tuple[InstanceCounts, ...]:
    moments = np.arange(0.0, seconds + LOOK_SECONDS, LOOK_SECONDS)
    counts = [run.instances_at(float(at)) for at in moments]
    return tuple(
        InstanceCounts(float(at), count, count, "InService") for at, count in zip(moments, counts, strict=True)
    )


def _activity(decided: float, completed: float, after: int) -> ObservedActivity:
    return ObservedActivity(
        decided, completed, f"Setting desired instance count to {after}.", "alarm", "Successful", ""
    )


def _series(run: Simulation, scale: float) -> dict[str, tuple[MetricPoint, ...]]:
    """Return the minutes that CloudWatch would give; a request counts in the minute in which it arrived."""
    length = 60 / scale
    found: dict[str, list[MetricPoint]] = {
        name: [] for name in ("invocations", "throttles", "spillover", "duration_ms")
    }
    for end in run.minute_ends.tolist():
        chosen = run.within(end - length, end)
        ran = chosen & ~run.throttled
        values = {
            "invocations": float(ran.sum()),
            "throttles": float((chosen & run.throttled).sum()),
            "spillover": float((ran & run.spilled).sum()),
            "duration_ms": float(np.nansum(run.latency_ms[ran])),
        }
        for name, value in values.items():
            found[name].append(MetricPoint(end - length, end, value))
    found["per_instance"] = [
        MetricPoint(end - length, end, value)
        for end, value in zip(run.minute_ends.tolist(), run.per_instance.tolist(), strict=True)
    ]
    return {name: tuple(points) for name, points in found.items()}
