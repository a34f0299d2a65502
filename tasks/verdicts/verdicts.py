"""Judges a plan's predictions against the observations, and the runs themselves. The functions are pure.

A verdict is PASS, FAIL or INCONCLUSIVE. It is inconclusive when its stage was disturbed or its samples are too few. A
predicted event that did not happen in an undisturbed stage is a failure. A failed verdict recommends a value for its
number (`tasks.verdicts.recommendation`); an inconclusive one does not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.run.escaping import markdown_table, markdown_text
from tasks.run.records import Number
from tasks.scaling.choice import Choice, Prediction, ScalingPlan, format_amount, margin_within
from tasks.verdicts.observed_values import ObservedValue, disturbance, error_share, throttle_share
from tasks.verdicts.profile_observation import ProfileObservation
from tasks.verdicts.recommendation import BY_HAND, recommend

ENDPOINT_CHOICES = ("min_instances", "max_instances", "target_value", "scale_out_cooldown", "scale_in_cooldown")
RUN = "the run"
State = Literal["PASS", "FAIL", "INCONCLUSIVE"]


@dataclass(frozen=True)
class Verdict:
    """A hypothesis and its result. `choice` is the number of the plan that it judges, or "the run".

    `margin` is the distance to the nearer bound in `unit`, negative outside. The observation may lie outside by
    `chance`, its sampling error, and by `noise`, this machine's timing error. `recommended` is a value for `choice`.
    `why` says how the value was observed; for an inconclusive verdict it says why there is none.
    """

    name: str
    choice: str
    what: str
    predicted: Number
    low: Number
    high: Number
    observed: Number | None
    unit: str
    state: State
    margin: float | None
    recommended: Number | None
    why: str
    samples: int | None = None
    chance: float = 0.0
    noise: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the hypothesis held."""
        return self.state == "PASS"

    @property
    def range(self) -> str:
        """The predicted range as text, with the allowances for sampling error and for this machine's timing error."""
        text = f"{format_amount(self.low, self.unit)} to {format_amount(self.high, self.unit)}"
        text += f" ± {format_amount(self.noise, self.unit)} of this machine" if self.noise else ""
        return text + (f" ± {format_amount(self.chance, self.unit)} by chance" if self.chance else "")


def judge(
    plan: ScalingPlan,
    observed: Mapping[str, ObservedValue],
    runs: Sequence[ProfileObservation],
    *,
    tests_function: bool,
) -> tuple[Verdict, ...]:
    """Judge every prediction that the runs test, then the runs themselves and the cost.

    Without `tests_function` the profile went directly to the endpoint, so the function's predictions are left out.

    Raises:
        KeyError: the plan lacks a choice.
    """
    missing = ObservedValue(None, "no run observed it")
    verdicts = [
        judge_prediction(choice, each, observed.get(each.name, missing))
        for choice in plan.choices
        if tests_function or choice.name in ENDPOINT_CHOICES
        for each in choice.predictions
    ]
    return (*verdicts, *judge_runs(plan, runs), judge_cost(plan, observed))


def judge_prediction(choice: Choice, predicted: Prediction, observed: ObservedValue) -> Verdict:
    """Judge one prediction by its observed value."""
    held, margin = _held(predicted, observed)
    value, samples = observed.value, observed.samples
    chance = 0.0 if value is None else predicted.sampling_error(value, samples)
    doubt = observed.disturbed or (observed.how if observed.lacks_samples else "")
    if not doubt and value is not None and predicted.has_too_few_samples(value, samples):
        doubt = f"n = {samples} is too few: the sampling error alone is ±{format_amount(chance, predicted.unit)}"
    state: State = "INCONCLUSIVE" if doubt else "PASS" if held else "FAIL"
    return Verdict(
        name=predicted.name,
        choice=choice.name,
        what=predicted.what,
        predicted=predicted.value,
        low=predicted.low,
        high=predicted.high,
        observed=value,
        unit=predicted.unit,
        state=state,
        margin=margin,
        recommended=recommend(choice, predicted, value) if state == "FAIL" else None,
        why=doubt or observed.how,
        samples=samples,
        chance=chance,
        noise=predicted.noise,
    )


def judge_runs(plan: ScalingPlan, runs: Sequence[ProfileObservation]) -> Iterator[Verdict]:
    """Judge each way by all its runs. Another run makes up for an inconclusive verdict, but never for a failed one."""
    for way in dict.fromkeys(observation.through for observation in runs):
        several = [list(judge_run(plan, observation)) for observation in runs if observation.through == way]
        yield from (max(same, key=lambda verdict: _SEVERITY[verdict.state]) for same in zip(*several, strict=True))


def judge_run(plan: ScalingPlan, observation: ProfileObservation) -> Iterator[Verdict]:
    """Judge what must hold for any run: it is valid, no request is lost, and scaling out causes no failed requests."""
    counts, traffic, way = observation.counts, plan.traffic, f", {observation.through}"
    why = observation.why_failed or observation.why_invalid or "Locust's own check of its generator"
    invalid = ObservedValue(float(not observation.is_valid), why, disturbed=why if observation.is_void else "")
    yield _at_most("run_invalid", f"reasons why the run is invalid{way}", "", 0.0, invalid)
    lost = ObservedValue(float(abs(counts.sent - counts.answered - counts.failed)), "Locust's own counts", counts.sent)
    yield _at_most("requests_lost", f"sent − answered − failed{way}", "requests", 0.0, lost)
    yield _accounting(observation, way)
    doubt = disturbance(observation, ("ramp",))
    errors, throttles = (
        dataclasses.replace(find(observation, "ramp"), disturbed=doubt) for find in (error_share, throttle_share)
    )
    most = (traffic.max_error_rate, traffic.max_throttle_rate)
    yield _at_most("errors_in_scale_out", f"requests failed during scale-out{way}", "share", most[0], errors)
    yield _at_most("throttles_in_scale_out", f"requests throttled during scale-out{way}", "share", most[1], throttles)


def judge_cost(plan: ScalingPlan, observed: Mapping[str, ObservedValue]) -> Verdict:
    """Judge the monthly cost, computed with the observed instances at baseline and peak in place of the predicted ones.

    Raises:
        KeyError: the plan lacks a choice.
    """
    verdict = _at_most("monthly_cost", "monthly cost", "USD", plan.traffic.monthly_budget_usd, _cost(plan, observed))
    return dataclasses.replace(verdict, predicted=plan.monthly_cost_usd or 0.0)


def first_throttled(observation: ProfileObservation) -> str:
    """Return which tier refused or failed requests first, and when, as a sentence part."""
    tiers = (
        ("the function throttled (429)", "throttles"),
        ("the endpoint answered 4xx", "endpoint_4xx"),
        ("the endpoint answered 5xx", "endpoint_5xx"),
        ("the function failed", "function_errors"),
    )
    first = [
        (point.at, f"{what} first, in the minute from {_moment(observation, point.at)}")
        for what, name in tiers
        if (point := next((each for each in observation.series.get(name, ()) if each.value > 0), None)) is not None
    ]
    return min(first)[1] if first else "no tier throttled or failed"


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """Return the verdicts as a Markdown table."""
    head = ["verdict", "number", "hypothesis", "predicted", "observed", "n", "margin", "recommended"]
    rows = (_row(verdict) for verdict in verdicts)
    return "\n".join(markdown_table((*head, "how, or why not"), rows)) + "\n"


def failed(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Return the verdicts that failed."""
    return tuple(verdict for verdict in verdicts if verdict.state == "FAIL")


def inconclusive(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Return the verdicts that could not be judged."""
    return tuple(verdict for verdict in verdicts if verdict.state == "INCONCLUSIVE")


def verdict_counts(verdicts: Sequence[Verdict]) -> str:
    """Return how many verdicts passed, failed and were inconclusive, in words."""
    lost, open_ = len(failed(verdicts)), len(inconclusive(verdicts))
    if not lost and not open_:
        return f"all {len(verdicts)} verdicts passed"
    parts = [f"{len(verdicts) - lost - open_} of {len(verdicts)} verdicts passed"]
    parts += [f"{lost} failed"] if lost else []
    return ", ".join(parts + ([f"{open_} inconclusive"] if open_ else []))


def _held(predicted: Prediction, observed: ObservedValue) -> tuple[bool, float | None]:
    if observed.value is None:
        return False, None
    if observed.is_upper_bound:  # the true value may be lower, so this can only confirm an upper limit
        is_open = predicted.low <= 0.0
        margin = predicted.high + predicted.noise - observed.value
        return is_open and margin >= 0, margin
    margin = predicted.margin(observed.value, samples=observed.samples)
    return margin >= 0, margin


def _accounting(observation: ProfileObservation, way: str) -> Verdict:
    """Judge that CloudWatch counted every request once. Requests without an answer may or may not have arrived."""
    counts = observation.counts
    most = float(counts.sent + counts.warm_up)
    tier = "AWS/Lambda Invocations + Throttles" if observation.through == "function" else "AWS/SageMaker Invocations"
    what = f"requests that CloudWatch counted{way}, warm-up included"
    observed = ObservedValue(counts.counted, f"{tier}, summed over the run")
    low = most - counts.unanswered
    return _run_verdict("requests_in_cloudwatch", what, "requests", (most, low, most), observed)


def _cost(plan: ScalingPlan, observed: Mapping[str, ObservedValue]) -> ObservedValue:
    least, cost, share = plan.choice("min_instances"), plan.monthly_cost_usd, plan.traffic.peak_share
    dynamic = plan.choice("target_value").monthly_cost_usd
    if cost is None or least.monthly_cost_usd is None or dynamic is None:
        return ObservedValue(None, f"the price of {plan.measured.instance_type} is unknown")
    baseline, peak = (observed.get(f"instances_at_{stage}") for stage in ("baseline", "peak"))
    if baseline is None or peak is None or baseline.value is None or peak.value is None:
        return ObservedValue(None, "instance counts were not observed", lacks_samples=True)
    mean = baseline.value * (1 - share) + peak.value * share
    priced_for = (
        least.inputs[0].value if least.formula == BY_HAND else least.value
    )  # overriding a number changes no price
    each = least.monthly_cost_usd / priced_for
    share_text = f"peak {100 * share:.0f}% of the time, as the statement says"
    how = f"at the {baseline.value:g} and {peak.value:g} instances observed at baseline and peak; {share_text}"
    doubt = baseline.disturbed or peak.disturbed
    return ObservedValue(cost - least.monthly_cost_usd - dynamic + mean * each, how, disturbed=doubt)


def _at_most(name: str, what: str, unit: str, high: float, observed: ObservedValue) -> Verdict:
    return _run_verdict(name, what, unit, (0.0, 0.0, high), observed)


def _run_verdict(
    name: str, what: str, unit: str, predicted: tuple[float, float, float], observed: ObservedValue
) -> Verdict:
    value, low, high = predicted
    found = observed.value
    held = found is not None and low <= found <= high
    return Verdict(
        name=name,
        choice=RUN,
        what=what,
        predicted=value,
        low=low,
        high=high,
        observed=found,
        unit=unit,
        state="INCONCLUSIVE" if not observed.is_conclusive else "PASS" if held else "FAIL",
        margin=None if found is None else margin_within(found, low, high),
        recommended=None,
        why=observed.disturbed or observed.how,
        samples=observed.samples,
    )


_SEVERITY: Mapping[State, int] = {"INCONCLUSIVE": 0, "PASS": 1, "FAIL": 2}


def _moment(observation: ProfileObservation, at: float) -> str:
    stage = next((each.name for each in observation.stages if each.begin <= at < each.end), "before the first stage")
    return f"{max(0.0, at):.1f} s ({stage})"


def _row(verdict: Verdict) -> list[str]:
    unit = verdict.unit
    cells = (
        verdict.choice,
        verdict.what,
        f"{format_amount(verdict.predicted, unit)} ({verdict.range})",
        "—" if verdict.observed is None else format_amount(verdict.observed, unit),
        "" if verdict.samples is None else f"{verdict.samples}",
        "" if verdict.margin is None else format_amount(verdict.margin, unit),
        "" if verdict.recommended is None else f"{verdict.recommended:g}",
        verdict.why,
    )
    state = verdict.state if verdict.passed else f"**{verdict.state}**"
    return [state, *(markdown_text(cell) for cell in cells)]
