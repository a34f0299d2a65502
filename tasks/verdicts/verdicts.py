"""Predicted against observed: one verdict for each prediction of a plan, and those on the runs themselves. Pure.

A verdict is PASS, FAIL, or INCONCLUSIVE: its stage was disturbed, or its samples are too few for its prediction. What
did not come about in an undisturbed stage has failed. A verdict that fails names the value that the observation, or the
formula that a hand overrode, speaks for (`tasks.verdicts.recommendation`); an inconclusive one recommends nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.run.records import Number
from tasks.scaling.choice import Choice, Prediction, ScalingPlan, amount, inside
from tasks.verdicts.observed import Observed, disturbance, errors_of, throttles_of
from tasks.verdicts.recommendation import BY_HAND, recommend
from tasks.verdicts.seen import Seen

ENDPOINT_CHOICES = ("min_instances", "max_instances", "target_value", "scale_out_cooldown", "scale_in_cooldown")
RUN = "the run"
State = Literal["PASS", "FAIL", "INCONCLUSIVE"]


@dataclass(frozen=True)
class Verdict:
    """One hypothesis and what became of it. `choice` is the number of the plan that it judges, or "the run".

    `margin` is the distance to the nearer bound in `unit`, negative outside; by as much as `chance` may an observation
    of so few samples lie beyond it, by as much as `noise` what this machine times. `recommended` is a value for
    `choice`. `why` says how it was observed, of an inconclusive one why it cannot be judged.
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
        """What was predicted, and what chance and the machine's noise may add to it, to be read."""
        text = f"{amount(self.low, self.unit)} to {amount(self.high, self.unit)}"
        text += f" ± {amount(self.noise, self.unit)} of this machine" if self.noise else ""
        return text + (f" ± {amount(self.chance, self.unit)} by chance" if self.chance else "")


def judge(
    plan: ScalingPlan, observed: Mapping[str, Observed], runs: Sequence[Seen], *, tests_function: bool
) -> tuple[Verdict, ...]:
    """Judge every prediction that the runs were made for, then the runs themselves and the cost.

    Without `tests_function`, the profile went directly at the endpoint and nothing is said of the function.
    """
    missing = Observed(None, "no run could show it")
    verdicts = [
        judge_prediction(choice, each, observed.get(each.name, missing))
        for choice in plan.choices
        if tests_function or choice.name in ENDPOINT_CHOICES
        for each in choice.predictions
    ]
    return (*verdicts, *judge_runs(plan, runs), judge_cost(plan, observed))


def judge_prediction(choice: Choice, predicted: Prediction, observed: Observed) -> Verdict:
    """Hold one prediction against its observation."""
    held, margin = _held(predicted, observed)
    value, samples = observed.value, observed.samples
    chance = 0.0 if value is None else predicted.chance(value, samples)
    doubt = observed.disturbed or (observed.how if observed.is_scarce else "")
    if not doubt and value is not None and predicted.too_few(value, samples):
        doubt = f"n = {samples} is too few: chance alone moves it by ±{amount(chance, predicted.unit)}"
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


def judge_runs(plan: ScalingPlan, runs: Sequence[Seen]) -> Iterator[Verdict]:
    """Judge each way by all its runs: a failure of one is not made good by another, a doubt is."""
    for way in dict.fromkeys(seen.through for seen in runs):
        several = [list(judge_run(plan, seen)) for seen in runs if seen.through == way]
        yield from (max(same, key=lambda verdict: _SEVERITY[verdict.state]) for same in zip(*several, strict=True))


def judge_run(plan: ScalingPlan, seen: Seen) -> Iterator[Verdict]:
    """Judge what must hold of any run: it is valid, every request is accounted for, scaling out costs no requests."""
    counts, traffic, way = seen.counts, plan.traffic, f", {seen.through}"
    why = seen.why_failed or seen.why_invalid or "Locust's own check of its generator"
    invalid = Observed(float(not seen.is_valid), why, disturbed=why if seen.is_void else "")
    yield _at_most("run_invalid", f"reasons why the run is worth nothing{way}", "", 0.0, invalid)
    lost = Observed(float(abs(counts.sent - counts.answered - counts.failed)), "Locust's own counts", counts.sent)
    yield _at_most("requests_lost", f"sent − answered − failed{way}", "requests", 0.0, lost)
    yield _accounting(seen, way)
    doubt = disturbance(seen, ("ramp",))
    errors, throttles = (dataclasses.replace(find(seen, "ramp"), disturbed=doubt) for find in (errors_of, throttles_of))
    most = (traffic.max_error_rate, traffic.max_throttle_rate)
    yield _at_most("errors_in_scale_out", f"requests that fail while it scales out{way}", "share", most[0], errors)
    yield _at_most("throttles_in_scale_out", f"requests throttled meanwhile{way}", "share", most[1], throttles)


def judge_cost(plan: ScalingPlan, observed: Mapping[str, Observed]) -> Verdict:
    """Judge a month's cost, with the instances that were observed at baseline and at peak for the predicted ones."""
    verdict = _at_most("monthly_cost", "a month's cost", "USD", plan.traffic.monthly_budget_usd, _cost(plan, observed))
    return dataclasses.replace(verdict, predicted=plan.monthly_cost_usd or 0.0)


def first_throttled(seen: Seen) -> str:
    """Say which tier refused or failed requests first, and when."""
    tiers = (
        ("the function throttled (429)", "throttles"),
        ("the endpoint answered 4xx", "endpoint_4xx"),
        ("the endpoint answered 5xx", "endpoint_5xx"),
        ("the function failed", "function_errors"),
    )
    first = [
        (point.at, f"{what} first, in the minute from {_moment(seen, point.at)}")
        for what, name in tiers
        if (point := next((each for each in seen.series.get(name, ()) if each.value > 0), None)) is not None
    ]
    return min(first)[1] if first else "no tier throttled or failed"


def verdict_table(verdicts: Sequence[Verdict]) -> str:
    """Return the verdicts as a Markdown table."""
    head = [
        "| verdict | number | hypothesis | predicted | observed | n | margin | recommended | how, or why not |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *(_row(verdict) for verdict in verdicts)]) + "\n"


def failed(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Return the verdicts that failed."""
    return tuple(verdict for verdict in verdicts if verdict.state == "FAIL")


def inconclusive(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Return the verdicts that could not be judged."""
    return tuple(verdict for verdict in verdicts if verdict.state == "INCONCLUSIVE")


def tally(verdicts: Sequence[Verdict]) -> str:
    """Return how many passed, failed and could not be judged, in words."""
    lost, open_ = len(failed(verdicts)), len(inconclusive(verdicts))
    if not lost and not open_:
        return f"all {len(verdicts)} verdicts passed"
    parts = [f"{len(verdicts) - lost - open_} of {len(verdicts)} verdicts passed"]
    parts += [f"{lost} failed"] if lost else []
    return ", ".join(parts + ([f"{open_} inconclusive"] if open_ else []))


def _held(predicted: Prediction, observed: Observed) -> tuple[bool, float | None]:
    if observed.value is None:
        return False, None
    if observed.is_bound:  # the true value may be lower: only an upper limit can be held by it
        is_open = predicted.low <= 0.0
        margin = predicted.high + predicted.noise - observed.value
        return is_open and margin >= 0, margin
    margin = predicted.margin(observed.value, samples=observed.samples)
    return margin >= 0, margin


def _accounting(seen: Seen, way: str) -> Verdict:
    """CloudWatch has counted every request once; those that got no answer may or may not have arrived."""
    counts = seen.counts
    most = float(counts.sent + counts.warm_up)
    tier = "AWS/Lambda Invocations + Throttles" if seen.through == "function" else "AWS/SageMaker Invocations"
    what = f"requests that CloudWatch counted{way}, warm-up included"
    observed = Observed(counts.counted, f"{tier}, summed over the run")
    low = most - counts.unanswered
    return _run_verdict("requests_in_cloudwatch", what, "requests", (most, low, most), observed)


def _cost(plan: ScalingPlan, observed: Mapping[str, Observed]) -> Observed:
    least, cost, share = plan.choice("min_instances"), plan.monthly_cost_usd, plan.traffic.peak_share
    dynamic = plan.choice("target_value").monthly_cost_usd
    if cost is None or least.monthly_cost_usd is None or dynamic is None:
        return Observed(None, f"the price of {plan.measured.instance_type} is unknown")
    baseline, peak = (observed.get(f"instances_at_{stage}") for stage in ("baseline", "peak"))
    if baseline is None or peak is None or baseline.value is None or peak.value is None:
        return Observed(None, "instance counts were not observed", is_scarce=True)
    mean = baseline.value * (1 - share) + peak.value * share
    priced_for = least.inputs[0].value if least.formula == BY_HAND else least.value  # a hand changes no price
    each = least.monthly_cost_usd / priced_for
    how, doubt = f"{mean:.2f} instances on average, as observed", baseline.disturbed or peak.disturbed
    return Observed(cost - least.monthly_cost_usd - dynamic + mean * each, how, disturbed=doubt)


def _at_most(name: str, what: str, unit: str, high: float, observed: Observed) -> Verdict:
    return _run_verdict(name, what, unit, (0.0, 0.0, high), observed)


def _run_verdict(name: str, what: str, unit: str, predicted: tuple[float, float, float], observed: Observed) -> Verdict:
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
        state="INCONCLUSIVE" if not observed.is_sound else "PASS" if held else "FAIL",
        margin=None if found is None else inside(found, low, high),
        recommended=None,
        why=observed.disturbed or observed.how,
        samples=observed.samples,
    )


_SEVERITY: Mapping[State, int] = {"INCONCLUSIVE": 0, "PASS": 1, "FAIL": 2}


def _moment(seen: Seen, at: float) -> str:
    stage = next((each.name for each in seen.stages if each.begin <= at < each.end), "before the first stage")
    return f"{max(0.0, at):.1f} s ({stage})"


def _row(verdict: Verdict) -> str:
    unit = verdict.unit
    cells = (
        verdict.state if verdict.passed else f"**{verdict.state}**",
        verdict.choice,
        verdict.what,
        f"{amount(verdict.predicted, unit)} ({verdict.range})",
        "—" if verdict.observed is None else amount(verdict.observed, unit),
        "" if verdict.samples is None else f"{verdict.samples}",
        "" if verdict.margin is None else amount(verdict.margin, unit),
        "" if verdict.recommended is None else f"{verdict.recommended:g}",
        verdict.why,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
