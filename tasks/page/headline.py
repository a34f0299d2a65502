"""Says in sentences what a run achieved and what it did not, and which number of its plan is the weakest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tasks.report.running_cost import LiveResources, total_cost
from tasks.report.summary import RunSummary, accuracy_text
from tasks.scaling.choice import format_amount
from tasks.verdicts.verdicts import Verdict, failed, inconclusive, verdict_counts

LOAD_TEST = "loadtest"


@dataclass(frozen=True)
class Headline:
    """Sentences: what was achieved, what was not or failed, what could not be judged, and named notes."""

    achieved: tuple[str, ...]
    missed: tuple[str, ...]
    unjudged: tuple[str, ...]
    notes: tuple[tuple[str, str], ...] = ()


def headline(summary: RunSummary, alive: Sequence[LiveResources] | None) -> Headline:
    """Return what a run's records say of it; `alive` is what was left running, None if that is not known."""
    return Headline(
        tuple(_achieved(summary)), tuple(_missed(summary)), tuple(_unjudged(summary)), tuple(_notes(summary, alive))
    )


def _notes(summary: RunSummary, alive: Sequence[LiveResources] | None) -> Iterator[tuple[str, str]]:
    scaling = summary.scaling
    if scaling is not None and scaling.plan.monthly_cost_usd is not None:
        traffic = scaling.plan.traffic
        at = f"at {traffic.baseline_rps:g} to {traffic.peak_rps:g} requests/s, {traffic.mean_rps:.2g} on average"
        yield "cost", f"Serving costs {scaling.plan.monthly_cost_usd:,.2f} USD a month {at}, at AWS's list prices."
    if scaling is not None and (sentence := weakest(scaling.verdicts)):
        yield "weakest", sentence
    if alive:
        count, total = sum(len(each.names) for each in alive), total_cost(alive)
        ended = f"kennel down {summary.run_id} --yes ends and removes all"
        yield (
            "running",
            f"{count} resources were left; on AWS they cost {total.text} USD an hour {total.basis}; {ended}.",
        )


def _achieved(summary: RunSummary) -> list[str]:
    model, endpoint, smoke, scaling = summary.model, summary.endpoint, summary.smoke, summary.scaling
    found = []
    if model is not None:
        found.append(f"The model's test accuracy is {accuracy_text(model.test_accuracy, model.test_images)}.")
    if endpoint is not None and smoke is not None:
        where = f"{endpoint.instance_count} × {endpoint.instance_type}"
        found.append(f"The endpoint on {where} answers through its function: a photo took {smoke.latency_ms:g} ms.")
    if summary.changes.releases is not None and summary.changes.releases.before is not None:
        serving = summary.changes.releases.serving
        found.append(
            f"The endpoint serves a model that was promoted since: {serving.label}, of run {serving.trained_by}."
        )
    if scaling is not None and not failed(scaling.verdicts) and _judged(scaling.verdicts):
        what = "What could be judged of the scaling plan" if inconclusive(scaling.verdicts) else "The scaling plan"
        found.append(f"{what} held under load: {verdict_counts(scaling.verdicts)}.")
    if summary.parity is not None and summary.parity.accuracy_difference == 0:
        found.append(f"The training on EC2, compared with SageMaker's: {summary.parity.verdict}.")
    return found


def _judged(verdicts: Sequence[Verdict]) -> bool:
    """Return whether a prediction of a number of the plan was judged, and not only the run itself."""
    return any(each.passed and each.choice != "the run" for each in verdicts)


def _missed(summary: RunSummary) -> list[str]:
    found = [note[:1].upper() + note[1:] + "." for note in summary.notes]
    lost = failed(summary.scaling.verdicts) if summary.scaling is not None else []
    if summary.parity is not None and summary.parity.accuracy_difference != 0:
        found.append(f"The same accuracy on EC2 as on SageMaker: {summary.parity.verdict}.")
    return found + [f"{each.what}: {_observed(each)}, where the plan predicted {each.range}." for each in lost]


def _unjudged(summary: RunSummary) -> list[str]:
    open_ = inconclusive(summary.scaling.verdicts) if summary.scaling is not None else []
    if open_:
        return [f"{len(open_)} of the plan's predictions could not be judged: {summary.inconclusive or open_[0].why}."]
    if summary.inconclusive:
        return [f"{summary.inconclusive}."]
    if summary.loadtest is None and summary.scaling is None and summary.endpoint is not None:
        return [_untested(summary)]
    return []


def _untested(summary: RunSummary) -> str:
    """Return why no load test judged a deployment, and what is missing without one."""
    why = "No load test judged the deployment"
    if summary.times is not None:
        is_off = LOAD_TEST not in summary.times.seconds
        why += ": it was switched off (--no-loadtest)" if is_off else ": it ended without a result"
    return f"{why}. So there is no scaling plan, and what serving costs a month is not known."


def _observed(verdict: Verdict) -> str:
    return "not observed" if verdict.observed is None else format_amount(verdict.observed, verdict.unit)


def weakest(verdicts: Sequence[Verdict]) -> str:
    """Return the sentence that names the prediction which came closest to failing, or the worst that did; "" if none.

    Closeness is the margin as a share of the width of what was allowed; a prediction that allows one value has none.
    """
    lost, open_ = failed(verdicts), inconclusive(verdicts)
    if lost:
        worst = max(lost, key=_excess)
        return f"{_weak(worst)} failed with {_observed(worst)}."
    shares = [(share, each) for each in verdicts if each.state == "PASS" and (share := _share(each)) is not None]
    if not shares:
        return f"The weakest number is {open_[0].choice}: “{open_[0].what}” could not be judged." if open_ else ""
    _, least = min(shares, key=lambda entry: entry[0])
    return f"{_weak(least)} came closest to failing, with {_observed(least)} where {least.range} is allowed."


def _weak(verdict: Verdict) -> str:
    return f"The weakest number of the plan is {verdict.choice}: its prediction “{verdict.what}”"


def _excess(verdict: Verdict) -> float:
    """Return how far outside its range a verdict lies, as a share of the range or of its farther bound."""
    width = verdict.high - verdict.low or max(abs(verdict.high), abs(verdict.low)) or 1.0
    return -(verdict.margin or 0.0) / width


def _share(verdict: Verdict) -> float | None:
    width = verdict.high - verdict.low
    if verdict.margin is None or width <= 0 or not math.isfinite(width) or verdict.choice == "the run":
        return None
    return max(0.0, verdict.margin) / (width + 2 * (verdict.chance + verdict.noise))
