"""Read off what was seen, for each prediction of a plan, the value that it predicted, or say why it was not seen.

Pure. Seconds are AWS's here, as in the predictions; shares have the number of requests that they are of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tasks.load_profile import Profile
from tasks.profile_records import Point, Scaled, Seen, Stretch
from tasks.scaling_choice import ScalingPlan


@dataclass(frozen=True)
class Observed:
    """One observation; `value` None was not observed, and `how` says why.

    With `is_bound`, the true value is at most this: enough to hold an upper limit, not to break one.
    """

    value: float | None
    how: str
    samples: int | None = None
    is_bound: bool = False


@dataclass(frozen=True)
class ScaleOut:
    """The moments of the first scale-out after the rise, in real seconds; None where one did not come about."""

    crossed: float | None
    over_at: float | None
    decided: float | None
    serves: float | None


def observe(plan: ScalingPlan, profile: Profile, seen: Seen) -> dict[str, Observed]:
    """Return an observation for every prediction of the plan that this run can show anything of."""
    found = {
        f"instances_{name}": _count(seen, stage)
        for name, stage in (
            ("at_baseline", "baseline"),
            ("at_peak", "peak"),
            ("at_spike", "spike"),
            ("after_return", "return"),
        )
    }
    found |= {
        "seconds_to_peak_instances": _seconds_to_peak(plan, seen),
        "seconds_to_baseline_instances": _seconds_to_baseline(plan, seen),
        "endpoint_p95_at_peak": _endpoint_p95(plan, seen),
        "errors_at_peak": errors_of(seen, "peak"),
        **_lags(plan, profile, seen),
    }
    return found | _of_function(seen) if seen.through == "function" else found


def errors_of(seen: Seen, stage: str) -> Observed:
    """Return the share of a stage's requests that failed otherwise than by throttling."""
    return _share(seen.stage(stage), lambda row: row.failed - row.throttled, f"Locust: failed / due of {stage}")


def throttles_of(seen: Seen, stage: str) -> Observed:
    """Return the share of a stage's requests that were answered with 429 or a throttling error."""
    return _share(seen.stage(stage), lambda row: row.throttled, f"Locust: throttled / due of {stage}")


def scale_out(plan: ScalingPlan, profile: Profile, seen: Seen) -> ScaleOut:
    """Return the moments of the first scale-out after the rise.

    The minute that counts is the first of those above the target, without a gap, that ended before the decision.
    """
    rise, target = profile.span("ramp")[0], plan.value("target_value")
    before = seen.serving(rise) or 1
    crossed = profile.rises_above(before * target * plan.measured.time_scale / 60)
    after = crossed if crossed is not None and crossed >= rise else rise
    activity = _first_out(seen, after)
    if crossed is None or activity is None:
        return ScaleOut(crossed, None, None, None)
    minutes = [point for point in seen.series.get("per_instance", ()) if after < point.until <= activity.at + 1e-6]
    serves = next((look.at for look in seen.instances if look.at >= activity.at and look.current > before), None)
    return ScaleOut(crossed, _run_above(minutes, target), activity.at, serves)


def _run_above(minutes: Sequence[Point], target: float) -> float | None:
    """Return when the first of the last minutes above the target ended."""
    begin = None
    for point in reversed(minutes):
        if point.value <= target:
            break
        begin = point.until
    return begin


def _first_out(seen: Seen, after: float) -> Scaled | None:
    """Return the first activity after a moment that raised the desired count."""
    for activity in seen.activities:
        wanted = desired_by(activity)
        if activity.at >= after and wanted is not None and wanted > (seen.serving(activity.at) or 1):
            return activity
    return None


def desired_by(activity: Scaled) -> int | None:
    """Return the count that an activity's description names, None when it names none."""
    digits = activity.description.rstrip(".").rpartition(" ")[2]
    return int(digits) if digits.isdigit() else None


def _lags(plan: ScalingPlan, profile: Profile, seen: Seen) -> dict[str, Observed]:
    out, scale = scale_out(plan, profile, seen), seen.time_scale

    def between(begin: float | None, end: float | None, how: str) -> Observed:
        if begin is None or end is None:
            return Observed(None, _why_no_scale_out(plan, seen, out))
        return Observed((end - begin) * scale, how)

    return {
        "lag_metric": between(out.crossed, out.over_at, "CloudWatch InvocationsPerInstance against Locust's stages"),
        "lag_decision": between(out.over_at, out.decided, "DescribeScalingActivities StartTime against CloudWatch"),
        "lag_startup": between(out.decided, out.serves, "DescribeEndpoint against DescribeScalingActivities"),
        "lag_total": between(out.crossed, out.serves, "DescribeEndpoint against Locust's stages"),
    }


def _why_no_scale_out(plan: ScalingPlan, seen: Seen, out: ScaleOut) -> str:
    if out.crossed is None:
        return f"the profile never exceeded the target of {plan.value('target_value'):g}: nothing had to scale out"
    if out.decided is None:
        return "no scale-out was decided after the load rose above the target"
    if out.over_at is None:
        return "no minute above the target was seen before the decision"
    return f"no further instance served; {_most(seen)} did"


def _seconds_to_peak(plan: ScalingPlan, seen: Seen) -> Observed:
    wanted = plan.predictions["instances_at_peak"][1].value
    begin, until = _limits(seen, "ramp")[0], _limits(seen, "peak")[1]
    if (seen.serving(begin) or 0) >= wanted:
        return Observed(0.0, "DescribeEndpoint: they served before the rise")
    for look in seen.instances:
        if begin <= look.at <= until and look.current >= wanted:
            return Observed((look.at - begin) * seen.time_scale, "DescribeEndpoint against Locust's stages")
    most = max((look.current for look in seen.instances if begin <= look.at <= until), default=0)
    return Observed(None, f"{wanted:g} instances did not serve before the peak was over; {most} did")


def _seconds_to_baseline(plan: ScalingPlan, seen: Seen) -> Observed:
    wanted = plan.count("min_instances")
    begin, until = _limits(seen, "return")
    if (seen.serving(begin) or math.inf) <= wanted:
        return Observed(0.0, "DescribeEndpoint: no more served when the load went")
    for look in seen.instances:
        if begin <= look.at <= until and look.current <= wanted:
            return Observed((look.at - begin) * seen.time_scale, "DescribeEndpoint against Locust's stages")
    return Observed(None, f"{seen.serving(until)} instances still served when the profile ended")


def _endpoint_p95(plan: ScalingPlan, seen: Seen) -> Observed:
    p95 = _percentile(seen.stage("peak"), "through the function" if seen.through == "function" else "directly")
    if seen.through == "endpoint" or p95.value is None:
        return p95
    if p95.value > plan.predictions["endpoint_p95_at_peak"][1].high:
        why = f"through the function p95 is {p95.value:.0f} ms, which says nothing of the endpoint: test it directly"
        return Observed(None, why, p95.samples)
    return Observed(p95.value, "Locust through the function: the endpoint's part is at most this", p95.samples, True)


def _of_function(seen: Seen) -> dict[str, Observed]:
    return {
        "function_p95_at_peak": _percentile(seen.stage("peak"), "through the alias"),
        "throttled_at_spike": _throttled(seen),
        "concurrency_at_peak": _in_flight(seen, "peak"),
        "concurrency_at_spike": _in_flight(seen, "spike"),
        "spillover_at_baseline": _spillover(seen, "baseline"),
        "spillover_at_peak": _spillover(seen, "peak"),
    }


def _throttled(seen: Seen) -> Observed:
    begin, end = _limits(seen, "spike")
    ran, refused = seen.total("invocations", begin, end), seen.total("throttles", begin, end)
    if ran is None or refused is None or ran + refused == 0:
        return Observed(None, "CloudWatch has no whole minute of the spike")
    how = "CloudWatch: Throttles / (Invocations + Throttles) of the spike's whole minutes"
    return Observed(refused / (ran + refused), how, round(ran + refused))


def _in_flight(seen: Seen, stage: str) -> Observed:
    begin, end = _limits(seen, stage)
    minutes = seen.within("invocations", begin, end)
    duration, ran = seen.total("duration_ms", begin, end), sum(point.value for point in minutes)
    if duration is None or not ran:
        return Observed(None, f"CloudWatch has no whole minute of the {stage}")
    seconds = sum(point.until - point.at for point in minutes)
    return Observed(duration / 1000 / seconds, "CloudWatch: Duration sum over time (Little's law)", round(ran))


def _spillover(seen: Seen, stage: str) -> Observed:
    begin, end = _limits(seen, stage)
    ran = seen.total("invocations", begin, end)
    spilled, kept = seen.total("spillover", begin, end), seen.total("provisioned", begin, end)
    if not ran or (spilled is None and kept is None):
        return Observed(None, f"CloudWatch has no whole minute of the {stage} with provisioned concurrency")
    return Observed((spilled or 0.0) / ran, "CloudWatch: spillover / Invocations of the alias", round(ran))


def _count(seen: Seen, stage: str) -> Observed:
    count = seen.serving(_limits(seen, stage)[1])
    if count is None:
        return Observed(None, "DescribeEndpoint was not answered by then")
    return Observed(float(count), f"DescribeEndpoint at the end of the {stage}")


def _percentile(stage: Stretch | None, way: str) -> Observed:
    if stage is None or stage.p95_ms is None:
        answered = 0 if stage is None else stage.answered
        return Observed(None, f"{answered} answers at peak are too few for p95", answered)
    return Observed(stage.p95_ms, f"Locust {way}, from the intended start", stage.answered)


def _share(stage: Stretch | None, count: Callable[[Stretch], int], how: str) -> Observed:
    if stage is None or stage.due == 0:
        return Observed(None, "no request was due")
    return Observed(count(stage) / stage.due, how, stage.due)


def _limits(seen: Seen, stage: str) -> tuple[float, float]:
    found = seen.stage(stage)
    if found is None:
        raise ValueError(f"the profile has no stage {stage}: it has {', '.join(each.name for each in seen.stages)}")
    return found.begin, found.end


def _most(seen: Seen) -> int:
    return max((look.current for look in seen.instances), default=0)


def preferred(several: Sequence[Mapping[str, Observed]]) -> dict[str, Observed]:
    """Join observations of several runs: the first that has a value wins, one that is no bound before one that is."""
    joined: dict[str, Observed] = {}
    for found in several:
        for name, each in found.items():
            kept = joined.get(name)
            if kept is None or kept.value is None or (kept.is_bound and each.value is not None and not each.is_bound):
                joined[name] = each
    return joined
