"""Derives from a profile's observation the observed value of each prediction, or the reason why there is none.

The functions are pure. Seconds are AWS time, as in the predictions. Each share has the number of requests behind it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tasks.load.profile import Profile
from tasks.scaling.choice import Prediction, ScalingPlan
from tasks.verdicts.profile_observation import Interval, ProfileObservation
from tasks.verdicts.scale_out import ScaleOut, first_scale_out


@dataclass(frozen=True)
class ObservedValue:
    """The observed value of a prediction. `value` is None when it was not observed, and `how` then says why.

    With `is_upper_bound` the true value may be lower, so the value can confirm an upper limit but cannot refute one.
    With `lacks_samples` there were too few samples, which is no evidence against the plan. `disturbed` says what
    disturbed its stage, or is "" when nothing did.
    """

    value: float | None
    how: str
    samples: int | None = None
    is_upper_bound: bool = False
    lacks_samples: bool = False
    disturbed: str = ""

    @property
    def is_conclusive(self) -> bool:
        """Whether the value can be judged: its stage was undisturbed and had enough samples."""
        return not (self.disturbed or self.lacks_samples)


STAGES = ("baseline", "ramp", "peak", "spike", "return")
ValueReader = Callable[[ScalingPlan, Profile, ProfileObservation], ObservedValue]
MomentReader = Callable[[ScaleOut], float | None]


def observe_values(plan: ScalingPlan, profile: Profile, observation: ProfileObservation) -> dict[str, ObservedValue]:
    """Return the observed value of every prediction that this run can test.

    Raises:
        KeyError: the profile or the plan lacks a name that a prediction needs.
    """
    found: dict[str, ObservedValue] = {}
    for name, (_, predicted) in plan.predictions.items():
        read_value, needed = _READERS.get(name), stages_needed(predicted)
        if read_value is None or (name in _OF_FUNCTION and observation.through != "function"):
            continue
        if any(observation.stage(stage) is None for stage in needed):
            found[name] = ObservedValue(None, f"this run had no stage {needed[-1]}", lacks_samples=True)
        else:
            doubt = disturbance(observation, needed, by_others=predicted.unit == "instances")
            found[name] = replace(read_value(plan, profile, observation), disturbed=doubt)
    return found


def stages_needed(predicted: Prediction) -> tuple[str, ...]:
    """Return the stages that a prediction depends on. A stage after the rise depends on all stages since the rise."""
    after_rise = STAGES[1:]
    return after_rise[: after_rise.index(predicted.stage) + 1] if predicted.stage in after_rise else (predicted.stage,)


def disturbance(observation: ProfileObservation, stages: Sequence[str], *, by_others: bool = False) -> str:
    """Return what disturbed any of these stages or the whole run; "" when nothing did.

    `by_others` leaves out what kennel's own load may cause. Predictions of instance counts use it: the requests a
    minute decide the count however busy the machine is, so an overloaded machine must not excuse the plan.
    """
    if observation.is_void:
        return observation.why_invalid
    reasons = observation.disturbed_by_others if by_others else observation.disturbed
    return "; ".join(f"{stage}: {why}" for stage in stages if (why := reasons.get(stage)))


def error_share(observation: ProfileObservation, stage: str) -> ObservedValue:
    """Return the share of a stage's requests that failed, without the throttled ones."""
    return _share(observation.stage(stage), lambda row: row.failed - row.throttled, f"Locust: failed / due of {stage}")


def throttle_share(observation: ProfileObservation, stage: str) -> ObservedValue:
    """Return the share of a stage's requests that were answered with 429 or a throttling error."""
    return _share(observation.stage(stage), lambda row: row.throttled, f"Locust: throttled / due of {stage}")


def _lag(begin: MomentReader, end: MomentReader, how: str) -> ValueReader:
    """Return a function that reads the time between two moments of the first scale-out, in seconds of AWS time."""

    def read_value(plan: ScalingPlan, profile: Profile, observation: ProfileObservation) -> ObservedValue:
        out = first_scale_out(plan, profile, observation)
        began, ended = begin(out), end(out)
        if began is None or ended is None:
            return ObservedValue(None, _why_no_scale_out(plan, observation, out))
        return ObservedValue((ended - began) * observation.time_scale, how)

    return read_value


def _why_no_scale_out(plan: ScalingPlan, observation: ProfileObservation, out: ScaleOut) -> str:
    if out.crossed is None:
        return f"the load never exceeded the target of {plan.value('target_value'):g}, so nothing had to scale out"
    if out.decided is None:
        return "no scale-out was decided after the load rose above the target"
    if out.over_at is None:
        return "CloudWatch has no minute above the target before the decision"
    return f"no added instance served; at most {_most(observation)} instances did"


def _seconds_to_peak(plan: ScalingPlan, _: Profile, observation: ProfileObservation) -> ObservedValue:
    wanted = plan.predictions["instances_at_peak"][1].value
    begin, until = _limits(observation, "ramp")[0], _limits(observation, "peak")[1]
    if (observation.serving(begin) or 0) >= wanted:
        return ObservedValue(0.0, "DescribeEndpoint: the instances served before the rise")
    for poll in observation.instances:
        if begin <= poll.at <= until and poll.current >= wanted:
            return ObservedValue((poll.at - begin) * observation.time_scale, "DescribeEndpoint against Locust's stages")
    most = max((poll.current for poll in observation.instances if begin <= poll.at <= until), default=0)
    return ObservedValue(None, f"at most {most} of {wanted:g} instances served before the peak was over")


def _seconds_to_baseline(plan: ScalingPlan, _: Profile, observation: ProfileObservation) -> ObservedValue:
    wanted = plan.count("min_instances")
    begin, until = _limits(observation, "return")
    if (observation.serving(begin) or math.inf) <= wanted:
        return ObservedValue(0.0, "DescribeEndpoint: no more instances served when the load fell")
    for poll in observation.instances:
        if begin <= poll.at <= until and poll.current <= wanted:
            return ObservedValue((poll.at - begin) * observation.time_scale, "DescribeEndpoint against Locust's stages")
    return ObservedValue(None, f"{observation.serving(until)} instances still served when the profile ended")


def _endpoint_p95(plan: ScalingPlan, _: Profile, observation: ProfileObservation) -> ObservedValue:
    p95 = _percentile(
        observation.stage("peak"), "through the function" if observation.through == "function" else "directly"
    )
    if observation.through == "endpoint" or p95.value is None:
        return p95
    if p95.value > plan.predictions["endpoint_p95_at_peak"][1].high:
        why = (
            f"p95 through the function is {p95.value:.0f} ms, which does not show the endpoint's part: test it directly"
        )
        return ObservedValue(None, why, p95.samples, lacks_samples=True)
    return ObservedValue(
        p95.value, "Locust through the function: the endpoint's latency is at most this", p95.samples, True
    )


def _throttled(observation: ProfileObservation) -> ObservedValue:
    begin, end = _limits(observation, "spike")
    ran, refused = observation.total("invocations", begin, end), observation.total("throttles", begin, end)
    if ran is None or refused is None or ran + refused == 0:
        return ObservedValue(None, "CloudWatch has no whole minute of the spike", lacks_samples=True)
    how = "CloudWatch: Throttles / (Invocations + Throttles) of the spike's whole minutes"
    return ObservedValue(refused / (ran + refused), how, round(ran + refused))


def _in_flight(observation: ProfileObservation, stage: str) -> ObservedValue:
    begin, end = _limits(observation, stage)
    minutes = observation.within("invocations", begin, end)
    duration, ran = observation.total("duration_ms", begin, end), sum(point.value for point in minutes)
    if duration is None or not ran:
        return ObservedValue(None, f"CloudWatch has no whole minute of the {stage}", lacks_samples=True)
    seconds = sum(point.until - point.at for point in minutes)
    return ObservedValue(duration / 1000 / seconds, "CloudWatch: Duration sum over time (Little's law)", round(ran))


def _spillover(observation: ProfileObservation, stage: str) -> ObservedValue:
    begin, end = _limits(observation, stage)
    ran = observation.total("invocations", begin, end)
    spilled, kept = observation.total("spillover", begin, end), observation.total("provisioned", begin, end)
    if not ran or (spilled is None and kept is None):
        why = f"CloudWatch has no whole minute of the {stage} with provisioned concurrency"
        return ObservedValue(None, why, lacks_samples=True)
    return ObservedValue((spilled or 0.0) / ran, "CloudWatch: spillover / Invocations of the alias", round(ran))


def _count(observation: ProfileObservation, stage: str) -> ObservedValue:
    count = observation.serving(_limits(observation, stage)[1])
    if count is None:
        return ObservedValue(None, "no DescribeEndpoint poll was answered by then", lacks_samples=True)
    return ObservedValue(float(count), f"DescribeEndpoint at the end of the {stage}")


def _percentile(stage: Interval | None, way: str) -> ObservedValue:
    if stage is None or stage.p95_ms is None:
        answered = 0 if stage is None else stage.answered
        return ObservedValue(None, f"{answered} answers at peak are too few for p95", answered, lacks_samples=True)
    return ObservedValue(stage.p95_ms, f"Locust {way}, from the intended start", stage.answered)


def _share(stage: Interval | None, count: Callable[[Interval], int], how: str) -> ObservedValue:
    if stage is None or stage.due == 0:
        return ObservedValue(None, "no request was due", lacks_samples=True)
    return ObservedValue(count(stage) / stage.due, how, stage.due)


def _limits(observation: ProfileObservation, stage: str) -> tuple[float, float]:
    found = observation.stage(stage)
    if found is None:
        raise ValueError(
            f"the profile has no stage {stage}: it has {', '.join(each.name for each in observation.stages)}"
        )
    return found.begin, found.end


def _most(observation: ProfileObservation) -> int:
    return max((poll.current for poll in observation.instances), default=0)


def join_values(several: Sequence[Mapping[str, ObservedValue]]) -> dict[str, ObservedValue]:
    """Join the observed values of several runs: a conclusive value is preferred, then an exact one, then the first."""
    joined: dict[str, ObservedValue] = {}
    for found in several:
        for name, each in found.items():
            kept = joined.get(name)
            if kept is None or _rank(each) > _rank(kept):
                joined[name] = each
    return joined


def _rank(observed: ObservedValue) -> tuple[bool, bool, bool]:
    return observed.is_conclusive, observed.is_conclusive or observed.value is not None, not observed.is_upper_bound


def _counted(stage: str) -> ValueReader:
    return lambda _plan, _profile, observation: _count(observation, stage)


_READERS: Mapping[str, ValueReader] = {
    "instances_at_baseline": _counted("baseline"),
    "instances_at_peak": _counted("peak"),
    "instances_at_spike": _counted("spike"),
    "instances_after_return": _counted("return"),
    "seconds_to_peak_instances": _seconds_to_peak,
    "seconds_to_baseline_instances": _seconds_to_baseline,
    "endpoint_p95_at_peak": _endpoint_p95,
    "errors_at_peak": lambda _plan, _profile, observation: error_share(observation, "peak"),
    "lag_metric": _lag(
        lambda out: out.crossed, lambda out: out.over_at, "CloudWatch InvocationsPerInstance against Locust's stages"
    ),
    "lag_decision": _lag(
        lambda out: out.over_at, lambda out: out.decided, "DescribeScalingActivities StartTime against CloudWatch"
    ),
    "lag_startup": _lag(lambda out: out.decided, lambda out: out.serves, "DescribeScalingActivities, start to end"),
    "lag_total": _lag(lambda out: out.crossed, lambda out: out.serves, "DescribeScalingActivities' end against Locust"),
    "function_p95_at_peak": lambda _plan, _profile, observation: _percentile(
        observation.stage("peak"), "through the alias"
    ),
    "throttled_at_spike": lambda _plan, _profile, observation: _throttled(observation),
    "concurrency_at_peak": lambda _plan, _profile, observation: _in_flight(observation, "peak"),
    "concurrency_at_spike": lambda _plan, _profile, observation: _in_flight(observation, "spike"),
    "spillover_at_baseline": lambda _plan, _profile, observation: _spillover(observation, "baseline"),
    "spillover_at_peak": lambda _plan, _profile, observation: _spillover(observation, "peak"),
}
"""The function that reads the observed value of each prediction, by the prediction's name."""
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
