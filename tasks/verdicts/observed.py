"""Read off what was seen, for each prediction of a plan, the value that it predicted, or say why it was not seen.

Pure. Seconds are AWS's here, as in the predictions; shares have the number of requests that they are of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tasks.load.profile import Profile
from tasks.scaling.choice import Prediction, ScalingPlan
from tasks.verdicts.seen import Point, Scaled, Seen, Stretch


@dataclass(frozen=True)
class Observed:
    """One observation; `value` None was not observed, and `how` says why.

    With `is_bound`, the true value is at most this: enough to hold an upper limit, not to break one. What `is_scarce`
    was not observed for want of samples, which says nothing against the plan. `disturbed` says what spoilt the stage
    that it was seen in, "" when nothing did.
    """

    value: float | None
    how: str
    samples: int | None = None
    is_bound: bool = False
    is_scarce: bool = False
    disturbed: str = ""

    @property
    def is_sound(self) -> bool:
        """Whether it says something: it was seen, or not seen for no want of samples, in an undisturbed stage."""
        return not (self.disturbed or self.is_scarce)


@dataclass(frozen=True)
class ScaleOut:
    """The moments of the first scale-out after the rise, in real seconds; None where one did not come about."""

    crossed: float | None
    over_at: float | None
    decided: float | None
    serves: float | None


STAGES = ("baseline", "ramp", "peak", "spike", "return")
Look = Callable[[ScalingPlan, Profile, Seen], Observed]
Moment = Callable[[ScaleOut], float | None]


def observe(plan: ScalingPlan, profile: Profile, seen: Seen) -> dict[str, Observed]:
    """Return an observation for every prediction of the plan that this run can show anything of."""
    found: dict[str, Observed] = {}
    for name, (_, predicted) in plan.predictions.items():
        look, needed = _LOOKS.get(name), stages_of(predicted)
        if look is None or (name in _OF_FUNCTION and seen.through != "function"):
            continue
        if any(seen.stage(stage) is None for stage in needed):
            found[name] = Observed(None, f"this run had no {needed[-1]}", is_scarce=True)
        else:
            doubt = disturbance(seen, needed, by_others=predicted.unit == "instances")
            found[name] = replace(look(plan, profile, seen), disturbed=doubt)
    return found


def stages_of(predicted: Prediction) -> tuple[str, ...]:
    """Return the stages that a prediction's observation rests on: the fleet of each was built from the rise on."""
    after_rise = STAGES[1:]
    return after_rise[: after_rise.index(predicted.stage) + 1] if predicted.stage in after_rise else (predicted.stage,)


def disturbance(seen: Seen, stages: Sequence[str], *, by_others: bool = False) -> str:
    """Return what spoilt any of these stages, or the whole run; "" when nothing did.

    With `by_others`, only what no load of ours causes: how many instances there are is decided by requests a minute,
    however hard they press the machine, and a plan that overloads one instance must not be excused by that.
    """
    if seen.is_void:
        return seen.why_invalid
    reasons = seen.disturbed_by_others if by_others else seen.disturbed
    return "; ".join(f"{stage}: {why}" for stage in stages if (why := reasons.get(stage)))


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
    return ScaleOut(crossed, _run_above(minutes, target), activity.at, _serves(seen, activity, before))


def _serves(seen: Seen, activity: Scaled, before: int) -> float | None:
    """Return when more instances served: DescribeEndpoint shows it at the next look, the activity's end exactly."""
    looked = next((look.at for look in seen.instances if look.at >= activity.at and look.current > before), None)
    if looked is None or activity.ended is None or activity.status != "Successful":
        return looked
    return min(looked, activity.ended)


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


def _lag(begin: Moment, end: Moment, how: str) -> Look:
    """Return what reads off the time between two moments of the first scale-out, in AWS's seconds."""

    def look(plan: ScalingPlan, profile: Profile, seen: Seen) -> Observed:
        out = scale_out(plan, profile, seen)
        began, ended = begin(out), end(out)
        if began is None or ended is None:
            return Observed(None, _why_no_scale_out(plan, seen, out))
        return Observed((ended - began) * seen.time_scale, how)

    return look


def _why_no_scale_out(plan: ScalingPlan, seen: Seen, out: ScaleOut) -> str:
    if out.crossed is None:
        return f"the profile never exceeded the target of {plan.value('target_value'):g}: nothing had to scale out"
    if out.decided is None:
        return "no scale-out was decided after the load rose above the target"
    if out.over_at is None:
        return "no minute above the target was seen before the decision"
    return f"no further instance served; {_most(seen)} did"


def _seconds_to_peak(plan: ScalingPlan, _: Profile, seen: Seen) -> Observed:
    wanted = plan.predictions["instances_at_peak"][1].value
    begin, until = _limits(seen, "ramp")[0], _limits(seen, "peak")[1]
    if (seen.serving(begin) or 0) >= wanted:
        return Observed(0.0, "DescribeEndpoint: they served before the rise")
    for look in seen.instances:
        if begin <= look.at <= until and look.current >= wanted:
            return Observed((look.at - begin) * seen.time_scale, "DescribeEndpoint against Locust's stages")
    most = max((look.current for look in seen.instances if begin <= look.at <= until), default=0)
    return Observed(None, f"{wanted:g} instances did not serve before the peak was over; {most} did")


def _seconds_to_baseline(plan: ScalingPlan, _: Profile, seen: Seen) -> Observed:
    wanted = plan.count("min_instances")
    begin, until = _limits(seen, "return")
    if (seen.serving(begin) or math.inf) <= wanted:
        return Observed(0.0, "DescribeEndpoint: no more served when the load went")
    for look in seen.instances:
        if begin <= look.at <= until and look.current <= wanted:
            return Observed((look.at - begin) * seen.time_scale, "DescribeEndpoint against Locust's stages")
    return Observed(None, f"{seen.serving(until)} instances still served when the profile ended")


def _endpoint_p95(plan: ScalingPlan, _: Profile, seen: Seen) -> Observed:
    p95 = _percentile(seen.stage("peak"), "through the function" if seen.through == "function" else "directly")
    if seen.through == "endpoint" or p95.value is None:
        return p95
    if p95.value > plan.predictions["endpoint_p95_at_peak"][1].high:
        why = f"through the function p95 is {p95.value:.0f} ms, which says nothing of the endpoint: test it directly"
        return Observed(None, why, p95.samples, is_scarce=True)
    return Observed(p95.value, "Locust through the function: the endpoint's part is at most this", p95.samples, True)


def _throttled(seen: Seen) -> Observed:
    begin, end = _limits(seen, "spike")
    ran, refused = seen.total("invocations", begin, end), seen.total("throttles", begin, end)
    if ran is None or refused is None or ran + refused == 0:
        return Observed(None, "CloudWatch has no whole minute of the spike", is_scarce=True)
    how = "CloudWatch: Throttles / (Invocations + Throttles) of the spike's whole minutes"
    return Observed(refused / (ran + refused), how, round(ran + refused))


def _in_flight(seen: Seen, stage: str) -> Observed:
    begin, end = _limits(seen, stage)
    minutes = seen.within("invocations", begin, end)
    duration, ran = seen.total("duration_ms", begin, end), sum(point.value for point in minutes)
    if duration is None or not ran:
        return Observed(None, f"CloudWatch has no whole minute of the {stage}", is_scarce=True)
    seconds = sum(point.until - point.at for point in minutes)
    return Observed(duration / 1000 / seconds, "CloudWatch: Duration sum over time (Little's law)", round(ran))


def _spillover(seen: Seen, stage: str) -> Observed:
    begin, end = _limits(seen, stage)
    ran = seen.total("invocations", begin, end)
    spilled, kept = seen.total("spillover", begin, end), seen.total("provisioned", begin, end)
    if not ran or (spilled is None and kept is None):
        why = f"CloudWatch has no whole minute of the {stage} with provisioned concurrency"
        return Observed(None, why, is_scarce=True)
    return Observed((spilled or 0.0) / ran, "CloudWatch: spillover / Invocations of the alias", round(ran))


def _count(seen: Seen, stage: str) -> Observed:
    count = seen.serving(_limits(seen, stage)[1])
    if count is None:
        return Observed(None, "DescribeEndpoint was not answered by then", is_scarce=True)
    return Observed(float(count), f"DescribeEndpoint at the end of the {stage}")


def _percentile(stage: Stretch | None, way: str) -> Observed:
    if stage is None or stage.p95_ms is None:
        answered = 0 if stage is None else stage.answered
        return Observed(None, f"{answered} answers at peak are too few for p95", answered, is_scarce=True)
    return Observed(stage.p95_ms, f"Locust {way}, from the intended start", stage.answered)


def _share(stage: Stretch | None, count: Callable[[Stretch], int], how: str) -> Observed:
    if stage is None or stage.due == 0:
        return Observed(None, "no request was due", is_scarce=True)
    return Observed(count(stage) / stage.due, how, stage.due)


def _limits(seen: Seen, stage: str) -> tuple[float, float]:
    found = seen.stage(stage)
    if found is None:
        raise ValueError(f"the profile has no stage {stage}: it has {', '.join(each.name for each in seen.stages)}")
    return found.begin, found.end


def _most(seen: Seen) -> int:
    return max((look.current for look in seen.instances), default=0)


def preferred(several: Sequence[Mapping[str, Observed]]) -> dict[str, Observed]:
    """Join observations of several runs: the first sound one that has a value wins, an exact one before a bound."""
    joined: dict[str, Observed] = {}
    for found in several:
        for name, each in found.items():
            kept = joined.get(name)
            if kept is None or _rank(each) > _rank(kept):
                joined[name] = each
    return joined


def _rank(observed: Observed) -> tuple[bool, bool, bool]:
    return observed.is_sound, observed.is_sound or observed.value is not None, not observed.is_bound


def _counted(stage: str) -> Look:
    return lambda _plan, _profile, seen: _count(seen, stage)


_LOOKS: Mapping[str, Look] = {
    "instances_at_baseline": _counted("baseline"),
    "instances_at_peak": _counted("peak"),
    "instances_at_spike": _counted("spike"),
    "instances_after_return": _counted("return"),
    "seconds_to_peak_instances": _seconds_to_peak,
    "seconds_to_baseline_instances": _seconds_to_baseline,
    "endpoint_p95_at_peak": _endpoint_p95,
    "errors_at_peak": lambda _plan, _profile, seen: errors_of(seen, "peak"),
    "lag_metric": _lag(
        lambda out: out.crossed, lambda out: out.over_at, "CloudWatch InvocationsPerInstance against Locust's stages"
    ),
    "lag_decision": _lag(
        lambda out: out.over_at, lambda out: out.decided, "DescribeScalingActivities StartTime against CloudWatch"
    ),
    "lag_startup": _lag(lambda out: out.decided, lambda out: out.serves, "DescribeScalingActivities, start to end"),
    "lag_total": _lag(lambda out: out.crossed, lambda out: out.serves, "DescribeScalingActivities' end against Locust"),
    "function_p95_at_peak": lambda _plan, _profile, seen: _percentile(seen.stage("peak"), "through the alias"),
    "throttled_at_spike": lambda _plan, _profile, seen: _throttled(seen),
    "concurrency_at_peak": lambda _plan, _profile, seen: _in_flight(seen, "peak"),
    "concurrency_at_spike": lambda _plan, _profile, seen: _in_flight(seen, "spike"),
    "spillover_at_baseline": lambda _plan, _profile, seen: _spillover(seen, "baseline"),
    "spillover_at_peak": lambda _plan, _profile, seen: _spillover(seen, "peak"),
}
"""How each prediction is read off a run, by its name."""
_OF_FUNCTION = frozenset(
    {
        "function_p95_at_peak",
        "throttled_at_spike",
        "concurrency_at_peak",
        "concurrency_at_spike",
        "spillover_at_baseline",
        "spillover_at_peak",
    }
)
